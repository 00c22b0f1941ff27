"""Somebody sets the clock: an hour back, and right again."""

import email.utils
import http.client
import pathlib
import shutil
import struct
import subprocess
import time

from crashtest import gateway, repeating
from night.stage import Scene

SOURCE = pathlib.Path(__file__).with_name("clock.c")
BACK_SECONDS = 3600
# Between asking for the time and the answer.
UNCERTAIN_SECONDS = 60


class ClockBack(Scene):
    name = "clock-back"
    says = "the clock is set back an hour, the gateway is stopped, killed and started, then the clock is right again"
    series = (
        "postrider_spool_oldest_seconds", "postrider_consumer_leases_expired_total",
        "postrider_idempotency_replays_total", "postrider_idempotency_gap", "postrider_not_accepting",
        "postrider_broker_expired_records_total",
    )
    retry = repeating.KEY
    _library = None
    _offset = None

    def obstacle(self):
        return None if shutil.which("gcc") else "there is no gcc to build a clock that can be set"

    def place(self, directory):
        self._library = directory / "clock.so"
        self._offset = directory / "offset"
        flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run(["gcc", *flags, "-o", self._library, SOURCE], check=True)
        self.set_clock(0)
        return super().place(directory)

    def command(self, served):
        return ["env", f"LD_PRELOAD={self._library}", f"NIGHT_CLOCK={self._offset}", *served]

    def play(self, stage):
        stage.open()
        stage.load.start()
        stage.go_on(1.5, "before")
        require_clock(stage, 0)
        self.set_clock(-BACK_SECONDS)
        stage.go_on(2.5, "an hour back")
        require_clock(stage, -BACK_SECONDS)
        stage.server.stop()
        stage.server.start()
        stage.server.wait_until_ready()
        stage.go_on(2, "stopped and started, an hour back")
        require_clock(stage, -BACK_SECONDS)
        stage.server.kill()
        stage.server.start()
        stage.server.wait_until_ready()
        stage.go_on(1, "killed and started, an hour back")
        self.set_clock(0)
        stage.go_on(2, "right again")
        require_clock(stage, 0)
        for phase in stage.witness.phases():
            stage.require(stage.witness.accepted(phase) > 0, f"{phase}: nothing was accepted")
            refused = stage.witness.refused(phase)
            stage.require(refused == 0, f"{phase}: {refused} requests were refused")
        expired = stage.metrics.increase("postrider_broker_expired_records_total")
        stage.require(expired == 0, f"retention took {expired:.0f} records that are minutes old")
        oldest = stage.metrics.peak("postrider_spool_oldest_seconds")
        stage.require(oldest < BACK_SECONDS / 2, f"a record of this minute is told to be {oldest:,.0f} s old")
        stage.note_repeats()
        stage.server.stop()

    def set_clock(self, seconds):
        """In place: the gateway has the file mapped."""
        with open(self._offset, "r+b" if self._offset.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))


def require_clock(stage, seconds):
    """What the gateway writes into Date is off by so many seconds: the clock was really set."""
    off = clock_of(stage.server) - time.time()
    stage.require(abs(off - seconds) < UNCERTAIN_SECONDS, f"the gateway's clock is off by {off:.0f} s, not {seconds}")


def clock_of(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=gateway.CALL_SECONDS_MAX)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        response.read()
        return email.utils.parsedate_to_datetime(response.getheader("Date")).timestamp()
    finally:
        connection.close()
