"""What several syncs in flight would gain: `syncs_in_flight` with 1, 2 and 4 of them, in turn."""

import os
import pathlib
import statistics
import subprocess
import tempfile

from benchmark import common

SYNCS = (1, 2, 4)
CLIENTS = (1, 8, 64, 256)
RECORD_BYTES = 1024


def at_once():
    """In the child: woken before everybody else. On a machine that does other things, more threads would gain by
    getting more of its processors, which is not what is measured."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pass


def run(options):
    program = common.build_reference("syncs_in_flight")
    results = {}
    with tempfile.TemporaryDirectory(prefix="bench-syncs-", dir=common.data_directory(options.directory)) as directory:
        file = pathlib.Path(directory) / "file"
        for number in range(options.rounds):
            for clients in CLIENTS:
                # What comes after another run finds another disk: there and back.
                for syncs in SYNCS if number % 2 == 0 else reversed(SYNCS):
                    command = [program, syncs, clients, RECORD_BYTES, options.seconds, file]
                    done = subprocess.run(
                        [str(part) for part in command], check=True, capture_output=True, text=True, preexec_fn=at_once)
                    results.setdefault((clients, syncs), []).append(common.result_of(done.stdout))
    print(f"{'clients':>8} {'in flight':>10} {'records/s':>12} {'p50 ms':>8} {'p99 ms':>8} {'against 1':>10}")
    for (clients, syncs), found in sorted(results.items()):
        one = results[clients, 1]
        rate, base = ([each["records"] * 1e6 / each["duration_us"] for each in some] for some in (found, one))
        print(
            f"{clients:>8} {syncs:>10} {statistics.median(rate):>12,.0f} "
            f"{statistics.median(each['p50_us'] for each in found) / 1000:>8.2f} "
            f"{statistics.median(each['p99_us'] for each in found) / 1000:>8.2f} "
            f"{statistics.median(ours / theirs for ours, theirs in zip(rate, base)):>10.2f}"
        )
