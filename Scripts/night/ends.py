"""The process ends under load: as an operator ends it, and at the worst moment."""

import json
import time

from attacks import syscalls
from benchmark import polls
from crashtest import repeating
from night.slow import attached
from night.stage import Scene, Watch

PARKED = 200
PARKED_SECONDS = 30
QUIET = "quiet"
DRAIN_DELAY_SECONDS = 1.5
LATE_SECONDS_MAX = 30
VERIFIED = "postrider_recovery_verified_records"
# Longer than the scene needs to see requests wait for it; strace keeps what is killed for as long.
HUNG_SECONDS = 4


class Sigterm(Scene):
    name = "sigterm"
    says = f"SIGTERM under load, while {PARKED} polls are parked; then it is started again"
    settings = (f"http.drain_delay={int(DRAIN_DELAY_SECONDS * 1000)}ms",)
    is_in_short = False
    series = ("postrider_http_parked_requests", "postrider_http_connections", VERIFIED)

    def play(self, stage):
        stage.open()
        stage.server.call("PUT", f"/v1/topics/{QUIET}", json.dumps({"partitions": 1}).encode())
        stage.load.start()
        parked, watch = park(stage)
        stage.go_on(1.5, "before")
        readiness = Watch(stage.server)
        readiness.start()
        stage.witness.phase("SIGTERM")
        began = time.monotonic()
        stage.server.stop(under_load=True)
        seconds = time.monotonic() - began
        answered = watch.until(time.monotonic() + LATE_SECONDS_MAX, PARKED)
        readiness.join()
        served = stage.witness.accepted("SIGTERM")
        said = ", then ".join(str(status) for status in readiness.statuses)
        stage.facts.append(
            f"/readyz said {said}; {served:,} requests accepted after the signal; ended with 0 after {seconds:.1f} s"
        )
        stage.facts.append(f"{len(answered)} of {PARKED} parked polls were answered, each with 200 and no records")
        stage.require(readiness.statuses[-1:] == [503], f"/readyz never said 503: {readiness.statuses}")
        stage.require(served > 0, f"nothing was accepted in the {DRAIN_DELAY_SECONDS} s before it ended")
        stage.require(seconds >= DRAIN_DELAY_SECONDS, f"it ended after {seconds:.1f} s, before its http.drain_delay")
        empty = sum(polls.is_empty(poll) for poll in answered)
        stage.require(len(parked) == len(answered) == empty, f"of {PARKED} parked polls {empty} were answered in order")
        said, _ = stage.said()
        stage.require(any(entry.message == "stopped" for entry in said), "the log does not say that it stopped")
        self._start_again(stage)

    def _start_again(self, stage):
        stage.server.start()
        stage.server.wait_until_ready()
        stage.go_on(0.5, "started again")
        stage.recorder.look()
        stage.require(stage.metrics.knows(VERIFIED), f"there is no {VERIFIED}")
        verified = stage.metrics.last(VERIFIED)
        stage.facts.append(f"the start after it checked {verified:.0f} records")
        stage.require(verified == 0, f"the start checked {verified:.0f} records again")
        stage.require(stage.witness.accepted("started again") > 0, "nothing was accepted after the start")
        stage.server.stop()


def serving_lines(stage):
    """How often the log says that the gateway serves."""
    said, _ = stage.said()
    return sum(count for entry, count in said.items() if entry.message == "serving")


def park(stage):
    """Polls of a consumer that has nothing to read. Returns (polls, who watches them)."""
    watch = polls.Watch()
    parked = []
    for _ in range(PARKED):
        poll = polls.Poll(stage.server.port, QUIET, PARKED_SECONDS)
        watch.add(poll)
        parked.append(poll)
    stage.wait(
        lambda: polls.waiting(stage.server.port, QUIET) == PARKED, LATE_SECONDS_MAX, "polls of the scene are not parked"
    )
    return parked, watch


class Sigkill(Scene):
    name = "sigkill"
    says = "SIGKILL while a sync hangs and requests wait for it, then early in the start after it, then under load"
    series = (
        "postrider_idempotency_replays_total", VERIFIED, "postrider_recovery_read_bytes",
        "postrider_journal_slow_syncs_total",
    )
    retry = repeating.KEY
    is_in_short = False

    def obstacle(self):
        return syscalls.is_allowed()

    def play(self, stage):
        stage.open()
        stage.load.start()
        stage.go_on(1.5, "before")
        with attached(stage, HUNG_SECONDS, stage.server.log_path.with_name("strace.out")):
            stage.go_on(1, "a sync hangs")
            stage.witness.phase("killed in the sync")
            stage.server.kill()
        served = serving_lines(stage)
        stage.server.start()
        time.sleep(stage.chance.uniform(0, 0.1))
        stage.server.kill()
        when = "once it served" if serving_lines(stage) > served else "before it served"
        stage.facts.append(f"the start after that was killed {when}")
        stage.server.start()
        stage.server.wait_until_ready()
        stage.recorder.look()
        verified = stage.metrics.last(VERIFIED)
        stage.facts.append(f"the start after two kills read {verified:.0f} records again")
        stage.go_on(2, "started again")
        stage.server.kill()
        unanswered = stage.witness.count("killed in the sync", status=0)
        stage.facts.append(f"{unanswered} requests under way were killed without an answer")
        stage.require(unanswered > 0, "no client waited when it was killed")
        stage.require(stage.witness.accepted("started again") > 0, "nothing was accepted after the start")
        stage.require(stage.load.replays > 0, "no repetition was answered as the first request")
        stage.note_repeats()
