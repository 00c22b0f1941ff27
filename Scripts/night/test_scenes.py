"""What a night comes to, the parts of scenes that need no gateway, and what they are told apart by."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from crashtest.checker import Result
from night import clock, full, scenes, slow, stage

GOOD = Result(acked=5, polled=3, commits=1)


class VerdictTests(unittest.TestCase):
    def test_a_good_night_passes_with_its_sums(self):
        line, is_good = scenes.verdict({"a": (True, GOOD), "b": (True, GOOD), "c": None})
        self.assertTrue(is_good)
        self.assertTrue(line.startswith("scenes=3 skipped=1 failed=0 acked=10 lost=0 duplicated=0 reordered=0"))

    def test_one_broken_promise_fails_the_night(self):
        for broken in ((False, GOOD), (False, None), (False, Result(acked=5, lost=1))):
            line, is_good = scenes.verdict({"a": (True, GOOD), "b": broken})
            self.assertFalse(is_good)
            self.assertTrue(line.endswith("FAILED: b"))

    def test_nothing_played_proves_nothing(self):
        self.assertFalse(scenes.verdict({"a": None})[1])
        self.assertFalse(scenes.verdict({})[1])
        self.assertFalse(scenes.verdict({"a": (True, Result())})[1])


class SceneTests(unittest.TestCase):
    def test_scenes_are_complete_and_told_apart(self):
        names = [scene.name for scene in scenes.SCENES]
        self.assertEqual(len(set(names)), len(names))
        for scene in scenes.SCENES:
            self.assertTrue(scene.says and scene.series)
            self.assertIsNot(scene.play, stage.Scene.play)

    def test_series_are_in_the_table(self):
        page = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "METRICS.md").read_text()
        for scene in scenes.SCENES:
            for name in scene.series:
                self.assertIn(f"| `{name}` |", page, scene.name)

    def test_names_go_before_the_short_form(self):
        self.assertEqual(scenes.chosen([], False), list(scenes.SCENES))
        short = scenes.chosen([], True)
        self.assertTrue(0 < len(short) < len(scenes.SCENES))
        left_out = next(scene for scene in scenes.SCENES if scene not in short)
        self.assertEqual(scenes.chosen([left_out.name], True), [left_out])


class SlowTests(unittest.TestCase):
    def test_only_a_whole_answer_is_whole(self):
        reader = slow.Slow.__new__(slow.Slow)
        reader.kind, reader.received = slow.READER, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbod"
        self.assertFalse(reader.is_whole)
        reader.received += b"y"
        self.assertTrue(reader.is_whole)
        reader.received = b""
        self.assertTrue(reader.is_whole, "it was not answered at all")
        # That one was answered, and cut off, as it should be.
        reader.kind = slow.HEADERS
        self.assertFalse(reader.is_whole)


class DiskTests(unittest.TestCase):
    def test_everything_is_all_there_is(self):
        refusing = []

        def allocate(_descriptor, offset, length):
            if offset + length > 100_000_000:
                refusing.append(length)
                raise OSError(full.errno.ENOSPC, "no space")

        kept, full.os.posix_fallocate = full.os.posix_fallocate, allocate
        try:
            with tempfile.TemporaryDirectory() as directory:
                taken = full.take_everything(pathlib.Path(directory) / "hog")
        finally:
            full.os.posix_fallocate = kept
        self.assertTrue(100_000_000 - full.HOG_STEP_BYTES_MIN < taken <= 100_000_000)
        self.assertTrue(refusing)


class ClockTests(unittest.TestCase):
    @unittest.skipIf(shutil.which("gcc") is None, "there is no gcc")
    def test_a_program_sees_the_clock_that_was_set_and_no_other_clock_changed(self):
        scene = clock.ClockBack()
        program = (
            "import time, sys\n"
            "for line in sys.stdin:\n"
            "    print(time.time(), time.monotonic(), flush=True)\n"
        )
        with tempfile.TemporaryDirectory() as directory:
            scene.place(pathlib.Path(directory))
            command = scene.command([sys.executable, "-c", program])
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
                for back in (0, 3600, 0):
                    scene.set_clock(-back)
                    process.stdin.write("\n")
                    process.stdin.flush()
                    wall, monotonic = map(float, process.stdout.readline().split())
                    self.assertAlmostEqual(time.time() - wall, back, delta=30)
                    self.assertAlmostEqual(time.monotonic() - monotonic, 0, delta=30)
                process.stdin.close()


if __name__ == "__main__":
    unittest.main()
