"""Far more requests than the gateway is allowed to take, and far larger ones than it has memory for."""

import http.client
import json
import socket
import time

from crashtest import brokers, clients
from crashtest.checker import Answer
from night.stage import OWN_PRODUCERS, Scene, Steady
from night.witness import Witness

RATE = 20
TIMES = 10
TRIES = 4
FLOODERS = 4
FLOOD_ADDRESS = "127.0.0.2"
STEADY_ADDRESS = "127.0.0.7"
BODY_MEMORY_BYTES = 1 << 20
RECORD_BYTES = 60_000
RECORDS = 4
BODIES = TIMES * BODY_MEMORY_BYTES // (RECORD_BYTES * RECORDS)
OVERLOAD = "overload"
BODY_MEMORY = "postrider_http_body_memory_bytes"
BODY_SECONDS_MAX = 30


class Overload(Scene):
    name = "overload"
    says = (
        f"one address makes {TIMES} times the requests that one may make, then bodies of {TIMES} times the memory for "
        "them come at once"
    )
    settings = (
        f"http.requests_per_second_per_address={RATE}", f"http.requests_burst_per_address={RATE}",
        f"http.body_memory_max={BODY_MEMORY_BYTES >> 20}MiB",
    )
    series = (
        "postrider_limit_reached_total", "postrider_http_refused_total", BODY_MEMORY,
        "postrider_http_connections", "postrider_not_accepting",
    )

    def play(self, stage):
        stage.open()
        stage.load.start()
        steady = Steady(stage, Witness(), STEADY_ADDRESS)
        flood = Witness()
        flooders = [Flooder(stage, flood, number) for number in range(FLOODERS)]
        steady.witness.phase(OVERLOAD)
        flood.phase(OVERLOAD)
        stage.witness.phase(OVERLOAD)
        began = time.monotonic()
        for client in [steady, *flooders]:
            stage.load.join(client)
        # Where the machine has other work, the clients themselves may be too slow for a while.
        for _ in range(TRIES):
            tried, before = time.monotonic(), flood.count(OVERLOAD)
            stage.go_on(5)
            offered = (flood.count(OVERLOAD) - before) / (time.monotonic() - tried)
            if offered >= TIMES * RATE:
                break
        for flooder in flooders:
            flooder.stopping.set()
            flooder.join()
        seconds = time.monotonic() - began
        limited = flood.count(OVERLOAD, status=429)
        stage.facts += [f"{FLOOD_ADDRESS}: {line}" for line in flood.lines()]
        stage.facts.append(
            f"{FLOOD_ADDRESS} made {offered:,.0f} requests a second, {offered / RATE:.0f} times "
            f"its limit; {flood.accepted(OVERLOAD) / seconds:,.0f} a second were accepted"
        )
        stage.require(limited > 0, "nobody was limited")
        stage.require(offered >= TIMES * RATE, f"only {offered:.0f} requests a second were made")
        stage.require(
            flood.accepted(OVERLOAD) <= RATE * (seconds + 1) + RATE, "more was accepted than the limit allows"
        )
        require_served(stage, steady)
        steady.witness.phase("bodies")
        self._bodies(stage)
        steady.witness.phase("after")
        stage.wait(lambda: steady.witness.accepted("after") > 0, 30, "the steady client is not served any more")
        stage.facts += [f"{STEADY_ADDRESS} (within its limit): {line}" for line in steady.witness.lines()]
        stage.broken += flood.faults() + steady.witness.faults()
        steady.stopping.set()
        stage.server.stop()
        # What is read at the end comes from one address.
        for key in ("http.requests_per_second_per_address", "http.requests_burst_per_address"):
            stage.server.arguments += ["--set", f"{key}=0"]

    def _bodies(self, stage):
        """Half of each, all at once, so that none can be answered before all of them are there."""
        stage.witness.phase("bodies")
        uploads = [Upload(stage, number) for number in range(BODIES)]
        for upload in uploads:
            upload.send_half()
        # Only now is there anything to see of it.
        quarter = BODY_MEMORY_BYTES // 4
        stage.wait(
            lambda: stage.recorder.look() and stage.metrics.last(BODY_MEMORY) > quarter, 10, "bodies take no memory"
        )
        for upload in uploads:
            upload.send_rest()
        for upload in uploads:
            upload.end(stage)
        stage.wait(
            lambda: stage.recorder.look() and stage.metrics.last(BODY_MEMORY) < quarter, 10,
            "the memory of bodies is not given back",
        )
        refused = stage.witness.count("bodies", "produce", 503, "overloaded")
        stage.require(refused > 0, "memory for bodies was never used up")
        bodies = stage.metrics.peak(BODY_MEMORY)
        stage.require(bodies <= BODY_MEMORY_BYTES, f"bodies took {bodies:,.0f} bytes")
        stage.facts.append(f"{BODIES} bodies of {RECORD_BYTES * RECORDS >> 10} KiB at once: {refused} refused")


def require_served(stage, steady):
    accepted = steady.witness.accepted(OVERLOAD)
    answers = steady.witness.count(OVERLOAD)
    stage.require(accepted > 0, "the steady client was not served")
    stage.require(accepted == answers, f"of {answers} requests of the steady client {accepted} were accepted")


class Flooder(clients.Producer):
    """Small requests, one after the other, and never a pause."""

    pause_seconds = 0

    def __init__(self, stage, witness, number):
        seed = stage.chance.getrandbits(64)
        super().__init__(stage.server, stage.load.book, seed, OWN_PRODUCERS + 100 + number, brokers.TOPICS)
        self.witness = witness
        self.address = FLOOD_ADDRESS

    def step(self):
        self._send_one(self.random.choice(self.topics))

    def _content(self):
        sequence = self.sequence
        self.sequence += 1
        return sequence, f"{self.number}/{sequence}/{self.random.getrandbits(64):x}".encode()


class Upload:
    """One large request, each from an address of its own, so that no other limit meets it."""

    def __init__(self, stage, number):
        contents = [f"body/{number}/{place}/".encode().ljust(RECORD_BYTES, b"x") for place in range(RECORDS)]
        topic = stage.chance.choice(brokers.TOPICS)
        self._path = f"/v1/topics/{topic}/records"
        # Those who come at once have no order among them.
        self._records = stage.sending(topic, contents, OWN_PRODUCERS + 200 + number)
        batch = [{"value_text": content.decode(), "partition": 0} for content in contents]
        self._body = json.dumps({"records": batch}).encode()
        source = f"127.0.1.{number % 200 + 1}", 0
        self._began = time.monotonic()
        self._socket = socket.create_connection(("127.0.0.1", stage.server.port), BODY_SECONDS_MAX, source)

    def send_half(self):
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(self._body)}\r\n\r\n"
        )
        self._send(head.encode() + self._body[:len(self._body) // 2])

    def send_rest(self):
        self._send(self._body[len(self._body) // 2:])

    def _send(self, data):
        try:
            self._socket.sendall(data)
        except OSError:
            # Its answer may be here nevertheless.
            pass

    def end(self, stage):
        response, body = http.client.HTTPResponse(self._socket, method="POST"), b""
        try:
            response.begin()
            body = response.read()
        except (OSError, http.client.HTTPException):
            response = None
        finally:
            self._socket.close()
        stage.witness.saw("POST", self._path, response, body, time.monotonic() - self._began)
        if response is not None and response.status == 202:
            stage.load.book.settle(self._records, Answer.ACCEPTED, json.loads(body)["receipts"])
        elif response is not None and json.loads(body).get("outcome") == "not_accepted":
            stage.load.book.settle(self._records, Answer.NOT_ACCEPTED)
