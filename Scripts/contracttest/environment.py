"""A Python environment of its own, with the packages that requirements.txt pins."""

import hashlib
import pathlib
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
REQUIREMENTS = pathlib.Path(__file__).with_name("requirements.txt")
DIRECTORY = ROOT / ".build" / "contract-venv"
INSTALL_SECONDS_MAX = 300


class Failed(Exception):
    """It cannot be made; the message says what to do."""


def program(name):
    """The path of a program of the environment; makes the environment when it is not there or not current."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    stamp = DIRECTORY / "requirements.sha256"
    if not stamp.exists() or stamp.read_text() != wanted:
        _make(DIRECTORY)
        stamp.write_text(wanted)
    return str(DIRECTORY / "bin" / name)


def _make(directory):
    print(f"making {directory.relative_to(ROOT)}", file=sys.stderr, flush=True)
    venv.create(directory, clear=True, with_pip=True)
    command = [directory / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS]
    try:
        subprocess.run(command, check=True, timeout=INSTALL_SECONDS_MAX)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise Failed(
            f"the packages of {REQUIREMENTS.relative_to(ROOT)} cannot be installed (is PyPI reachable?): {error}"
        ) from None
