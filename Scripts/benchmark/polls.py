"""Thousands of parked polls: what they cost while nothing happens, whom a record wakes, and when each is answered."""

import json
import resource
import selectors
import socket
import time
import urllib.error
import urllib.request

from benchmark import common
from benchmark.common import Invalid
from benchmark.idempotency import cpu_seconds

CONSUMERS = 10
# Of one processor, while all polls are parked: the sweep that looks after clients is most of it.
PARKED_CPU_SHARE_MAX = 0.05
# Past a poll's wait until its answer is here. All of them end within the time that sending them took.
LATE_SECONDS_MAX = 2.0
# A wait that ends early would be a promise broken, too.
EARLY_SECONDS_MAX = 0.1
ANSWER_SECONDS_MAX = 30
# So many are sent before the gateway has to have them all: else what is late is only what waited to be read.
SENT_AT_ONCE = 100
# Between counting processor time and the end of the first wait.
WAKING_SECONDS = 6


class Poll:
    """One connection with one poll on it."""

    def __init__(self, port, consumer, wait):
        self.consumer = consumer
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.sent = time.monotonic()
        self.answered = None
        self.received = b""
        request = (
            f"POST /v1/consumers/{consumer}/poll?topic={consumer}&wait={wait} HTTP/1.1\r\n"
            "Host: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
        )
        self.socket.sendall(request.encode())
        self.socket.setblocking(False)

    def read(self):
        """Takes what has come. Returns whether the answer is whole."""
        data = self.socket.recv(65536)
        if not data:
            raise Invalid(f"a connection of {self.consumer} was closed: {self.received[:200]!r}")
        self.received += data
        if body_of(self.received) is None:
            return False
        self.answered = time.monotonic()
        return True


def body_of(received):
    """The body of a whole answer with Content-Length; None while there is more to come."""
    head, separator, rest = received.partition(b"\r\n\r\n")
    if not separator:
        return None
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return rest if len(rest) >= int(value) else None
    raise Invalid(f"an answer without a length: {head!r}")


def is_empty(poll):
    """Whether the answer is 200 without records."""
    if not poll.received.startswith(b"HTTP/1.1 200 "):
        raise Invalid(f"a poll of {poll.consumer} was refused: {poll.received[:300]!r}")
    return b'"records":[]' in poll.received


def late(polls, wait):
    """Seconds that each answer came after its wait was over."""
    return [poll.answered - poll.sent - wait for poll in polls]


