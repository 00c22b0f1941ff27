"""What a report of schemathesis must look like to count as good."""

import pathlib
import stat
import tempfile
import unittest

from contracttest import rounds

GOOD = {
    "complete": True,
    "operations": {"total": 3, "tested": 3},
    "test_cases": {"generated": 60},
    "failures": [],
    "errors": [],
}

FAKE = """#!/usr/bin/env python3
import json, sys
path = sys.argv[sys.argv.index("--report-json-path") + 1]
seed = int(sys.argv[sys.argv.index("--seed") + 1])
report = {report}
report["failures"] = [1] if seed == {bad_seed} else []
json.dump(report, open(path, "w"))
"""


class Faults(unittest.TestCase):
    def test_none_in_a_complete_report_without_failures(self):
        self.assertEqual(rounds.faults(GOOD), 0)

    def test_each_kind_counts(self):
        for change in [
            {"complete": False},
            {"operations": {"total": 3, "tested": 2}},
            {"failures": [{}]},
            {"errors": [{}]},
        ]:
            self.assertEqual(rounds.faults(GOOD | change), 1, change)


class Rounds(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = pathlib.Path(self.directory.name)

    def program(self, text):
        program = self.path / "program"
        program.write_text(text)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return program

    def fake(self, bad_seed=-1):
        return self.program(FAKE.format(report=repr(GOOD), bad_seed=bad_seed))

    def test_go_on_until_there_were_enough_cases(self):
        done = rounds.run(self.fake(), 1, self.path, seed=7, cases=150)
        self.assertEqual(done, rounds.Done(cases=180, operations=3, failures=0))

    def test_end_with_the_first_failure(self):
        done = rounds.run(self.fake(bad_seed=8), 1, self.path, seed=7, cases=10_000)
        self.assertEqual(done, rounds.Done(cases=120, operations=3, failures=1))

    def test_do_not_go_on_for_ever(self):
        with self.assertRaises(rounds.Failed):
            rounds.run(self.fake(), 1, self.path, seed=0, cases=60 * rounds.ROUNDS_MAX + 1)

    def test_a_program_that_says_nothing_is_a_failure(self):
        with self.assertRaises(rounds.Failed):
            rounds.run(self.program("#!/bin/sh\nexit 0\n"), 1, self.path, seed=0, cases=1)


if __name__ == "__main__":
    unittest.main()
