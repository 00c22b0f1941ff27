"""A disk that takes its time, and clients that do."""

import contextlib
import selectors
import socket
import threading
import time

from attacks import syscalls
from benchmark import polls
from night.stage import Scene, Skipped

# Longer than what is logged as slow; and longer than spool.sync_timeout.
SLOW_SECONDS = 1.2
HUNG_SECONDS = 4
SYNC_TIMEOUT_SECONDS = 2

SLOW_WRITERS = 40
SLOW_READERS = 3
DRIP_SECONDS = 0.2
# What a reader asks for, and does not take: twice what sockets hold.
READ_BYTES = 8 << 20
RECORD_BYTES = 60_000
RECORDS = 4
# After http.idle_timeout, and the second or two that the gateway needs to notice.
READ_AFTER_SECONDS = 7.5
LATE_SECONDS_MAX = 30


class SlowDisk(Scene):
    name = "slow-disk"
    says = f"each fdatasync takes {SLOW_SECONDS} s, then {HUNG_SECONDS} s (by strace), then the disk is well again"
    settings = (f"spool.sync_timeout={SYNC_TIMEOUT_SECONDS}s",)
    series = (
        "postrider_journal_slow_syncs_total", "postrider_not_accepting", "postrider_journal_refused_total",
        "postrider_journal_housekeeping_stalled", "postrider_limit_reached_total", "postrider_lane_failing_seconds",
    )
    is_in_short = False

    def obstacle(self):
        return syscalls.is_allowed()

    def play(self, stage):
        trace = stage.server.log_path.with_name("strace.out")
        stage.open()
        stage.load.start()
        stage.go_on(1, "before")
        with attached(stage, SLOW_SECONDS, trace):
            stage.go_on(5, "slow")
        stage.require(stage.witness.accepted("slow") > 0, "nothing was accepted while the disk was slow")
        stage.wait_for_accepted("well again")
        with attached(stage, HUNG_SECONDS, trace):
            stage.witness.phase("hung")
            stage.wait(lambda: stage.witness.count("hung", "produce", 503) > 0, 60, "no 503 while syncs hang")
            stage.note_readiness("hung")
            stage.go_on(2)
        seconds = stage.wait_for_accepted("the disk goes on")
        refused = stage.witness.count("hung", "produce", 503)
        stage.facts.append(f"{refused:,} requests refused; accepted again {seconds:.1f} s after the disk went on")
        stage.go_on(1)
        stage.require(stage.metrics.increase("postrider_journal_slow_syncs_total") > 0, "no sync was counted as slow")
        stage.require(
            stage.metrics.peak("postrider_not_accepting", reason="sync_stalled") > 0, "no metric says that syncs hang"
        )
        stage.server.stop()


@contextlib.contextmanager
def attached(stage, seconds, trace):
    """The disk of the running gateway takes so long for each sync, the broker's syncs included."""
    with contextlib.ExitStack() as stack:
        expression = f"inject=fdatasync:delay_enter={int(seconds * 1e6)}"
        try:
            stack.enter_context(syscalls.attached(stage.server.pid, expression, trace))
        except OSError as refused:
            raise Skipped(str(refused)) from refused
        yield


