"""The proxy must lose what it says it loses, and nothing else; the comparison must find what is planted."""

import http.client
import http.server
import pathlib
import tempfile
import threading
import unittest

from exampletest import proxy, runs
from exampletest.proxy import Fate

REQUESTS = 200


class Upstream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers.items()), body))
        self.send_response(202)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Postrider-Gateway", "abc")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class ProxyTests(unittest.TestCase):
    def setUp(self):
        self.upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
        self.upstream.daemon_threads = True
        self.upstream.seen = []
        thread = threading.Thread(target=self.upstream.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.addCleanup(self.upstream.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(self.upstream.shutdown)

    def between(self, **options):
        between = proxy.Proxy(self.upstream.server_port, 7, **options)
        self.addCleanup(between.stop)
        return between

    def post(self, between, body, headers=()):
        """The body of the answer; None when there is no whole one."""
        connection = http.client.HTTPConnection("127.0.0.1", between.port, timeout=10)
        try:
            connection.request("POST", "/path?a=b%20c", body, dict(headers))
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.getheader("Postrider-Gateway")), (202, "abc"))
            return answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def test_answers_are_whole_or_none_and_what_is_counted_is_what_happened(self):
        between = self.between()
        bodies = [b"%d: some bytes" % number for number in range(REQUESTS)]
        answered = [body for body in bodies if (answer := self.post(between, body)) is not None]
        self.assertEqual(len(answered), between.counts[Fate.PASS])
        self.assertEqual(between.lost, REQUESTS - len(answered))
        self.assertTrue(all(count > 0 for count in between.counts.values()))
        seen = [body for _, _, body in self.upstream.seen]
        self.assertEqual(len(seen), REQUESTS - between.counts[Fate.REQUEST_LOST])
        self.assertLessEqual(set(answered), set(seen))

    def test_requests_pass_unchanged_and_names_go_only_where_they_are_to(self):
        names = {"Idempotency-Key": '"a"', "Postrider-Producer": "p", "Postrider-Sequence": "1", "X-Other": "x"}
        for takes_names_away, expected in ((False, names), (True, {"X-Other": "x"})):
            self.upstream.seen.clear()
            between = self.between(takes_names_away=takes_names_away)
            while self.post(between, b"\x00\xff", names) is None:
                pass
            path, headers, body = self.upstream.seen[-1]
            self.assertEqual((path, body), ("/path?a=b%20c", b"\x00\xff"))
            self.assertEqual({name: value for name, value in headers.items() if name in names}, expected)

    def test_gateway_that_is_gone_is_no_answer(self):
        between = proxy.Proxy(self.upstream.server_port, 7)
        self.addCleanup(between.stop)
        self.upstream.shutdown()
        self.upstream.server_close()
        self.assertIsNone(self.post(between, b"x"))


class RunTests(unittest.TestCase):
    def test_effects_are_read_with_their_places_and_unfinished_ones_are_not(self):
        with tempfile.TemporaryDirectory() as folder:
            run = runs.Run("a", [], [])
            run.directory = pathlib.Path(folder)
            (run.directory / "topic-a-3-41").write_bytes(b"value")
            (run.directory / ".topic-a-3-42").write_bytes(b"val")
            self.assertEqual(run.consumed(), {runs.Logged("topic-a", 3, 41, b"value")})

    def test_receipts_are_whole_lines(self):
        with tempfile.TemporaryDirectory() as folder:
            run = runs.Run("a", [], [])
            run._output = pathlib.Path(folder) / "receipts"
            run._output.write_text("a-0\treceipt-0\na-1\trec")
            self.assertEqual({name: receipt.strip() for name, receipt in run.receipts().items()}, {"a-0": "receipt-0"})

    def test_every_language_has_its_run(self):
        said = []
        names = {run.name for run in runs.all_runs(said.append)}
        self.assertLessEqual({"python", "sequence", "shell"}, names)
        # What is left out is said.
        self.assertEqual("javascript" in names, not said)


if __name__ == "__main__":
    unittest.main()
