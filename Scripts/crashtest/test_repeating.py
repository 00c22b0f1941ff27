"""Producers that repeat, against a gateway that honours keys and sequences and one that does not: the ledger tells."""

import http.server
import itertools
import json
import threading
import time
import unittest

from crashtest import checker, repeating
from crashtest.ledger import Ledger

REQUESTS = 40
LATE_SECONDS_MAX = 10


class Store:
    """What a gateway holds: its log, and the requests it knows."""

    def __init__(self, honours):
        self.honours = honours
        self.lock = threading.Lock()
        self.log = []
        self.known = {}
        self.numbers = itertools.count()
        self.in_flight = set()

    def accept(self, name, topic, contents):
        """Returns (receipts, whether the request was known); None while it is in flight for the first time it comes."""
        with self.lock:
            name = name if self.honours else None
            if name in self.known:
                return self.known[name], True
            if name is not None and next(self.numbers) % 7 == 0 and name not in self.in_flight:
                self.in_flight.add(name)
                return None
            receipts = []
            for content in contents:
                receipts.append(f"receipt-{len(self.log)}")
                self.log.append(checker.Logged(topic, 0, len(self.log), content))
            if name is not None:
                self.known[name] = receipts
            return receipts, False


    def settled(self, count):
        """The log once it has so many records, or after a while: a request whose connection was closed may be late."""
        deadline = time.monotonic() + LATE_SECONDS_MAX
        while True:
            with self.lock:
                if len(self.log) >= count or time.monotonic() > deadline:
                    return list(self.log)
            time.sleep(0.01)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = self.path.split("?")[0].split("/")
        is_batch = parts[-1] == "records"
        contents = [each["value_text"].encode() for each in json.loads(body)["records"]] if is_batch else [body]
        name = self.headers["Idempotency-Key"] or self.headers["Postrider-Producer"] and (
            self.headers["Postrider-Producer"], self.headers["Postrider-Sequence"])
        accepted = self.server.store.accept(name, parts[3], contents)
        if accepted is None:
            return self.answer(409, {"code": "idempotency_in_flight"})
        receipts, is_known = accepted
        return self.answer(202, {"receipts": receipts}, {repeating.REPLAYED: "true"} if is_known else {})

    def answer(self, status, body, headers=()):
        body = json.dumps(body).encode()
        try:
            self.send_response(status)
            for name, value in dict(headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Clients leave as they please."""


class Up:
    def __init__(self, port):
        self.port = port
        self.up = threading.Event()
        self.up.set()


class RepeatingProducerTests(unittest.TestCase):
    def run_producer(self, name, honours):
        """Returns (producer, the comparison of what it was told with what the gateway holds)."""
        server = Server(("127.0.0.1", 0), Handler)
        server.store = Store(honours)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            book = Ledger()
            producer = repeating.RepeatingProducer(Up(server.server_port), book, 7, 1, ["t"], name)
            while producer.sequence < REQUESTS or not producer.repeats:
                producer.step()
            producer._close()
            log = server.store.settled(producer.sequence if name != repeating.PLAIN else producer.sequence + 1)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        return producer, checker.check(book.sent(), log, {}, checker.Consumed(read=set(log)))

    def test_each_record_is_there_once_when_keys_or_sequences_are_honoured(self):
        for name in (repeating.KEY, repeating.SEQUENCE):
            producer, result = self.run_producer(name, honours=True)
            self.assertEqual((result.lost, result.duplicated), (0, 0), result.details)
            self.assertEqual(result.acked, producer.sequence)
            self.assertGreater(producer.replays, 0)

    def test_duplicates_are_counted_when_nothing_tells_a_repetition_from_a_request(self):
        _, result = self.run_producer(repeating.PLAIN, honours=True)
        self.assertGreater(result.duplicated, 0)
        self.assertEqual(result.lost, 0)

    def test_another_answer_to_the_same_request_is_a_failure(self):
        for name in (repeating.KEY, repeating.SEQUENCE):
            with self.assertRaises(AssertionError):
                self.run_producer(name, honours=False)


class AnswerTests(unittest.TestCase):
    def producer(self):
        return repeating.RepeatingProducer(Up(1), Ledger(), 0, 0, ["t"], repeating.KEY)

    def told(self, status, is_replay=False, **fields):
        return repeating.Told(status, json.dumps(fields).encode(), is_replay)

    def test_what_may_pass_is_repeated_also_when_this_try_was_not_accepted(self):
        producer = self.producer()
        for told in (
            self.told(503, outcome="unknown"), self.told(503, outcome="not_accepted"), self.told(507), self.told(408),
            self.told(429), self.told(409, code="idempotency_in_flight"), self.told(409, code="sequence_in_flight"),
            repeating.Told(502, b"<html>", False),
        ):
            self.assertFalse(producer._is_answer(told, may_be_replay=True))
        self.assertEqual(len(producer.refusals), 6)

    def test_refusals_of_good_requests_are_failures(self):
        for told in (
            self.told(400), self.told(409, code="sequence_gap"), self.told(409, code="sequence_too_old"),
            self.told(422, code="idempotency_key_reused"),
        ):
            with self.assertRaises(AssertionError):
                self.producer()._is_answer(told, may_be_replay=True)

    def test_replay_of_what_was_never_sent_is_a_failure(self):
        with self.assertRaises(AssertionError):
            self.producer()._is_answer(self.told(202, is_replay=True), may_be_replay=False)
        producer = self.producer()
        self.assertTrue(producer._is_answer(self.told(202, is_replay=True), may_be_replay=True))
        self.assertEqual(producer.replays, 1)


if __name__ == "__main__":
    unittest.main()
