"""Producers and consumers, each a thread with a connection of its own, kept alive between requests."""

import base64
import http.client
import json
import random
import socket
import threading
import time
import urllib.parse

from crashtest.checker import Answer, Logged

REQUEST_SECONDS_MAX = 40
PADDING_BYTES_MAX = 2000
BATCH_RECORDS_MAX = 40
KEYS = 50
POLL_RECORDS_MAX = 200
READ_RECORDS_MAX = 2000
READ_BYTES_MAX = 8 << 20
# Of the answers to polls: what is not acknowledged comes again once its lease ends or the gateway was killed.
NOT_ACKNOWLEDGED = 0.15


class Client(threading.Thread):
    # Is told of every answer: `saw` of night/witness.py. None: nobody watches.
    witness = None
    # That requests come from; None: the system chooses.
    address = None

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
        answer = self.exchange(method, path, body, headers)
        return answer and (answer[0].status, answer[1])

    def exchange(self, method, path, body, headers):
        """Returns (http.client.HTTPResponse, bytes); None when there was no answer."""
        began = time.monotonic()
        answer = self._exchange(method, path, body, headers)
        if self.witness is not None:
            self.witness.saw(method, path, *(answer or (None, b"")), time.monotonic() - began)
        return answer

    def _exchange(self, method, path, body, headers):
        try:
            connection = self._connected()
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response, response.read()
        except (OSError, http.client.HTTPException):
            self._close()
            return None

    def _connected(self):
        if self._connection is None:
            source = self.address and (self.address, 0)
            self._connection = http.client.HTTPConnection(
                "127.0.0.1", self.gateway.port, timeout=REQUEST_SECONDS_MAX, source_address=source
            )
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._connection

    def _close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Producer(Client):
    """Sends one request at a time and never repeats one."""

    # After a refusal: a client that asks again at once would only make it worse.
    pause_seconds = 0.05

    def __init__(self, gateway, ledger, seed, number, topics):
        super().__init__(gateway, ledger, seed, f"producer-{number}")
        self.number = number
        self.topics = topics
        self.sequence = 0
        # What was answered with anything but 2xx, or not at all.
        self.refusals = []

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
        self._deliver(records, f"/v1/topics/{topic}{query}", records[0].content, "application/octet-stream")

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
        self._deliver(records, f"/v1/topics/{topic}/records", body, "application/json")

    def _deliver(self, records, path, body, content_type):
        answer = self.call("POST", path, body, content_type)
        if answer is None:
            self.refusals.append("no answer")
            return
        status, body = answer
        if 200 <= status < 300:
            told = json.loads(body)
            answer = Answer.BUFFERED if told.get("durability") == "buffered" else Answer.ACCEPTED
            self.ledger.settle(records, answer, told.get("receipts", []))
            return
        self.refusals.append(f"{status} {body[:200]!r}")
        try:
            outcome = json.loads(body).get("outcome")
        except ValueError:
            outcome = None
        if outcome == "not_accepted":
            self.ledger.settle(records, Answer.NOT_ACCEPTED)
        if status < 500 and status not in (408, 429):
            raise AssertionError(f"a good request was refused: {status} {body[:500]!r}")
        self.stopping.wait(self.pause_seconds)

    def _key(self):
        return f"key-{self.random.randrange(KEYS)}"

    def _content(self):
        sequence = self.sequence
        self.sequence += 1
        padding = "x" * self.random.randrange(PADDING_BYTES_MAX)
        return sequence, f"{self.number}/{sequence}/{self.random.getrandbits(64):x}/{padding}".encode()


class Poller(Client):
    """Polls a named consumer, which begins at the earliest record, and acknowledges."""

    def __init__(self, gateway, ledger, seed, name, consumer, topics):
        super().__init__(gateway, ledger, seed, name)
        self.consumer = consumer
        query = [("topic", topic) for topic in topics] + [("wait", 1), ("client", name)]
        self.path = f"/v1/consumers/{consumer}/poll?{urllib.parse.urlencode(query)}"

    def poll(self, records_max, bytes_max=1 << 20):
        return self.call("POST", f"{self.path}&max={records_max}&max_bytes={bytes_max}")

    def acknowledge(self, polled):
        self.ledger.acknowledging(self.consumer, polled["records"])
        request = json.dumps({"ack": polled["ack"]}).encode()
        answer = self.call("POST", f"/v1/consumers/{self.consumer}/acks", request, "application/json")
        if answer is None:
            return
        status, body = answer
        if status == 200:
            self.ledger.answered(self.consumer, json.loads(body)["committed"])
        elif status < 500 and status not in (408, 409, 429):
            raise AssertionError(f"an acknowledgement was refused: {status} {body[:500]!r}")


class Consumer(Poller):
    """Acknowledges most of what it gets."""

    def __init__(self, gateway, ledger, seed, number, consumer, topic):
        super().__init__(gateway, ledger, seed, f"consumer-{number}", consumer, [topic])

    def step(self):
        answer = self.poll(self.random.randint(1, POLL_RECORDS_MAX))
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
        self.ledger.took(self.consumer, len(polled["records"]))
        if polled["records"] and self.random.random() >= NOT_ACKNOWLEDGED:
            self.acknowledge(polled)


class Reader(Poller):
    """Reads everything there is, once, as a consumer that nobody knew before. On the caller's thread."""

    def __init__(self, gateway, ledger, consumer, topics):
        super().__init__(gateway, ledger, 0, f"client-of-{consumer}", consumer, topics)

    def read_everything(self, seconds_max):
        """Until nothing is left to hand out. Returns whether it came to the end; False when no offset was the furthest
        of its partition for `seconds_max`, so that it ends however much there is and whatever is handed out again."""
        furthest = {}
        deadline = time.monotonic() + seconds_max
        try:
            while time.monotonic() < deadline:
                answer = self.poll(READ_RECORDS_MAX, READ_BYTES_MAX)
                if answer is None or answer[0] != 200:
                    time.sleep(0.1)
                    continue
                polled = json.loads(answer[1])
                for record in polled["records"]:
                    place = record["topic"], record["partition"]
                    if record["offset"] > furthest.get(place, -1):
                        furthest[place] = record["offset"]
                        deadline = time.monotonic() + seconds_max
                if polled["records"]:
                    self.ledger.read(logged(record) for record in polled["records"])
                    self.acknowledge(polled)
                elif self._is_at_the_end():
                    return True
            return False
        finally:
            self._close()

    def _is_at_the_end(self):
        """An empty answer alone proves nothing: what is leased elsewhere or not fetched yet is missing in it too."""
        answer = self.call("GET", f"/v1/consumers/{self.consumer}")
        if answer is None or answer[0] != 200:
            return False
        partitions = json.loads(answer[1])["partitions"]
        return bool(partitions) and all(partition["lag"] == 0 for partition in partitions)


def logged(record):
    """A record of a poll's answer as the log should have it."""
    if "value_text" in record:
        content = record["value_text"].encode()
    elif "value_base64" in record:
        content = base64.b64decode(record["value_base64"], validate=True)
    elif record["value"] is None:
        content = b""
    else:
        raise ValueError(f"no producer sends JSON: {record['value']!r}")
    return Logged(record["topic"], record["partition"], record["offset"], content)
