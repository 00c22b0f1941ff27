"""What is sent, and what the worker makes of answers."""

import random
import socket
import threading
import unittest

from fuzzhttp import mutate
from fuzzhttp.grammar import Grammar
from fuzzhttp.worker import Reader, Script, Worker


def requests(seed, count=2000):
    grammar = Grammar("1", "127.0.0.1:1")
    chance = random.Random(seed)
    return [grammar.request(chance) for _ in range(count)]


class GrammarTests(unittest.TestCase):
    def test_the_same_seed_gives_the_same_bytes(self):
        self.assertEqual([request.bytes for request in requests(1)], [request.bytes for request in requests(1)])
        self.assertNotEqual([request.bytes for request in requests(1)], [request.bytes for request in requests(2)])

    def test_requests_are_well_formed_and_contents_are_in_them_once(self):
        contents = []
        for request in requests(3):
            head, separator, body = request.bytes.partition(b"\r\n\r\n")
            self.assertTrue(separator)
            self.assertTrue(head.startswith(request.method.encode() + b" /"))
            fields = [line.split(b": ")[0] for line in head.split(b"\r\n")[1:]]
            self.assertEqual(len(fields), len(set(fields)))
            if b"Content-Length" in fields:
                self.assertIn(b"Content-Length: %d" % len(body), head)
            contents += request.contents
        self.assertGreater(len(contents), 1000)
        self.assertEqual(len(contents), len(set(contents)))

    def test_outcomes_are_not_taken_for_receipts(self):
        grammar = Grammar("1", "127.0.0.1:1")
        request = grammar.request(random.Random(1))
        grammar.learn(request, {"receipts": [{"receipt": "abcdefgh-2", "state": "delivered"}, "abcdefgh-3"]})
        self.assertEqual(grammar._receipts, ["abcdefgh-1", "abcdefgh-3"])

    def test_kept_topics_are_only_produced_to_and_read(self):
        for request in requests(4):
            line = request.bytes.split(b"\r\n")[0]
            if b"/topics/kept-" in line and not request.contents:
                self.assertIn(request.method, ("GET", "HEAD"))


class MutationTests(unittest.TestCase):
    def test_a_mutated_request_is_another_and_repeatable(self):
        for number, request in enumerate(requests(5, 500)):
            changed = mutate.mutated(random.Random(number), request.bytes)
            self.assertNotEqual(changed, request.bytes)
            self.assertEqual(changed, mutate.mutated(random.Random(number), request.bytes))

    def test_scripts_send_all_their_bytes(self):
        kinds = set()
        for number in range(200):
            script = Script("a", Grammar("1", "a"), random.Random(number))
            kinds.add(script.kind)
            self.assertEqual(b"".join(script.pieces), script.bytes)
            if script.kind != "abrupt":
                self.assertEqual(script.mutated is None, script.kind == "clean")
        self.assertEqual(kinds, {"clean", "dirty", "abrupt"})


class Answering:
    """A server that gives every connection the same bytes, once something came, and closes."""

    def __init__(self, answer):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self._answer = answer
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(1 << 20)
                    connection.sendall(self._answer)
                except OSError:
                    continue

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class WorkerTests(unittest.TestCase):
    def faults(self, answer):
        server = Answering(answer)
        try:
            return Worker(server.port, 1, 0).run(requests_max=100, seconds_max=30).faults
        finally:
            server.close()

    def test_a_server_that_only_closes_is_caught(self):
        self.assertTrue(any("closed before answer" in fault for fault in self.faults(b"")))

    def test_a_broken_answer_is_caught(self):
        self.assertTrue(any("malformed" in fault for fault in self.faults(b"HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n")))

    def test_an_internal_error_is_caught(self):
        body = b'{"status":500,"code":"internal","retryable":false}'
        head = b"HTTP/1.1 500 X\r\nPostrider-Request-Id: a\r\nContent-Type: application/problem+json\r\n"
        faults = self.faults(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.assertTrue(any("500 internal" in fault for fault in faults), faults)

    def test_an_answer_that_is_not_the_gateways_is_caught(self):
        faults = self.faults(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue(any("not the gateway's" in fault for fault in faults), faults)

    def test_receipts_that_do_not_fit_are_caught(self):
        body = b'{"receipts":[]}'
        head = b"HTTP/1.1 202 X\r\nPostrider-Request-Id: a\r\nContent-Type: application/json\r\n"
        faults = self.faults(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.assertTrue(any("receipts []" in fault for fault in faults), faults)

    def test_an_answer_that_ends_in_the_middle_is_caught(self):
        ours, theirs = socket.socketpair()
        theirs.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n")
        theirs.close()
        with ours:
            reader = Reader(ours)
            self.assertEqual(reader.response(False).status, 204)
            with self.assertRaises(Exception):
                reader.response(False)


if __name__ == "__main__":
    unittest.main()
