"""Faults of the broker, made by commands of whoever runs the test: stop it, freeze it, and the way back."""

import subprocess

# Each life of the gateway under test begins or ends a fault.
KILLS_PER_FAULT = 2
COMMAND_SECONDS_MAX = 120


class Faults:
    """Takes pairs of shell commands in turn: one life of the gateway begins a fault and is killed under it, the next
    starts under it and sees it end."""

    def __init__(self, pairs):
        self._pairs = list(pairs)
        self._number = 0
        self._active = None
        self.ended = 0

    @property
    def are_any(self):
        return bool(self._pairs)

    def turn(self):
        """Begins the next fault, or ends the one there is. Returns the command that was run; None without faults."""
        if not self._pairs:
            return None
        if self._active is not None:
            return self.end()
        pair = self._pairs[self._number % len(self._pairs)]
        self._number += 1
        # Before the command: one that fails half way has to be undone as well.
        self._active = pair
        _run(pair[0])
        return pair[0]

    def end(self):
        """Ends the fault there is. Returns the command; None when there is no fault."""
        if self._active is None:
            return None
        command = self._active[1]
        self._active = None
        _run(command)
        self.ended += 1
        return command


def _run(command):
    # Output to our standard error: the last line of standard output is the result.
    done = subprocess.run(
        ["bash", "-c", f"exec 1>&2; {command}"], stdin=subprocess.DEVNULL, check=False, timeout=COMMAND_SECONDS_MAX
    )
    if done.returncode != 0:
        raise ValueError(f"a fault command ended with status {done.returncode}: {command}")


def pairs(starts, ends, kills):
    """Checks what was asked for. Raises ValueError in words for the command line."""
    if len(starts) != len(ends):
        raise ValueError("each --fault-start needs its --fault-end")
    if kills < KILLS_PER_FAULT * len(starts):
        raise ValueError(f"--kills is at least {KILLS_PER_FAULT} for each fault, so that all of them are run")
    return list(zip(starts, ends))
