"""No room: the broker's file may not grow, and the disk is full."""

import contextlib
import errno
import json
import os
import subprocess

from attacks import filesystem
from night.stage import Scene

BALLAST = "ballast"
BALLAST_BYTES = 40 << 20
BALLAST_RECORD_BYTES = 60_000
BALLAST_RECORDS = 4
IMAGE_BYTES = 256 << 20
HOG_STEP_BYTES_MIN = 4096


class BrokerFull(Scene):
    name = "broker-full"
    says = "the embedded broker reaches its bytes_max, then the spool is full; a topic that nobody needs is deleted"
    settings = ("broker.embedded.bytes_max=48MiB", "spool.bytes_max=8MiB", "spool.park_after=1s")
    series = (
        "postrider_not_accepting", "postrider_spool_quota_ratio", "postrider_spool_quota_refusals_total",
        "postrider_spool_topic_backlog_refusals_total", "postrider_spool_parked_lanes",
        "postrider_lane_failing_seconds", "postrider_limit_reached_total", "postrider_broker_failures_total",
    )

    def play(self, stage):
        stage.open()
        self._fill(stage)
        stage.load.start()
        stage.witness.phase("before")
        stage.wait(lambda: stage.witness.count("before", "produce", 507) > 0, 90, "the spool is never full")
        stage.go_on(3, "full")
        stage.note_readiness("full")
        refused = stage.witness.count("full", "produce", 507)
        stage.require(refused > 0, "nothing was refused while the spool was full")
        status, body = stage.server.call("DELETE", f"/v1/topics/{BALLAST}?force=true")
        stage.require(status in (200, 202, 204), f"the topic is not deleted: {status} {body[:200]!r}")
        seconds = stage.wait_for_accepted("topic deleted")
        stage.facts.append(f"{refused:,} requests refused; accepted again {seconds:.1f} s after the topic was deleted")
        stage.go_on(1)
        failing = stage.metrics.peak("postrider_lane_failing_seconds", code="broker_full")
        stage.require(failing > 0, "no lane says that the broker is full")
        stage.require(
            stage.metrics.peak("postrider_not_accepting", reason="quota") > 0, "no metric says that the spool is full"
        )
        stage.server.stop()

    def _fill(self, stage):
        """Of a topic that no client of the load uses, and that is gone at the end."""
        value = "x" * BALLAST_RECORD_BYTES
        body = json.dumps({"records": [{"value_text": value}] * BALLAST_RECORDS}).encode()
        for _ in range(BALLAST_BYTES // (BALLAST_RECORD_BYTES * BALLAST_RECORDS)):
            stage.wait(lambda: self._took(stage, body), 60, "the ballast is not accepted")
        stage.wait(stage.server.is_drained, 60, "the ballast is not delivered")

    def _took(self, stage, body):
        return stage.server.call("POST", f"/v1/topics/{BALLAST}/records", body)[0] == 202


class DiskFull(Scene):
    name = "disk-full"
    says = "another program takes all the space of the file system (ext4 in a loop device), then gives it back"
    settings = ("spool.bytes_max=64MiB",)
    series = (
        "postrider_not_accepting", "postrider_journal_reserve_in_use", "postrider_journal_refused_total",
        "postrider_lane_failing_seconds", "postrider_broker_failures_total", "postrider_broker_errors_total",
    )
    needs_mounts = True
    is_in_short = False
    _disk = None

    def obstacle(self):
        return filesystem.is_allowed()

    def place(self, directory):
        self._disk = filesystem.Disk(directory, IMAGE_BYTES)
        self._disk.make()
        return self._disk.path / "data"

    def play(self, stage):
        stage.open()
        stage.load.start()
        stage.go_on(1, "before")
        hog = self._disk.path / "hog"
        taken = take_everything(hog)
        stage.witness.phase("disk full")
        stage.wait(lambda: stage.witness.count("disk full", "produce", 507, "disk_full") > 0, 60, "no 507 disk_full")
        stage.go_on(3)
        stage.note_readiness("disk full")
        stage.facts.append(f"{taken >> 20} MiB were taken")
        hog.unlink()
        seconds = stage.wait_for_accepted("space is back")
        refused = stage.witness.count("disk full", "produce", 507)
        stage.facts.append(f"{refused:,} requests refused; accepted again {seconds:.1f} s after the space came back")
        stage.go_on(1.5)
        stage.require(
            stage.metrics.peak("postrider_not_accepting", reason="no_space") > 0, "no metric says that the disk is full"
        )
        stage.server.stop()

    def tear_down(self):
        if self._disk is not None:
            with contextlib.suppress(OSError):
                (self._disk.path / "hog").unlink()
            try:
                self._disk.unmount()
                self._disk.check()
            except OSError as failed:
                raise subprocess.SubprocessError(str(failed)) from failed


def take_everything(path):
    """All the space there is, down to the last block. Returns the bytes."""
    taken = 0
    with open(path, "wb") as hog:
        step = 64 << 20
        while step >= HOG_STEP_BYTES_MIN:
            try:
                os.posix_fallocate(hog.fileno(), taken, step)
                taken += step
            except OSError as refused:
                if refused.errno != errno.ENOSPC:
                    raise
                step //= 2
    return taken
