"""Consumers and what they ask the gateway, against answers that are planted."""

import http.server
import json
import threading
import types
import unittest

from crashtest import clients, gateway
from crashtest.checker import Logged
from crashtest.ledger import Ledger


def record(offset, **value):
    return {"topic": "t", "partition": 0, "offset": offset, **value}


class Planted(clients.Reader):
    """Gets the answers it was given, in their order; the last one again and again."""

    def __init__(self, *answers):
        self.book = Ledger()
        super().__init__(None, self.book, "r", ["t"])
        self.answers = list(answers)
        self.asked = []

    def call(self, method, path, body=None, content_type=None):
        self.asked.append((method, path.split("?")[0].rsplit("/", 1)[1]))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer if answer is None else (answer[0], json.dumps(answer[1]).encode())


def polled(*records):
    return 200, {"ack": "token" if records else None, "records": list(records)}


def described(*lags):
    return 200, {"partitions": [{"lag": lag} for lag in lags]}


class ReaderTests(unittest.TestCase):
    def test_reads_acknowledges_and_ends_when_nothing_lags(self):
        told = 200, {"committed": [{"topic": "t", "partition": 0, "offset": 1}]}
        reader = Planted(None, (503, {}), polled(record(0, value_text="a")), told, polled(), described(0, 0))
        self.assertTrue(reader.read_everything(20))
        consumed = reader.book.consumed()
        self.assertEqual(consumed.read, {Logged("t", 0, 0, b"a")})
        self.assertEqual(consumed.acknowledged, {("r", "t", 0): {0}})
        self.assertEqual(consumed.answered, {("r", "t", 0): 1})
        self.assertEqual(consumed.polled, {})

    def test_empty_answer_is_not_the_end_while_something_lags(self):
        reader = Planted(polled(), described(0, 3), polled(), described(), polled(), described(0))
        self.assertTrue(reader.read_everything(20))
        self.assertEqual(reader.asked, [("POST", "poll"), ("GET", "r")] * 3)

    def test_gives_up_when_the_gateway_does_not_hand_out(self):
        self.assertFalse(Planted((503, {})).read_everything(0.3))

    def test_gives_up_when_the_same_is_handed_out_again_and_again(self):
        told = 200, {"committed": []}
        self.assertFalse(Planted(*[polled(record(0, value_text="a")), told] * 100_000).read_everything(0.3))

    def test_refused_acknowledgement_is_a_failure_and_a_lost_lease_is_not(self):
        reader = Planted((400, {}))
        with self.assertRaises(AssertionError):
            reader.acknowledge({"ack": "token", "records": []})
        for answer in [None, (503, {}), (409, {"committed": [record(5)]})]:
            reader = Planted(answer)
            reader.acknowledge({"ack": "token", "records": [record(0)]})
            self.assertEqual(reader.book.consumed().answered, {})
            self.assertEqual(reader.book.consumed().acknowledged, {("r", "t", 0): {0}})

    def test_content_is_that_of_the_log(self):
        for value, content in [
            ({"value_text": "ä"}, "ä".encode()),
            ({"value_base64": "AP8="}, b"\x00\xff"),
            ({"value": None}, b""),
        ]:
            self.assertEqual(clients.logged(record(3, **value)), Logged("t", 0, 3, content))
        with self.assertRaises(ValueError):
            clients.logged(record(3, value={"a": 1}))


class Answering(gateway.Gateway):
    """Not a process; `answers` are {path: (status, bytes)}."""

    def __init__(self, answers, settled_statuses=()):
        self.answers = answers
        self.settled_statuses = settled_statuses

    def get(self, path):
        if path not in self.answers:
            raise ConnectionRefusedError
        return self.answers[path]


class Refusing(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(503)
        self.send_header("Retry-After", "7")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


class Seen(list):
    def saw(self, method, path, response, body, seconds):
        self.append((method, path, response and (response.status, response.getheader("Retry-After")), body))


class WitnessTests(unittest.TestCase):
    def test_witness_is_told_of_each_answer_and_of_none(self):
        server = http.server.HTTPServer(("127.0.0.1", 0), Refusing)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = clients.Client(types.SimpleNamespace(port=server.server_address[1]), None, 0, "c")
        client.witness = Seen()
        client.address = "127.0.0.9"
        try:
            self.assertEqual(client.call("POST", "/a", b""), (503, b"{}"))
        finally:
            server.shutdown()
            server.server_close()
        self.assertIsNone(client.call("POST", "/b", b""))
        self.assertEqual(client.witness, [("POST", "/a", (503, "7"), b"{}"), ("POST", "/b", None, b"")])


class SettledTests(unittest.TestCase):
    def test_drained_is_when_no_lane_lags(self):
        def is_drained(text, status=200):
            return Answering({"/metrics": (status, text)}).is_drained()

        lane = b'postrider_lane_lag_records{lane="%d"} %s\n'
        head = b"# TYPE postrider_lane_lag_records gauge\n"
        self.assertTrue(is_drained(head + lane % (0, b"0") + lane % (1, b"0.0")))
        self.assertFalse(is_drained(lane % (0, b"0") + lane % (1, b"2")))
        self.assertFalse(is_drained(lane % (0, b"0"), status=503))
        # A metric that is gone proves nothing.
        self.assertFalse(is_drained(b"postrider_other 0\n"))
        self.assertFalse(Answering({}).is_drained())

    def test_unsettled_are_receipts_without_an_outcome(self):
        def answer(code, **fields):
            return code, json.dumps(fields).encode()

        server = Answering(
            {
                "/v1/receipts/delivered": answer(200, status="delivered"),
                "/v1/receipts/dead": answer(200, status="dead"),
                "/v1/receipts/accepted": answer(200, status="accepted"),
                "/v1/receipts/unknown": answer(404, title="no such receipt"),
            }
        )
        receipts = ["delivered", "accepted", "dead", "unknown", "unreachable"]
        self.assertEqual(server.unsettled(receipts), ["accepted", "unknown", "unreachable"])
        forgetful = Answering(server.answers, settled_statuses=(404,))
        self.assertEqual(forgetful.unsettled(receipts), ["accepted", "unreachable"])


if __name__ == "__main__":
    unittest.main()