def gauge(port, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        for line in response.read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
    raise Invalid(f"there is no {name}")


def call(port, method, path, body=None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, data=body)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.read()


def waiting(port, consumer):
    """Polls of the consumer that the gateway knows of."""
    try:
        return json.loads(call(port, "GET", f"/v1/consumers/{consumer}"))["polls_waiting"]
    except urllib.error.HTTPError as error:
        # Its first poll defines it.
        if error.code == 404:
            return 0
        raise


class Watch:
    """Reads whatever comes."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.open = 0

    def add(self, poll):
        self.selector.register(poll.socket, selectors.EVENT_READ, poll)
        self.open += 1

    def until(self, deadline, enough):
        """Until `enough` polls were answered, or the deadline. Returns them."""
        answered = []
        while len(answered) < enough and time.monotonic() < deadline:
            for key, _ in self.selector.select(max(0, deadline - time.monotonic())):
                if key.data.read():
                    self.selector.unregister(key.data.socket)
                    key.data.socket.close()
                    self.open -= 1
                    answered.append(key.data)
        return answered


def park(server, options, watch):
    polls = []
    for number in range(options.count):
        poll = Poll(server.port, f"bench-{number % CONSUMERS}", options.wait)
        polls.append(poll)
        watch.add(poll)
        if number % SENT_AT_ONCE == SENT_AT_ONCE - 1:
            deadline = time.monotonic() + ANSWER_SECONDS_MAX
            while waiting(server.port, poll.consumer) < number // CONSUMERS + 1:
                if time.monotonic() > deadline:
                    raise Invalid(f"polls of {poll.consumer} do not arrive")
                time.sleep(0.001)
            if watch.until(time.monotonic(), 1):
                raise Invalid("a poll was answered although there is nothing")
    deadline = time.monotonic() + ANSWER_SECONDS_MAX
    while gauge(server.port, "postrider_http_parked_requests") < options.count:
        if time.monotonic() > deadline:
            raise Invalid("not all polls are parked")
        time.sleep(0.2)
    return polls


def run(options):
    if options.binary is None:
        options.binary = common.build_postrider()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < options.count + 1000:
        raise Invalid(f"{hard} open files are allowed, {options.count} connections need more")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    directory = common.data_directory(options.directory)

    def command(port, data):
        return [options.binary, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", data / "data"]

    with common.Server("polls", command, directory, common.answers_ready) as server:
        for number in range(CONSUMERS):
            call(server.port, "PUT", f"/v1/topics/bench-{number}", b'{"partitions":1}')
        watch = Watch()
        began = time.monotonic()
        polls = park(server, options, watch)
        parking = time.monotonic() - began
        if parking + options.seconds + WAKING_SECONDS > options.wait:
            raise Invalid(f"parking took {parking:.1f} s: a wait of {options.wait} s is too short for this machine")
        print(f"parked={len(polls)} parking_seconds={parking:.1f}", flush=True)

        before = cpu_seconds(server.process.pid)
        early = watch.until(time.monotonic() + options.seconds, 1)
        cpu = cpu_seconds(server.process.pid) - before
        if early:
            raise Invalid("a poll was answered although there is nothing")
        share = cpu / options.seconds
        print(f"parked_cpu_seconds={cpu:.2f} of {options.seconds} s, parked_cpu_share={share:.4f}", flush=True)

        # One record each for two consumers: one poll of each is answered, and nobody else.
        woken_max = 0.0
        for number in (3, CONSUMERS - 1):
            sent = time.monotonic()
            call(server.port, "POST", f"/v1/topics/bench-{number}/records", b'{"records":[{"value":1}]}')
            woken = watch.until(time.monotonic() + ANSWER_SECONDS_MAX, 1)
            others = watch.until(time.monotonic() + 1, 1)
            if len(woken) != 1 or others or is_empty(woken[0]) or woken[0].consumer != f"bench-{number}":
                raise Invalid(f"a record of bench-{number} woke {[poll.consumer for poll in woken + others]}")
            woken_max = max(woken_max, woken[0].answered - sent)
            # Or its lease runs out, and it wakes another.
            token = json.loads(body_of(woken[0].received))["ack"]
            call(server.port, "POST", f"/v1/consumers/bench-{number}/acks", json.dumps({"ack": token}).encode())
        print(f"woken=2 of {len(polls)}, woken_seconds_max={woken_max:.3f}", flush=True)

        before = cpu_seconds(server.process.pid)
        rest = watch.until(time.monotonic() + options.wait + ANSWER_SECONDS_MAX, watch.open)
        cpu = cpu_seconds(server.process.pid) - before
        if watch.open > 0 or not all(is_empty(poll) for poll in rest):
            raise Invalid(f"{watch.open} polls were not answered, or with records that are not there")
        lates = late(rest, options.wait)
        print(
            f"late_seconds_min={min(lates):.3f} late_seconds_max={max(lates):.3f} "
            f"ending_cpu_seconds={cpu:.2f} for {len(rest)}",
            flush=True,
        )
        problems = verdict(share, lates, options.cpu_share_max)
        if problems:
            raise Invalid("; ".join(problems))


def verdict(share, lates, share_max):
    """What is wrong with the numbers."""
    problems = []
    if share > share_max:
        problems.append(f"parked polls cost {share:.4f} of a processor, {share_max} are allowed")
    if max(lates) > LATE_SECONDS_MAX:
        problems.append(f"a poll was answered {max(lates):.3f} s late, {LATE_SECONDS_MAX} are allowed")
    if min(lates) < -EARLY_SECONDS_MAX:
        problems.append(f"a poll was answered {-min(lates):.3f} s before its wait was over")
    return problems
