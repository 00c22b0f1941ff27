"""The reader of responses must refuse what a careful client would stumble over."""

import gzip
import unittest

from fuzzhttp.wire import Malformed, check_meaning, parse

GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def problem(body, status=400, extra=b"Postrider-Request-Id: a\r\n"):
    head = b"HTTP/1.1 %d X\r\nContent-Type: application/problem+json\r\n%sContent-Length: %d\r\n\r\n"
    return head % (status, extra, len(body)) + body


class WireTests(unittest.TestCase):
    def test_responses_follow_each_other(self):
        first, position = parse(GOOD + GOOD)
        second, end = parse(GOOD + GOOD, position)
        self.assertEqual((first.status, first.json, second.body, end), (200, {}, b"{}", 2 * len(GOOD)))

    def test_every_beginning_is_incomplete(self):
        for cut in range(len(GOOD)):
            self.assertIsNone(parse(GOOD[:cut]))

    def test_head_and_204_have_no_body(self):
        response, end = parse(GOOD, is_head=True)
        self.assertEqual((response.body, end), (b"", len(GOOD) - 2))
        response, _ = parse(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.assertEqual(response.body, b"")

    def test_chunks_and_gzip_are_read(self):
        packed = gzip.compress(b"hello" * 100)
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        whole = head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed)
        response, end = parse(whole)
        self.assertEqual((response.body, end), (b"hello" * 100, len(whole)))
        for cut in range(len(head), len(whole)):
            self.assertIsNone(parse(whole[:cut]))
        with self.assertRaises(Malformed):
            parse(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed) - 1, packed[:-1]))

    def test_a_body_until_the_end_is_read(self):
        text = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
        self.assertIsNone(parse(text))
        self.assertEqual(parse(text, is_closed=True)[0].body, b"hello")

    def test_broken_responses_are_refused(self):
        for broken in [
            b"HTTP/1.1 200\r\n\r\n",
            b"HTTP/2.0 200 OK\r\n\r\n",
            b"HTTP/1.1 999 OK\r\n\r\n",
            b"<html>\r\n\r\n",
            b"hello",
            b"HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\nInjected: yes\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx",
        ]:
            with self.assertRaises(Malformed, msg=broken):
                parse(broken)

    def test_json_is_strict(self):
        for body in [b"{", b"NaN", b"\xff", b"{} {}"]:
            text = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            with self.assertRaises(Malformed, msg=body):
                check_meaning(parse(text + body)[0], False)

    def test_problems_must_be_whole(self):
        good = b'{"status":400,"code":"bad_thing","retryable":false}'
        check_meaning(parse(problem(good))[0], False)
        for body, status in [
            (good, 404),
            (b'{"status":400,"code":"Bad Thing","retryable":false}', 400),
            (b'{"status":400,"retryable":false}', 400),
            (b'{"status":400,"code":"bad_thing"}', 400),
            (b"[]", 400),
            (b"", 400),
            (b'{"status":503,"code":"overloaded","retryable":true}', 503),
        ]:
            with self.assertRaises(Malformed, msg=body):
                check_meaning(parse(problem(body, status))[0], False)


if __name__ == "__main__":
    unittest.main()
