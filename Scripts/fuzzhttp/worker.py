"""Sends requests over many connections and judges what comes back. Runs in a process of its own."""

import collections
import dataclasses
import random
import socket
import struct
import time

from fuzzhttp import grammar, mutate, wire

# Open at a time; while one is read the gateway works on the others.
CONNECTIONS = 16
PIPELINED_MAX = 24
ANSWER_SECONDS_MAX = 30
FAULTS_MAX = 20
SHOWN_BYTES = 1000
# How connections are used: only valid requests; a bad one at the end; closed without reading.
KINDS = (("clean", 60), ("dirty", 30), ("abrupt", 10))
# Of a 503, the codes that may come while all is well; a consumer that is replaced or deleted is stopping. 501 is for
# what is not there yet.
BUSY_CODES = {"overloaded", "parked_limit", "stopping"}


@dataclasses.dataclass
class Report:
    """What a worker did and was told."""

    requests: int = 0
    # What accepted records of kept topics hold; each is its own.
    acked: set = dataclasses.field(default_factory=set)
    # What may be there or not: no answer was read.
    unknown: set = dataclasses.field(default_factory=set)
    # What was refused for good: not there.
    refused: set = dataclasses.field(default_factory=set)
    # Receipts for kept topics, also those for requests that were changed on the way.
    receipts: int = 0
    last_receipts: list = dataclasses.field(default_factory=list)
    statuses: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    faults: list = dataclasses.field(default_factory=list)

    def fault(self, what):
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(what)

    def add(self, other):
        self.requests += other.requests
        self.acked |= other.acked
        self.unknown |= other.unknown
        self.refused |= other.refused
        self.receipts += other.receipts
        # (Those of earlier parts may be forgotten meanwhile.)
        self.last_receipts = other.last_receipts or self.last_receipts
        self.statuses += other.statuses
        for fault in other.faults:
            self.fault(fault)


class Script:
    """What one connection sends."""

    def __init__(self, name, maker, chance):
        self.name = name
        kinds, weights = zip(*KINDS)
        self.kind = chance.choices(kinds, weights)[0]
        self.requests = [maker.request(chance) for _ in range(chance.randint(1, PIPELINED_MAX))]
        self.mutated = None
        if self.kind == "dirty" or self.kind == "abrupt" and chance.random() < 0.5:
            self.mutated = self.requests.pop()
        self.bytes = b"".join(request.bytes for request in self.requests)
        if self.mutated is not None:
            self.last = mutate.mutated(chance, self.mutated.bytes)
            self.bytes += self.last
        if self.kind == "abrupt":
            self.bytes = self.bytes[: chance.randint(0, len(self.bytes))]
            self.resets = chance.random() < 0.5
        self.cuts = sorted(chance.randint(0, len(self.bytes)) for _ in range(chance.choice([0, 0, 1, 3])))

    @property
    def count(self):
        return len(self.requests) + (self.mutated is not None)

    @property
    def pieces(self):
        ends = [0, *self.cuts, len(self.bytes)]
        return [self.bytes[start:end] for start, end in zip(ends, ends[1:]) if start < end]


