"""Producers and consumers, each a thread with a connection of its own, kept alive between requests."""

import http.client
import json
import random
import socket
import threading
import urllib.parse

from crashtest.checker import Answer

REQUEST_SECONDS_MAX = 40
PADDING_BYTES_MAX = 2000
BATCH_RECORDS_MAX = 40
KEYS = 50
POLL_RECORDS_MAX = 200
# Of the answers to polls: what is not acknowledged comes again once its lease ends or the gateway was killed.
NOT_ACKNOWLEDGED = 0.15


class Client(threading.Thread):
    def __init__(self, gateway, ledger, seed, name):
        super().__init__(name=name, daemon=True)
        self.gateway = gateway
        self.ledger = ledger
        self.random = random.Random(seed)
        self.stopping = threading.Event()
        self.failure = None
        self._connection = None

    def run(self):
        try:
            while not self.stopping.is_set():
                if self.gateway.up.wait(0.1):
                    self.step()
        except Exception as failure:  # Reported by whoever joins: a dead client would let the test pass idly.
            self.failure = failure
        finally:
            self._close()

    def step(self):
        raise NotImplementedError

    def call(self, method, path, body=None, content_type=None):
        """Returns (status, bytes); None when there was no answer, and then nothing is known."""
        headers = {"Content-Type": content_type} if content_type else {}
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(
                    "127.0.0.1", self.gateway.port, timeout=REQUEST_SECONDS_MAX
                )
                self._connection.connect()
                self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            self._close()
            return None

    def _close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Producer(Client):
    """Sends one request at a time and never repeats one."""

    def __init__(self, gateway, ledger, seed, number, topics):
        super().__init__(gateway, ledger, seed, f"producer-{number}")
        self.number = number
        self.topics = topics
        self.sequence = 0

    def step(self):
        topic = self.random.choice(self.topics)
        if self.random.random() < 0.3:
            self._send_batch(topic)
        else:
            self._send_one(topic)

    def _send_one(self, topic):
        records = self.ledger.sending(self.number, topic, [self._content()])
        query = ""
        if self.random.random() < 0.5:
            query = "?" + urllib.parse.urlencode({"key": self._key()})
        answer = self.call("POST", f"/v1/topics/{topic}{query}", records[0].content, "application/octet-stream")
        self._settle(records, answer)

    def _send_batch(self, topic):
        contents = [self._content() for _ in range(self.random.randint(1, BATCH_RECORDS_MAX))]
        records = self.ledger.sending(self.number, topic, contents)
        batch = []
        for record in records:
            item = {"value_text": record.content.decode()}
            if self.random.random() < 0.5:
                item["key"] = self._key()
            batch.append(item)
        body = json.dumps({"records": batch}).encode()
        self._settle(records, self.call("POST", f"/v1/topics/{topic}/records", body, "application/json"))

    def _settle(self, records, answer):
        if answer is None:
            return
        status, body = answer
        if 200 <= status < 300:
            self.ledger.settle(records, Answer.ACCEPTED, json.loads(body).get("receipts", []))
            return
        try:
            outcome = json.loads(body).get("outcome")
        except ValueError:
            outcome = None
        if outcome == "not_accepted":
            self.ledger.settle(records, Answer.NOT_ACCEPTED)
        if status < 500 and status not in (408, 429):
            raise AssertionError(f"a good request was refused: {status} {body[:500]!r}")
        # Full or busy: a client that asks again at once would only make it worse.
        self.stopping.wait(0.05)

    def _key(self):
        return f"key-{self.random.randrange(KEYS)}"

    def _content(self):
        sequence = self.sequence
        self.sequence += 1
        padding = "x" * self.random.randrange(PADDING_BYTES_MAX)
        return sequence, f"{self.number}/{sequence}/{self.random.getrandbits(64):x}/{padding}".encode()


class Consumer(Client):
    """Polls one named consumer and acknowledges most of what it gets."""

    def __init__(self, gateway, ledger, seed, number, name, topic):
        super().__init__(gateway, ledger, seed, f"consumer-{number}")
        self.consumer = name
        query = {"topic": topic, "wait": 1, "client": f"client-{number}"}
        self.path = f"/v1/consumers/{name}/poll?{urllib.parse.urlencode(query)}"

    def step(self):
        answer = self.call("POST", f"{self.path}&max={self.random.randint(1, POLL_RECORDS_MAX)}")
        if answer is None:
            return
        status, body = answer
        if status != 200:
            if status < 500 and status not in (404, 408, 409, 429):
                raise AssertionError(f"a poll was refused: {status} {body[:500]!r}")
            # The topic is not there before its first record.
            self.stopping.wait(0.1)
            return
        polled = json.loads(body)
        records = polled["records"]
        self.ledger.took(len(records))
        if records and self.random.random() >= NOT_ACKNOWLEDGED:
            self.ledger.acknowledging(self.consumer, records)
            body = json.dumps({"ack": polled["ack"]}).encode()
            self.call("POST", f"/v1/consumers/{self.consumer}/acks", body, "application/json")
