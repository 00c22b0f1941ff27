"""A failure must be found in what Swift Testing prints, and nothing else be taken for one."""

import signal
import unittest

from mutate.output import NothingRan, Output

START = """\
◇ Test run started.
↳ Testing Library Version: 6.3.1
◇ Suite CrashTests started.
◇ Test crash_IsSurvived() started.
◇ Test table_Holds(kind:) started.
◇ Test case passing 1 argument kind → .always to table_Holds(kind:) started.
"""
ISSUE = (
    "✘ Test table_Holds(kind:) recorded an issue with 1 argument kind → .always at CrashTests.swift:96:9: "
    "Expectation failed: (2 → 2) == 3\n")
PASSED = """\
✔ Test case passing 1 argument kind → .always to table_Holds(kind:) passed after 0.001 seconds.
✔ Test table_Holds(kind:) with 1 test case passed after 0.002 seconds.
✔ Test crash_IsSurvived() passed after 0.100 seconds.
✔ Suite CrashTests passed after 0.100 seconds.
✔ Test run with 2 tests in 1 suite passed after 0.101 seconds.
"""


def read(text):
    output = Output()
    for line in text.splitlines(keepends=True):
        output.take(line)
    return output


class OutputTests(unittest.TestCase):
    def test_run_that_passes_caught_nothing(self):
        output = read(START + PASSED)
        self.assertEqual(output.passed, 2)
        self.assertEqual(output.running, [])
        self.assertIsNone(output.verdict(0, False))

    def test_first_issue_is_named_with_its_place(self):
        second = ISSUE.replace("table_Holds", "other").replace("96", "97")
        output = read(START + ISSUE + second)
        self.assertEqual(output.verdict(-signal.SIGKILL, False), "table_Holds(kind:) (CrashTests.swift:96)")

    def test_colours_change_nothing(self):
        coloured = "".join(f"\x1b[92m{line[0]}\x1b[0m{line[1:]}" for line in (START + PASSED).splitlines(keepends=True))
        output = read(coloured)
        self.assertEqual((output.passed, output.running), (2, []))
        self.assertIsNotNone(read(f"\x1b[91m{ISSUE[0]}\x1b[0m{ISSUE[1:]}").failure)

    def test_issue_without_a_place_is_named(self):
        output = read("✘ Test crash_IsSurvived() recorded an issue: Caught error: sync\n")
        self.assertEqual(output.verdict(1, False), "crash_IsSurvived()")

    def test_known_issue_is_no_failure(self):
        output = read(START + ISSUE.replace("an issue", "a known issue") + PASSED)
        self.assertIsNone(output.verdict(0, False))

    def test_crash_names_the_tests_under_way_and_the_reason(self):
        ended = "✔ Test crash_IsSurvived() passed after 0.100 seconds.\n"
        output = read(START + ended + "Journal/SegmentWriter.swift:101: Precondition failed\n")
        self.assertEqual(
            output.verdict(-signal.SIGILL, False),
            "a crash (SIGILL), during table_Holds(kind:): Journal/SegmentWriter.swift:101: Precondition failed")

    def test_time_limit_names_the_tests_under_way(self):
        self.assertEqual(
            read(START).verdict(-signal.SIGKILL, True), "the time limit, during crash_IsSurvived(), table_Holds(kind:)")

    def test_bad_exit_status_counts(self):
        self.assertEqual(read("").verdict(1, False), "exit status 1, during no test")

    def test_run_without_tests_does_not_pass(self):
        with self.assertRaises(NothingRan):
            read("✔ Test run with 0 tests in 0 suites passed after 0.001 seconds.\n").verdict(0, False)


if __name__ == "__main__":
    unittest.main()