class Worker:
    def __init__(self, port, seed, number):
        self.port = port
        self.seed = f"{seed}/{number}"
        self.report = Report()
        self._grammar = grammar.Grammar(f"{number}.{seed}", f"127.0.0.1:{port}")
        self._rounds = 0

    def run(self, requests_max, seconds_max):
        deadline = time.monotonic() + seconds_max
        while self.report.requests < requests_max and time.monotonic() < deadline and not self.report.faults:
            self._rounds += 1
            self._round()
        return self.report

    def _round(self):
        scripts = []
        for number in range(CONNECTIONS):
            name = f"{self.seed}/{self._rounds}/{number}"
            scripts.append(Script(name, self._grammar, random.Random(name)))
        opened = []
        for script in scripts:
            try:
                opened.append((script, self._send(script)))
            except OSError as error:
                self._fault(script, f"cannot be sent: {error!r}")
        for script, connection in opened:
            self.report.requests += script.count
            if connection is not None:
                with connection:
                    self._receive(script, connection)
            else:
                self._forget(script.requests)

    def _send(self, script):
        """Returns the connection; None when it is closed already."""
        connection = socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS_MAX)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in script.pieces:
                connection.sendall(piece)
            if script.kind == "dirty":
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            # A refusal that closes while the rest is still being sent; not in answer to what is valid.
            if script.kind == "clean":
                connection.close()
                raise
        except OSError:
            connection.close()
            if script.kind == "clean":
                raise
            return None
        if script.kind != "abrupt":
            return connection
        if script.resets:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        return None

    def _receive(self, script, connection):
        reader = Reader(connection)
        try:
            for number, request in enumerate(script.requests):
                response = reader.response(request.is_head)
                if response is None:
                    if script.kind == "clean":
                        which = f"{number + 1} of {len(script.requests)}"
                        self._fault(script, f"closed before answer {which}: {request.bytes!r}")
                    self._forget(script.requests[number:])
                    return
                self._judge(script, request, response)
            if script.mutated is not None:
                self._receive_rest(script, reader)
        except wire.Malformed as error:
            sent = script.bytes if script.mutated is None else script.last
            self._fault(script, f"malformed: {error}; after {reader.seen!r}; sent {sent[:SHOWN_BYTES]!r}")
        except TimeoutError:
            self._fault(script, f"no answer in {ANSWER_SECONDS_MAX} s to {script.bytes[-300:]!r}")

    def _receive_rest(self, script, reader):
        """What the changed request got: anything, any number of times, as long as it is well-formed."""
        # Which of several answers is to HEAD cannot be known then.
        if b"HEAD" in script.last or script.mutated.is_head:
            reader.drain()
            return
        is_first = True
        while (response := reader.response(False)) is not None:
            self._check(script, response, is_mutated=True)
            if not response.is_gateways:
                # The last of a connection. libmicrohttpd 0.9.75 sends the head twice when it refuses Content-Length.
                reader.drain()
                return
            if is_first and script.last.startswith(b"POST /v1/topics/kept-") and response.status in (200, 202):
                document = response.json
                # A repetition, under a key that a change brought in, has the receipts of an earlier request.
                if isinstance(document, dict) and "idempotent-replayed" not in response.headers:
                    self.report.receipts += len(document.get("receipts") or [])
            is_first = False

    def _judge(self, script, request, response):
        self._check(script, response, is_mutated=False, is_head=request.is_head)
        is_good = 200 <= response.status < 300
        document = None if request.is_head or not is_good else response.json
        self._grammar.learn(request, document)
        if not request.contents:
            return
        if not is_good:
            if response.status in (503, 507):
                self._forget([request])
            else:
                self.report.refused.update(request.contents)
            return
        receipts = document.get("receipts") if isinstance(document, dict) else None
        if not isinstance(receipts, list) or len(receipts) != len(request.contents):
            self._fault(script, f"{len(request.contents)} records, and receipts {receipts!r}")
            return
        self.report.acked.update(request.contents)
        self.report.receipts += len(receipts)
        self.report.last_receipts = receipts

    def _check(self, script, response, is_mutated, is_head=False):
        self.report.statuses[response.status] += 1
        if not response.is_gateways:
            # The library's own pages: broken requests only.
            if not is_mutated or 200 <= response.status < 400:
                self._fault(script, f"{response.status} that is not the gateway's")
            return
        wire.check_meaning(response, is_head)
        if response.status >= 500 and response.status != 501 and not is_head:
            code = response.json.get("code")
            if response.status != 503 or code not in BUSY_CODES:
                self._fault(script, f"{response.status} {code}: {response.body[:300]!r}")

    def _forget(self, requests):
        for request in requests:
            self.report.unknown.update(request.contents)

    def _fault(self, script, what):
        self.report.fault(f"{script.name} ({script.kind}): {what}")


class Reader:
    """Responses of one connection, in order."""

    def __init__(self, connection):
        self._connection = connection
        self._buffer = b""
        self._start = 0
        self._is_closed = False
        self._is_reset = False
        self._last = b""

    def response(self, is_head):
        """The next that is final; None at the end."""
        while True:
            found = wire.parse(self._buffer, self._start, is_head, self._is_closed) if self._has_more else None
            if found is not None:
                self._last = self._buffer[self._start : found[1]][-SHOWN_BYTES:]
                response, self._start = found
                if response.status >= 200:
                    return response
            elif self._is_closed:
                if self._has_more and not self._is_reset:
                    raise wire.Malformed(f"ends in the middle: {self._buffer[self._start :][:200]!r}")
                return None
            else:
                self._fill()

    def drain(self):
        while not self._is_closed:
            self._fill()

    @property
    def _has_more(self):
        return self._start < len(self._buffer)

    @property
    def seen(self):
        """What came last, for who looks into a fault."""
        return self._last + self._buffer[self._start :][:SHOWN_BYTES]

    def _fill(self):
        try:
            received = self._connection.recv(1 << 16)
        except ConnectionResetError:
            received = b""
            self._is_reset = True
        self._is_closed = not received
        self._buffer = self._buffer[self._start :] + received
        self._start = 0


def main(port, seed, number, requests_max, seconds_max, results):
    """Of the process: puts its Report into `results`."""
    worker = Worker(port, seed, number)
    try:
        worker.run(requests_max, seconds_max)
    except Exception as failure:  # Reported: a dead worker would let the run pass idly.
        worker.report.fault(f"{worker.seed}: {failure!r}")
    results.put(worker.report)
