"""Resident memory: with nothing to do, with a backlog, at a restart with it, and while it drains."""

import http.client
import pathlib
import shutil
import tempfile
import time

from benchmark import common, forward, restart
from benchmark.common import Invalid
from benchmark.restart import MIB
from crashtest.gateway import lane_lags

IDLE_BYTES_MAX = 100 * MIB
BACKLOG_BYTES_MAX = 200 * MIB
IDLE_SECONDS = 3
# Of the records; the others are those that the broker took before it was full.
HELD_SHARE_MIN = 0.9
DRAIN_SECONDS_MAX = 900
SAMPLE_SECONDS = 0.2


def faults(peaks):
    """What is over its bound, in words. peaks: {phase: bytes}."""
    bounds = {phase: IDLE_BYTES_MAX if phase == "idle" else BACKLOG_BYTES_MAX for phase in peaks}
    return [
        f"{phase}: {peaks[phase] / MIB:.0f} MiB, the bound is {bounds[phase] // MIB} MiB"
        for phase in peaks if peaks[phase] > bounds[phase]
    ]


def memory(gateway):
    """(resident now, the most since its start), in bytes."""
    status = gateway.proc("status")
    return restart.field(status, "VmRSS"), restart.field(status, "VmHWM")


def tell(phase, gateway, more=""):
    now, peak = memory(gateway)
    print(f"{phase:<10} {now / MIB:>10,.0f} {peak / MIB:>10,.0f}  {more}".rstrip(), flush=True)
    return peak


def lag(port):
    """Records that are not delivered; None when it does not say."""
    try:
        status, text = forward.call(port, "GET", "/metrics")
    except (OSError, http.client.HTTPException):
        return None
    lags = lane_lags(text.decode()) if status == 200 else {}
    return sum(lags.values()) if lags else None


def drain(gateway):
    """Until everything is delivered. Returns the seconds."""
    began = time.monotonic()
    left = lag(gateway.port)
    if not left:
        raise Invalid("there is nothing to drain")
    while left != 0:
        if time.monotonic() - began > DRAIN_SECONDS_MAX:
            raise Invalid(f"{left} records are not delivered after {DRAIN_SECONDS_MAX} s:\n{gateway.output()}")
        time.sleep(SAMPLE_SECONDS)
        left = lag(gateway.port)
    return time.monotonic() - began


def run(options):
    if options.binary is None:
        options.binary = common.build_postrider()
    backlog_bytes = int(options.gib * (1 << 30))
    directory = pathlib.Path(tempfile.mkdtemp(prefix="bench-memory-", dir=common.data_directory(options.directory)))
    data = directory / "data"
    try:
        if shutil.disk_usage(directory).free < 3 * backlog_bytes:
            raise Invalid(f"{directory} has no room for three times the backlog")
        print(f"{'':<10} {'now MiB':>10} {'peak MiB':>10}", flush=True)
        peaks = {}
        with restart.Gateway(options, directory / "idle", backlog_bytes) as gateway:
            time.sleep(IDLE_SECONDS)
            peaks["idle"] = tell("idle", gateway)
        with restart.Gateway(options, data, backlog_bytes) as gateway:
            restart.fill(gateway, backlog_bytes)
            time.sleep(restart.SETTLE_SECONDS)
            held = lag(gateway.port)
            peaks["backlog"] = tell("backlog", gateway, f"{held or 0:,.0f} records")
            if not held or held < backlog_bytes / restart.VALUE_BYTES * HELD_SHARE_MIN:
                raise Invalid("the backlog was delivered instead of held back")
        with restart.Gateway(options, data, backlog_bytes) as gateway:
            restart.wait_until_accepting(gateway)
            time.sleep(restart.SETTLE_SECONDS)
            peaks["restart"] = tell("restart", gateway)
        with restart.Gateway(options, data, backlog_bytes, broker_bytes_max=None) as gateway:
            seconds = drain(gateway)
            peaks["drain"] = tell("drain", gateway, f"{backlog_bytes / MIB / seconds:,.0f} MiB/s")
        if wrong := faults(peaks):
            raise Invalid("; ".join(wrong))
        print(" ".join(f"memory_{phase}_mib={peak / MIB:.0f}" for phase, peak in peaks.items()))
    finally:
        shutil.rmtree(directory)
