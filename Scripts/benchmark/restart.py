"""A start on a large backlog: how long until it accepts, how much it reads for that, how much memory it takes."""

import http.client
import os
import pathlib
import re
import shutil
import statistics
import tempfile
import time

from benchmark import common, forward
from benchmark.common import Invalid

TOPICS = 16
VALUE_BYTES = 1024
MIB = 1 << 20
# What a round must keep to.
ACCEPT_SECONDS_MAX = 2.0
MEMORY_BYTES_MAX = 256 * MIB
# Read before the first 202, whatever the backlog is: one segment to recover, and what each lane takes first.
READ_BYTES_MAX = 192 * MIB
# Lanes read on, and are refused, for so long before memory is looked at.
SETTLE_SECONDS = 5
# The broker is full before the first record, so everything stays in the spool.
BROKER_BYTES_MAX = "1MiB"
PAUSE_SECONDS = 0.005


def field(text, name):
    """A number of /proc/PID/status or /proc/PID/io, as bytes."""
    found = re.search(rf"^{name}:\s+(\d+)( kB)?$", text, re.MULTILINE)
    if not found:
        raise Invalid(f"{name} is not in\n{text}")
    return int(found[1]) * (1024 if found[2] else 1)


def faults(result, accept_seconds_max=ACCEPT_SECONDS_MAX):
    """What of a round is beyond its bound, in words."""
    bounds = (
        ("accept_seconds", accept_seconds_max), ("memory_bytes", MEMORY_BYTES_MAX), ("read_bytes", READ_BYTES_MAX),
    )
    return [f"{name} is {result[name]:.3f}, the bound {bound}" for name, bound in bounds if result[name] > bound]


class Gateway(common.Process):
    """On one directory, with a broker that takes nothing, or, with None for its `bytes_max`, everything."""

    def __init__(
        self, options, data, backlog_bytes, ready=common.answers_ready, broker_bytes_max=BROKER_BYTES_MAX
    ):
        port = common.free_port()
        arguments = [options.binary, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", data]
        for setting in (
            f"broker.embedded.bytes_max={broker_bytes_max or 'none'}",
            f"spool.bytes_max={2 * backlog_bytes // MIB + 1024}MiB",
            *options.settings,
        ):
            arguments += ["--set", setting]
        self.started = time.monotonic()
        super().__init__("postrider", arguments, port, ready)

    def __exit__(self, kind, *_):
        """Every one ends by SIGKILL."""
        died = self.process.poll()
        self.process.kill()
        self.process.wait()
        if died is not None and kind is None:
            raise Invalid(f"{self.name} died with status {died}:\n{self.output()}")

    def proc(self, name):
        return pathlib.Path(f"/proc/{self.process.pid}/{name}").read_text()


def journal_bytes(data):
    return sum(path.stat().st_size for path in (data / "spool").glob("*.seg"))


def prepare(options, data, backlog_bytes):
    """Fills the spool through the gateway, and kills it under load. Returns the bytes of segments."""
    with Gateway(options, data, backlog_bytes) as gateway:
        fill(gateway, backlog_bytes)
    return journal_bytes(data)


def fill(gateway, backlog_bytes):
    count = forward.batches(backlog_bytes // VALUE_BYTES, VALUE_BYTES)
    bodies, connection = {}, http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=forward.CALL_SECONDS_MAX)
    for number, records in enumerate(count):
        bodies.setdefault(records, forward.body(records, VALUE_BYTES))
        path = f"/v1/topics/restart-{number % TOPICS}/records"
        connection.request("POST", path, bodies[records], {"Content-Type": "application/json"})
        response = connection.getresponse()
        forward.require((202,), (response.status, response.read()), "preparing the backlog")


def forget_pages(data):
    """Of the spool's files, so that reading them reads the disk."""
    for path in (data / "spool").iterdir():
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def accepts(port):
    try:
        status, _ = forward.call(port, "POST", "/v1/topics/restart-0", b'{"first":1}')
        return status == 202
    except (OSError, http.client.HTTPException):
        return False


def wait_until_accepting(gateway):
    while not accepts(gateway.port):
        if gateway.process.poll() is not None or time.monotonic() > gateway.started + common.START_SECONDS_MAX:
            raise Invalid(f"does not accept:\n{gateway.output()}")
        time.sleep(PAUSE_SECONDS)


def restart(options, data, backlog_bytes):
    """Starts, waits for the first 202, kills. Returns what it took."""
    forget_pages(data)
    with Gateway(options, data, backlog_bytes, ready=lambda _: True) as gateway:
        wait_until_accepting(gateway)
        took, io = time.monotonic() - gateway.started, gateway.proc("io")
        time.sleep(SETTLE_SECONDS)
        result = {
            "accept_seconds": took,
            "read_bytes": field(io, "rchar"),
            "disk_bytes": field(io, "read_bytes"),
            "memory_bytes": field(gateway.proc("status"), "VmHWM"),
        }
    return result


def run(options):
    if options.binary is None:
        options.binary = common.build_postrider()
    backlog_bytes = int(options.gib * (1 << 30))
    data = pathlib.Path(tempfile.mkdtemp(prefix="bench-restart-", dir=common.data_directory(options.directory)))
    try:
        if shutil.disk_usage(data).free < 2 * backlog_bytes:
            raise Invalid(f"{data} has no room for twice the backlog")
        began = time.monotonic()
        held = prepare(options, data / "data", backlog_bytes)
        print(f"backlog: {held / MIB:,.0f} MiB of segments, in {time.monotonic() - began:.0f} s", flush=True)
        print(f"{'round':>5} {'first 202 s':>12} {'read MiB':>10} {'of it disk':>10} {'peak MiB':>10}", flush=True)
        results = []
        for number in range(1, options.rounds + 1):
            result = restart(options, data / "data", backlog_bytes)
            results.append(result)
            print(
                f"{number:>5} {result['accept_seconds']:>12.2f} {result['read_bytes'] / MIB:>10,.0f} "
                f"{result['disk_bytes'] / MIB:>10,.0f} {result['memory_bytes'] / MIB:>10,.0f}",
                flush=True,
            )
        middle = {name: statistics.median(result[name] for result in results) for name in results[0]}
        if wrong := faults(middle, options.accept_seconds_max):
            raise Invalid("; ".join(wrong))
        print(
            f"restart_accept_seconds={middle['accept_seconds']:.2f} restart_read_mib={middle['read_bytes'] / MIB:.0f} "
            f"restart_peak_mib={middle['memory_bytes'] / MIB:.0f} backlog_mib={held / MIB:.0f}"
        )
    finally:
        shutil.rmtree(data)
