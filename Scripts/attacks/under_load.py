"""What the attacks on a running gateway have in common: options, small segments, the last line."""

import argparse
import contextlib
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

from crashtest import brokers, gateway
from crashtest.load import Load

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Segments begin and go all the time, and so do their files.
SETTINGS = (
    "spool.segment_bytes=1MiB",
    "spool.reserve_bytes=1MiB",
    "spool.group_bytes_max=256KiB",
    "limits.request_bytes_max=256KiB",
    "limits.record_bytes_max=64KiB",
    "limits.records_max=100",
)
BUFFERING = "spool.sync=interval"
# Where there is no way to run the attack here: neither passed nor failed.
SKIPPED = 77
# What a power failure took of `buffered` records, receipts do not know.
FORGOTTEN = (404, 410)
# Exit codes of a gateway whose disk fails (docs/ARCHITECTURE.md): it could not start, its spool failed, its broker did.
DISK_FAILURES = (1, 20, 24)


def say(text):
    print(text, file=sys.stderr, flush=True)


def parser(description):
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--binary", type=pathlib.Path, required=True)
    options.add_argument("--seed", type=int, required=True)
    options.add_argument("--seconds", type=float, required=True, help="of attacks; delivering the rest comes on top")
    options.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    return options


class Victim(gateway.Gateway):
    """A gateway that may die of what is done to it, as its exit codes say."""

    def live(self, seconds):
        """Until it is ready, then for `seconds`, or until it ends by itself. Returns its status; None: it lives."""
        deadline = time.monotonic() + gateway.READY_SECONDS_MAX
        is_ready = False
        while time.monotonic() < deadline:
            if self.has_exited():
                self.up.clear()
                return self._process.returncode
            if not is_ready and self.answers("/healthz"):
                is_ready = True
                self.up.set()
                deadline = time.monotonic() + seconds
            time.sleep(0.02)
        if not is_ready:
            raise gateway.Failed(f"neither up nor ended after {gateway.READY_SECONDS_MAX} s\n{self.log_tail()}")
        return None

    def end(self):
        """SIGKILL, unless it ended before. Returns its status."""
        self.up.clear()
        self._process.kill()
        return self._process.wait()

    def answers(self, path):
        with contextlib.suppress(OSError, gateway.http.client.HTTPException):
            return self.get(path)[0] == 200
        return False


def check_status(status, server):
    """A gateway ends as documented or is killed. A trap, or corruption that nobody made, is a failure."""
    if status is not None and status not in DISK_FAILURES and status != -signal.SIGKILL:
        raise gateway.Failed(f"the gateway ended with status {status}\n{server.log_tail()}")


def run(options, name, make_server, attack, settled_statuses=(), tear_down=lambda: None):
    """Runs one attack under load and prints its last line. Returns the exit status.

    make_server: from (directory, arguments) to a Gateway. attack: from (server, load, chance) to ({count: number},
    when the power went); raises gateway.Failed when it did nothing. tear_down: once no process uses the directory.
    """
    say(f"{name}: seed {options.seed}")
    chance = random.Random(options.seed)
    (ROOT / ".build").mkdir(exist_ok=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix=f"torture-{name}-", dir=ROOT / ".build"))
    arguments = [word for setting in (*SETTINGS, *options.settings) for word in ("--set", setting)]
    broker = brokers.Embedded(arguments)
    server = make_server(directory, arguments)
    server.settled_statuses = settled_statuses
    load = Load(server, broker, chance, say)
    try:
        try:
            load.start()
            counts, power_losses = attack(server, load, chance)
            # Under the other policy an answer that says `buffered` excuses nothing.
            excuses = power_losses if BUFFERING in options.settings else ()
            result = load.finish(server.data_directory.parent, 0.5, excuses)
        finally:
            load.abandon()
            tear_down()
    except (gateway.Failed, OSError, ValueError, sqlite3.Error, subprocess.SubprocessError) as failed:
        say(f"failed (seed {options.seed}): {failed}\nkept: {directory}")
        return 1
    for detail in result.details + result.unsettled:
        say(detail)
    if result.is_idle:
        say("nothing was accepted, handed out or committed: this proves nothing")
    if result.passed:
        shutil.rmtree(directory)
    else:
        say(f"seed {options.seed}; kept: {directory}")
    if result.buffered_lost:
        counts["buffered_lost"] = result.buffered_lost
    told = " ".join(f"{count}={number}" for count, number in counts.items())
    print(f"{told} {result.counts()}", flush=True)
    return 0 if result.passed else 1
