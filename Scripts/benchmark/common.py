"""Programs to measure: built, started, asked whether they are ready, stopped."""

import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS_MAX = 120
STOP_SECONDS_MAX = 60


class Invalid(Exception):
    """What makes the whole run worthless."""


def shell(command):
    """Runs a function of lib.sh."""
    subprocess.run(["bash", "-c", f"set -euo pipefail; source Scripts/lib.sh; {command}"], cwd=ROOT, check=True)


def build_postrider():
    shell("require_swift; build_release postrider")
    return ROOT / ".build" / "release-build" / "release" / "postrider"


def build_reference(name, library=None):
    """Compiles one of Benchmarks, with what pkg-config says of a library. Returns the program's path."""
    target = ROOT / ".build" / "benchmarks" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    flags = []
    if library is not None:
        command = ["pkg-config", "--cflags", "--libs", library]
        flags = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    source = ROOT / "Benchmarks" / f"{name}.c"
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", target, source, "-pthread", *flags], check=True)
    return target


def data_directory(chosen):
    directory = pathlib.Path(chosen or ROOT / ".build" / "benchmarks" / "data")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """One server process; stopped by its process id."""

    def __init__(self, name, arguments, port, ready):
        self.name = name
        self.port = port
        self.ready = ready
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def __enter__(self):
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.ready(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise Invalid(f"{self.name} did not start:\n{self.output()}")
            time.sleep(0.02)
        return self

    def output(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-4000:]

    def __exit__(self, kind, *_):
        died = self.process.poll()
        if died is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if died is not None and kind is None:
            raise Invalid(f"{self.name} died with status {died}:\n{self.output()}")


class Server(Process):
    """One server process on a fresh directory of its own."""

    def __init__(self, name, command, directory, ready):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"bench-{name}-", dir=directory))
        port = free_port()
        try:
            super().__init__(name, command(str(port), self.directory), port, ready)
        except OSError:
            shutil.rmtree(self.directory)
            raise

    def __exit__(self, *arguments):
        try:
            super().__exit__(*arguments)
        finally:
            shutil.rmtree(self.directory)


def answers_ready(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as response:
            return response.status == 200
    except (OSError, urllib.error.URLError):
        return False


def result_of(output):
    """What a program printed as its result."""
    found = [line.removeprefix("RESULT ") for line in output.splitlines() if line.startswith("RESULT ")]
    if len(found) != 1:
        raise Invalid(f"no result was printed:\n{output}")
    return json.loads(found[0])
