"""Where a scene plays: one gateway on a fresh directory, clients with a ledger, and whoever looks on."""

import contextlib
import http.client
import json
import threading
import time

from attacks import under_load
from crashtest import brokers, clients, gateway
from crashtest.checker import Answer
from crashtest.load import Load
from night import signs
from night.witness import Witness

# Producers of the scenes' own records, beside those of the load.
OWN_PRODUCERS = 1000
LOOK_SECONDS = 0.02
# Of the whole time in --short.
SHORT = 0.4


class Skipped(Exception):
    """This machine does not let the scene be played; why."""


class Scene:
    """What happens in one scene. Played once."""

    name = ""
    # What happens, in a line for people.
    says = ""
    settings = ()
    # Names of series to show.
    series = ()
    # One of `crashtest.repeating.NAMES`.
    retry = None
    # Mounts a file system.
    needs_mounts = False
    is_in_short = True

    def obstacle(self):
        """Why it cannot be played here; None: nothing is in the way."""
        return None

    def place(self, directory):
        """Returns the directory of the gateway's data."""
        return directory / "data"

    def command(self, served):
        """What is run, from the gateway's own command."""
        return served

    def play(self, stage):
        """Leaves the gateway stopped or killed. Raises gateway.Failed where it did what no scene explains."""
        raise NotImplementedError

    def tear_down(self):
        """Once no process uses the directory."""


class Actor(under_load.Victim):
    """The gateway of a scene."""

    def __init__(self, scene, binary, data, log_path, arguments):
        super().__init__(binary, data, log_path, arguments)
        self._scene = scene

    def command(self):
        return [str(word) for word in self._scene.command(super().command())]


class Stage:
    def __init__(self, scene, binary, directory, chance, is_short):
        words = [word for setting in (*under_load.SETTINGS, *scene.settings) for word in ("--set", setting)]
        self._scene = scene
        self._is_short = is_short
        self._sequence = 0
        self.chance = chance
        self.server = Actor(scene, binary, scene.place(directory), directory / "gateway.log", words)
        self.witness = Witness()
        self.recorder = signs.Recorder(self.server)
        self.load = Load(self.server, brokers.Embedded(), chance, under_load.say, scene.retry, self.witness)
        # What happened, and what was promised and did not, in words.
        self.facts = []
        self.broken = []

    @property
    def metrics(self):
        return self.recorder.metrics

    def seconds(self, seconds):
        """Less in the short form."""
        return seconds * SHORT if self._is_short else seconds

    def open(self):
        """The gateway starts, and is looked at from now on."""
        self.server.start()
        self.server.wait_until_ready()
        self.recorder.look()
        self.recorder.start()

    def go_on(self, seconds, phase=None):
        """Under load."""
        if phase is not None:
            self.witness.phase(phase)
        time.sleep(self.seconds(seconds))
        self.load.check()

    def require(self, is_kept, what):
        if not is_kept:
            self.broken.append(what)

    def wait(self, condition, seconds_max, what):
        """Until the condition holds. Returns the seconds that took; it is a broken promise when it never does."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > seconds_max:
                self.broken.append(f"{what}: not within {seconds_max} s")
                break
            time.sleep(LOOK_SECONDS)
        self.load.check()
        return time.monotonic() - began

    def wait_for_accepted(self, phase, seconds_max=60):
        """Clients are told 2xx again. From now on what they see is of the phase."""
        self.witness.phase(phase)
        return self.wait(lambda: self.witness.accepted(phase) > 0, seconds_max, f"{phase}: nothing is accepted")

    def note_readiness(self, when):
        """What a balancer or an operator is told now."""
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            status, body = self.server.get("/readyz")
            wrong = [f"{part['name']}: {part.get('code')}" for part in json.loads(body)["parts"] if not part["ready"]]
            self.facts.append(f"{when}, /readyz: {status}" + (f", {', '.join(wrong)}" if wrong else ""))

    def note_repeats(self):
        self.facts.append(
            f"{self.load.repeats:,} requests were repeated under their keys, {self.load.replays:,} answers said that "
            "they had been accepted before"
        )

    def produce(self, topic, contents, partition):
        """One request of records that the comparison at the end knows. contents: [bytes] of UTF-8."""
        records = self.sending(topic, contents)
        batch = [{"value_text": content.decode(), "partition": partition} for content in contents]
        status, body = self.server.call("POST", f"/v1/topics/{topic}/records", json.dumps({"records": batch}).encode())
        if status != 202:
            raise gateway.Failed(f"{status} to records of the scene: {body[:300]!r}")
        self.load.book.settle(records, Answer.ACCEPTED, json.loads(body)["receipts"])

    def sending(self, topic, contents, producer=OWN_PRODUCERS):
        """For the ledger: records of the scene's own, before they are sent. Those of a producer have one order."""
        numbered = list(enumerate(contents, self._sequence))
        self._sequence += len(numbered)
        return self.load.book.sending(producer, topic, numbered)

    def close(self):
        """Compares everything. The gateway is stopped or killed already. Returns the checker's result."""
        self.recorder.stop()
        self.broken += self.witness.faults()
        result = self.load.finish(self.server.data_directory.parent, self.seconds(0.5))
        self.broken += result.details + result.unsettled
        if result.is_idle:
            self.broken.append("nothing was accepted, handed out or committed: this proves nothing")
        return result

    def abandon(self):
        """Whatever happened: leaves no process and no client behind."""
        self.recorder.stop()
        self.load.abandon()

    def said(self):
        """What the log says: ({Said: count}, lines that are none)."""
        return signs.read_log(self.server.log_path.read_text(errors="replace"))


class Steady(clients.Producer):
    """A client within its limits: small requests, one after the other, with pauses, from an address of its own."""

    PAUSE_SECONDS = 0.1

    def __init__(self, stage, witness, address):
        super().__init__(stage.server, stage.load.book, stage.chance.getrandbits(64), OWN_PRODUCERS + 1, brokers.TOPICS)
        self.witness = witness
        self.address = address

    def step(self):
        self._send_one(self.random.choice(self.topics))
        self.stopping.wait(self.PAUSE_SECONDS)


class Watch(threading.Thread):
    """Asks /readyz again and again until nobody answers. Keeps each change of its status, in order."""

    def __init__(self, server):
        super().__init__(name="readyz", daemon=True)
        self.statuses = []
        self._server = server

    def run(self):
        while True:
            try:
                status, _ = self._server.get("/readyz")
            except (OSError, http.client.HTTPException):
                return
            if self.statuses[-1:] != [status]:
                self.statuses.append(status)
            time.sleep(LOOK_SECONDS)
