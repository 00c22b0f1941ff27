"""A fault that is not run, or not ended, would let the crash test pass idly."""

import pathlib
import tempfile
import unittest

from crashtest import faults


class FaultTests(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.book = pathlib.Path(directory.name) / "commands"

    def say(self, word):
        return f"echo {word} >>{self.book}"

    def said(self):
        return self.book.read_text().split() if self.book.exists() else []

    def test_pairs_are_run_in_turn(self):
        some = faults.Faults([(self.say("stop"), self.say("start")), (self.say("freeze"), self.say("thaw"))])
        for _ in range(6):
            some.turn()
        self.assertEqual(self.said(), ["stop", "start", "freeze", "thaw", "stop", "start"])
        self.assertEqual(some.ended, 3)

    def test_end_ends_what_has_begun_and_nothing_else(self):
        some = faults.Faults([(self.say("stop"), self.say("start"))])
        self.assertIsNone(some.end())
        some.turn()
        self.assertEqual(some.end(), self.say("start"))
        self.assertIsNone(some.end())
        self.assertEqual(self.said(), ["stop", "start"])

    def test_without_faults_nothing_is_run(self):
        self.assertIsNone(faults.Faults([]).turn())

    def test_a_command_that_fails_is_a_failure_and_is_undone(self):
        some = faults.Faults([(self.say("stop") + "; false", self.say("start"))])
        with self.assertRaises(ValueError):
            some.turn()
        some.end()
        self.assertEqual(self.said(), ["stop", "start"])

    def test_commands_have_their_pair_and_kills_enough(self):
        self.assertEqual(faults.pairs(["a", "b"], ["c", "d"], 4), [("a", "c"), ("b", "d")])
        self.assertEqual(faults.pairs([], [], 1), [])
        for starts, ends, kills in ((["a"], [], 9), ([], ["a"], 9), (["a", "b"], ["c", "d"], 3)):
            with self.assertRaises(ValueError):
                faults.pairs(starts, ends, kills)


if __name__ == "__main__":
    unittest.main()
