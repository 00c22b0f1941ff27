"""An attack that breaks something, or does nothing, must not pass."""

import pathlib
import unittest

from attacks import plan
from attacks.under_load import SKIPPED

GOOD = "lives=3 faults=9 acked=120 lost=0 duplicated=0 reordered=0 committed_unacked=0"


class UnderLoadTests(unittest.TestCase):
    attack = plan.UnderLoad("a", 1, 2, words=("program",))

    def test_what_broke_nothing_passes(self):
        self.assertEqual(self.attack.read(0, f"noise\n{GOOD}\n"), plan.Verdict(GOOD, False))

    def test_what_broke_something_fails_whatever_the_status(self):
        for broken in ("lost=1", "duplicated=2", "reordered=3"):
            name = broken.split("=")[0]
            self.assertTrue(self.attack.read(0, GOOD.replace(f"{name}=0", broken)).is_broken)
        self.assertTrue(self.attack.read(1, GOOD).is_broken)
        self.assertTrue(self.attack.read(-9, "").is_broken)

    def test_what_did_nothing_fails(self):
        for nothing in ("", "lost=0 duplicated=0 reordered=0", GOOD.replace("acked=120", "acked=0")):
            self.assertTrue(self.attack.read(0, nothing).is_broken)

    def test_skipped_is_visible_and_no_failure(self):
        verdict = self.attack.read(SKIPPED, "skipped: no rights\n")
        self.assertEqual(verdict, plan.Verdict("skipped: no rights", False))

    def test_command_has_amount_seed_and_settings(self):
        attack = plan.UnderLoad("a", 5, 50, words=("Scripts/crash-test",), settings=("k=v",))
        command = attack.command(pathlib.Path("b"), 7, True)
        self.assertEqual(command[-4:], ["--kills", 5, "--set", "k=v"])
        self.assertIn("--seconds", self.attack.command(pathlib.Path("b"), 7, False))


class SwiftTestTests(unittest.TestCase):
    attack = plan.SwiftTest("codec", 1, 1, suite="CodecModel", says="codec model")

    def test_counts_of_all_lines_are_added(self):
        output = (
            "codec model: POSTRIDER_TEST_SEED=9\ncodec model, a: cases=3 torn=1\nother cases=9\n"
            "codec model, b: cases=4\nTest run with 2 tests passed"
        )
        verdict = self.attack.read(0, output)
        self.assertEqual(verdict.line, "tests=2 cases=7 torn=1 lost=0 duplicated=0 reordered=0")
        self.assertFalse(verdict.is_broken)

    def test_failed_or_idle_is_broken(self):
        self.assertTrue(self.attack.read(1, "codec model: cases=3\nTest run with 2 tests failed").is_broken)
        self.assertTrue(self.attack.read(0, "Test run with 2 tests passed").is_broken)
        self.assertTrue(self.attack.read(0, "codec model: cases=0\nTest run with 2 tests passed").is_broken)

    def test_no_such_test_is_said(self):
        verdict = self.attack.read(0, "Test run with 0 tests passed")
        self.assertTrue(verdict.line.startswith("skipped: "))

    def test_seed_and_number_of_seeds_are_handed_on(self):
        environment = self.attack.environment(7, True)
        self.assertEqual((environment["POSTRIDER_TEST_SEED"], environment["POSTRIDER_TEST_SEEDS"]), ("7", "1"))


class FuzzTests(unittest.TestCase):
    def test_what_ran_and_broke_nothing_passes_and_nothing_else(self):
        good = f"inputs=5 edges=3 corpus=2 {plan.NOTHING_BROKEN}"
        attack = plan.Fuzz("fuzz", None, 1)
        self.assertEqual(attack.read(0, good), plan.Verdict(good, False))
        self.assertFalse(attack.read(SKIPPED, "skipped: no libFuzzer").is_broken)
        for status, output in ((1, good), (0, ""), (0, good.replace("inputs=5", "inputs=0"))):
            self.assertTrue(attack.read(status, output).is_broken)


class PlanTests(unittest.TestCase):
    def test_names_are_unique_and_more_is_done_in_the_long_form(self):
        names = [attack.name for attack in plan.ATTACKS]
        self.assertEqual(len(set(names)), len(names))
        self.assertTrue(all(attack.short is None or attack.short <= attack.full for attack in plan.ATTACKS))


if __name__ == "__main__":
    unittest.main()
