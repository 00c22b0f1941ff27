"""Runs of schemathesis, each with a seed of its own, until there were enough cases."""

import collections
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
# Below this many cases a round leaves out the phase that goes through every bound of every parameter.
COVERAGE_CASES_MIN = 2000
EXAMPLES_PER_OPERATION = 40
EXAMPLES_PER_OPERATION_SHORT = 4
ROUNDS_MAX = 20
ROUND_SECONDS_MAX = 900
LINE_CHARACTERS_MAX = 2000

Done = collections.namedtuple("Done", "cases operations failures")


class Failed(Exception):
    """A run told nothing."""


def run(program, port, directory, seed, cases):
    """Returns what was done; the first round with a failure is the last."""
    total, operations = 0, 0
    for number in range(ROUNDS_MAX):
        report = _round(program, port, directory, seed + number, cases)
        total += report["test_cases"]["generated"]
        operations = report["operations"]["tested"]
        failures = faults(report)
        if failures or total >= cases:
            return Done(total, operations, failures)
    raise Failed(f"only {total} cases in {ROUNDS_MAX} rounds")


def faults(report):
    """How much of a report is not as it must be: failures, errors, and calls of the document that were not made."""
    untested = report["operations"]["total"] - report["operations"]["tested"]
    return len(report["failures"]) + len(report["errors"]) + untested + (0 if report["complete"] else 1)


def _round(program, port, directory, seed, cases):
    path = directory / f"report-{seed}.json"
    short = cases < COVERAGE_CASES_MIN
    command = [
        program, "--config-file", HERE / "schemathesis.toml", "run", f"http://127.0.0.1:{port}/openapi.json",
        "--seed", str(seed), "--phases", "examples,fuzzing,stateful" if short else "examples,coverage,fuzzing,stateful",
        "--max-examples", str(EXAMPLES_PER_OPERATION_SHORT if short else EXAMPLES_PER_OPERATION),
        "--continue-on-failure", "--generation-database", "none", "--request-timeout", "30", "--no-color",
        "--report", "json", "--report-json-path", path,
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    output = directory / "output"
    with open(output, "w", encoding="utf-8") as file:
        done = subprocess.run(
            command, cwd=directory, env=environment, stdout=file, stderr=file, timeout=ROUND_SECONDS_MAX, check=False
        )
    # A failure shows the request that led to it, which may be megabytes.
    for line in output.read_text(encoding="utf-8").splitlines():
        print(line[:LINE_CHARACTERS_MAX], file=sys.stderr)
    if not path.exists():
        raise Failed(f"schemathesis ended with status {done.returncode} and without a report")
    return json.loads(path.read_text())
