"""Every substitution matches the present sources exactly once."""

import pathlib
import tempfile
import unittest

from mutate.mutations import MUTATIONS, Edit, Mutation, OutOfDate, apply, restore

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


class PresentTreeTests(unittest.TestCase):
    def test_every_substitution_matches_once_and_changes_something(self):
        for mutation in MUTATIONS:
            with self.subTest(mutation.name), tempfile.TemporaryDirectory() as folder:
                tree = pathlib.Path(folder)
                for file in {edit.file for edit in mutation.edits}:
                    (tree / file).parent.mkdir(parents=True, exist_ok=True)
                    (tree / file).write_text((ROOT / file).read_text(encoding="utf-8"), encoding="utf-8")
                before = apply(tree, mutation)
                for path, text in before.items():
                    self.assertNotEqual(path.read_text(encoding="utf-8"), text)
                restore(before)
                for path, text in before.items():
                    self.assertEqual(path.read_text(encoding="utf-8"), text)

    def test_names_are_different_and_suites_are_there(self):
        names = [mutation.name for mutation in MUTATIONS]
        self.assertEqual(len(set(names)), len(names))
        for mutation in MUTATIONS:
            self.assertTrue(mutation.suites)
            for suite in mutation.suites:
                self.assertTrue((ROOT / "Tests" / suite).is_dir(), suite)


class ApplyTests(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = pathlib.Path(folder.name)
        self.file = self.tree / "a.swift"
        self.file.write_text("one two two\n", encoding="utf-8")

    def mutation(self, *edits):
        return Mutation("planted", tuple(Edit("a.swift", old, new) for old, new in edits), ("JournalTests",))

    def test_several_edits_of_a_file_are_undone_together(self):
        before = apply(self.tree, self.mutation(("one", "1"), ("two two", "2")))
        self.assertEqual(self.file.read_text(encoding="utf-8"), "1 2\n")
        restore(before)
        self.assertEqual(self.file.read_text(encoding="utf-8"), "one two two\n")

    def test_text_that_is_not_there_once_is_named_and_nothing_changes(self):
        for old in ("three", "two"):
            with self.assertRaisesRegex(OutOfDate, "planted is out of date"):
                apply(self.tree, self.mutation(("one", "1"), (old, "x")))
            self.assertEqual(self.file.read_text(encoding="utf-8"), "one two two\n")

    def test_missing_file_is_out_of_date(self):
        self.file.unlink()
        with self.assertRaisesRegex(OutOfDate, "there is no a.swift"):
            apply(self.tree, self.mutation(("one", "1")))


if __name__ == "__main__":
    unittest.main()
