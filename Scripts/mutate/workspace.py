"""A tree whose sources may be changed: builds it and runs its tests."""

import pathlib
import shutil
import subprocess
import threading

from mutate.output import Output

BUILD = ("swift", "build", "-j", "2", "--build-tests")
BUILD_SECONDS_MAX = 1800
# Of one test target. The unchanged tree takes a fraction of it.
SUITE_SECONDS_MAX = 240
# What was built is of no use at another path; the dependencies' sources are, and save the network.
DEPENDENCIES = ("artifacts", "checkouts", "repositories", "workspace-state.json")
NOT_COPIED = shutil.ignore_patterns(".git", ".build", ".build-*", "__pycache__", "data")
LINES_SHOWN = 20


class BuildFailed(Exception):
    pass


def copy(root, target):
    """The sources as they are, changes that are not committed included."""
    shutil.copytree(root, target, symlinks=True, ignore=NOT_COPIED)
    (target / ".build").mkdir()
    for name in DEPENDENCIES:
        source = root / ".build" / name
        if source.is_dir():
            shutil.copytree(source, target / ".build" / name, symlinks=True)
        elif source.exists():
            shutil.copy2(source, target / ".build" / name)


class Workspace:
    def __init__(self, tree):
        self.tree = pathlib.Path(tree)

    def build(self):
        built = subprocess.run(
            BUILD, cwd=self.tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            timeout=BUILD_SECONDS_MAX, check=False)
        if built.returncode != 0:
            lines = built.stdout.splitlines()
            errors = [line for line in lines if "error:" in line] or lines
            raise BuildFailed("\n".join(errors[:LINES_SHOWN]))

    def caught_by(self, suites):
        """The first test that fails, as text; None when all pass. - suites: test targets."""
        for suite in suites:
            found = self._run(suite)
            if found is not None:
                return f"{suite}: {found}"
        return None

    def _run(self, suite):
        (binary,) = (self.tree / ".build" / "debug").glob("*PackageTests.xctest")
        command = (binary, "--testing-library", "swift-testing", "--filter", rf"^{suite}\.")
        output = Output()
        timed_out = threading.Event()
        with subprocess.Popen(
            command, cwd=self.tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:

            def end():
                timed_out.set()
                process.kill()

            limit = threading.Timer(SUITE_SECONDS_MAX, end)
            limit.start()
            try:
                for line in process.stdout:
                    output.take(line)
                    if output.failure is not None:
                        break
            finally:
                limit.cancel()
                # One failure is enough; after the last line there is nothing to kill.
                if output.failure is not None:
                    process.kill()
            status = process.wait()
        return output.verdict(status, timed_out.is_set())