class SlowClients(Scene):
    name = "slow-clients"
    says = (
        f"{3 * SLOW_WRITERS} clients send a byte every {DRIP_SECONDS} s, {SLOW_READERS} read nothing of a large answer"
    )
    settings = ("http.header_timeout=2s", "http.idle_timeout=4s", "http.body_rate_min=512")
    is_in_short = False
    series = (
        "postrider_http_slow_clients_total", "postrider_http_connections", "postrider_http_broken_requests_total",
        "postrider_http_response_memory_bytes", "postrider_http_body_memory_bytes", "postrider_limit_reached_total",
    )

    def play(self, stage):
        stage.open()
        for number in range(READ_BYTES // (RECORD_BYTES * RECORDS) + 1):
            contents = [f"large/{number}/{place}/".encode().ljust(RECORD_BYTES, b"x") for place in range(RECORDS)]
            stage.produce("audit", contents, partition=0)
        stage.wait(stage.server.is_drained, 60, "the large records are not delivered")
        crowd = Crowd(stage.server.port)
        stage.wait(crowd.are_answered, LATE_SECONDS_MAX, "the large answer does not begin")
        stage.load.start()
        stage.go_on(1, "before")
        stage.witness.phase("with slow clients")
        crowd.start()
        stage.wait(lambda: not crowd.is_alive(), LATE_SECONDS_MAX + 10, "slow clients stay connected")
        stage.facts.append(crowd.told())
        for what in crowd.stayed():
            stage.require(False, what)
        for part in ("headers", "body"):
            counted = stage.metrics.increase("postrider_http_slow_clients_total", part=part)
            stage.require(counted >= SLOW_WRITERS, f"{counted:.0f} of {SLOW_WRITERS} slow with {part} are counted")
        stage.require(stage.witness.accepted("with slow clients") > 0, "the others were not served")
        refused = stage.witness.count("with slow clients", "produce") - stage.witness.accepted("with slow clients")
        unanswered = stage.witness.count("with slow clients", "produce", 0)
        stage.require(refused == unanswered, f"{refused - unanswered} requests of the others were refused")
        stage.go_on(0.5, "after")
        stage.server.stop()


class Slow:
    """One slow connection."""

    def __init__(self, port, kind):
        self.kind = kind
        self.socket = socket.socket()
        # Small, so that what it does not read stays at the gateway.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(BEGINNINGS[kind].encode())
        self.socket.setblocking(False)
        self.began = time.monotonic()
        self.ended = None
        self.received = b""

    def is_answered(self):
        """Whether the first byte of an answer is here. It is left there."""
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False

    def drip(self):
        try:
            self.socket.send(b"x")
        except (BlockingIOError, OSError):
            # Whether it is closed is seen by reading.
            pass

    def read(self):
        """Takes what came. Notes when the gateway closed it."""
        while self.ended is None:
            try:
                data = self.socket.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self.received += data
            if not data:
                self.ended = time.monotonic()

    @property
    def is_whole(self):
        """Whether it was not cut off in the middle of the large answer: it got all of it, or nothing."""
        return self.kind == READER and (b"\r\n\r\n" not in self.received or polls.body_of(self.received) is not None)


HEADERS, BODY, LINE, READER = "slow headers", "slow body", "slow request line", "reads nothing"
BEGINNINGS = {
    HEADERS: "POST /v1/topics/orders HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
    BODY: "POST /v1/topics/orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60000\r\n\r\n",
    LINE: "POST /v1/to",
    READER: (
        f"GET /v1/topics/audit/partitions/0/records?offset=0&max=10000&max_bytes={READ_BYTES} HTTP/1.1\r\n"
        "Host: 127.0.0.1\r\n\r\n"
    ),
}


class Crowd(threading.Thread):
    """Readers from the beginning, the others from the start on; until the gateway has closed each, or
    LATE_SECONDS_MAX."""

    def __init__(self, port):
        super().__init__(name="slow-clients", daemon=True)
        self.all = [Slow(port, READER) for _ in range(SLOW_READERS)]
        self._port = port

    def are_answered(self):
        return all(slow.is_answered() for slow in self.all)

    def run(self):
        # Only by reading on can readers see that they were cut off.
        read_at = time.monotonic() + READ_AFTER_SECONDS
        self.all += [Slow(self._port, kind) for kind in [HEADERS, BODY, LINE] * SLOW_WRITERS]
        selector = selectors.DefaultSelector()
        for slow in self.all:
            if slow.kind != READER:
                selector.register(slow.socket, selectors.EVENT_READ, slow)
        deadline = time.monotonic() + LATE_SECONDS_MAX
        drip_at = 0.0
        while time.monotonic() < deadline and any(slow.ended is None for slow in self.all):
            now = time.monotonic()
            if now >= drip_at:
                drip_at = now + DRIP_SECONDS
                for slow in self.all:
                    if slow.kind != READER and slow.ended is None:
                        slow.drip()
            for slow in self.all:
                if slow.kind == READER and slow.ended is None and now > read_at:
                    slow.read()
            for key, _ in selector.select(DRIP_SECONDS / 4):
                key.data.read()
                if key.data.ended is not None:
                    selector.unregister(key.fileobj)
        for slow in self.all:
            slow.socket.close()

    def told(self):
        parts = []
        for kind in BEGINNINGS:
            ended = [slow.ended - slow.began for slow in self.all if slow.kind == kind and slow.ended is not None]
            when = f" after {min(ended):.1f} to {max(ended):.1f} s" if ended and kind != READER else ""
            parts.append(f"{kind}: {len(ended)} cut off{when}")
        return "; ".join(parts)

    def stayed(self):
        """What of it was not cut off, in words."""
        return [
            f"{slow.kind}: still served after {LATE_SECONDS_MAX} s" for slow in self.all if slow.ended is None
        ][:3] + [f"{slow.kind}: not cut off in the middle of its answer" for slow in self.all if slow.is_whole][:3]
