"""Runs the examples of docs/examples against a gateway, through a proxy that loses things, and compares."""

import http.client
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from crashtest import brokerlog, checker
from crashtest.checker import Answer, Consumed, Logged, Sent
from crashtest.gateway import Failed

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "examples"
RECORDS = 40
# More than the last 64 of a producer's, whose receipts are kept.
NUMBERED_RECORDS = 70
NODE_OLDEST = 18
# Receipts after which the first producer is killed, and of the second before the gateway is.
FIRST_RECEIPTS = 10
SECOND_RECEIPTS = 20
PRODUCE_SECONDS_MAX = 120
CONSUME_SECONDS_MAX = 120
POISON = b"\xff\xfe no text"
CALL_SECONDS_MAX = 20


class Run:
    """A producer's example and a consumer's, on a topic of their own."""

    def __init__(self, name, produce, consume):
        self.name = name
        self.topic = f"topic-{name}"
        self.consumer = f"consumer-{name}"
        self._produce = produce
        self._consume = consume
        count = NUMBERED_RECORDS if self.is_numbered else RECORDS
        self.lines = [(f"{name}-{number}", f"value {number} of {name}, ä") for number in range(count)]
        self.directory = None
        self._consuming = None
        self._producing = None
        self._output = None

    @property
    def is_numbered(self):
        return "--producer" in self._produce

    def start(self, url, directory):
        self.directory = directory / self.name
        with open(directory / f"{self.name}.log", "ab") as log:
            command = [*self._consume, url, self.topic, self.consumer, str(self.directory)]
            self._consuming = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.produce(url, directory)

    def produce(self, url, directory):
        """All lines, from the first one on."""
        source = directory / f"{self.name}.records"
        source.write_text("".join(f"{name}\t{value}\n" for name, value in self.lines), encoding="utf-8")
        self._output = directory / f"{self.name}.receipts"
        command = [{"URL": url, "TOPIC": self.topic}.get(word, word) for word in self._produce]
        with open(source, "rb") as lines, open(self._output, "wb") as receipts, \
                open(directory / f"{self.name}.log", "ab") as log:
            self._producing = subprocess.Popen(
                command, stdin=lines, stdout=receipts, stderr=log, start_new_session=True)

    def kill_producer(self):
        """Returns whether it was still at it."""
        was_running = self._producing.poll() is None
        end(self._producing)
        return was_running

    def finish_producing(self):
        status = self._producing.wait(PRODUCE_SECONDS_MAX)
        if status != 0:
            raise Failed(f"the producer of {self.name} ended with status {status}")

    def receipts(self):
        """{ID: receipt}, as the last producer printed them so far."""
        return dict(line.split("\t") for line in self._output.read_text().splitlines(True) if line.endswith("\n"))

    def wait_for_receipts(self, count):
        deadline = time.monotonic() + PRODUCE_SECONDS_MAX
        while len(self.receipts()) < count:
            if self._producing.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"the producer of {self.name} has no {count} receipts")
            time.sleep(0.01)

    def consumed(self):
        """What the consumer had as its effects: {Logged}."""
        found = set()
        for path in self.directory.iterdir() if self.directory.exists() else ():
            if not path.name.startswith("."):
                topic, partition, offset = path.name.rsplit("-", 2)
                found.add(Logged(topic, int(partition), int(offset), path.read_bytes()))
        return found

    def wait_until_consumed(self):
        deadline = time.monotonic() + CONSUME_SECONDS_MAX
        wanted = {value.encode() for _, value in self.lines}
        while {record.content for record in self.consumed()} < wanted:
            if self._consuming.poll() is not None or time.monotonic() > deadline:
                return
            time.sleep(0.05)

    def end(self):
        for process in (self._producing, self._consuming):
            if process is not None:
                end(process)


def end(process):
    """With what it started itself. It is the first of a session of its own."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def node():
    """The command, and why there is none."""
    program = shutil.which("node")
    if program is None:
        return None, "there is no node here"
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    if not version.startswith("v") or int(version[1:].split(".")[0]) < NODE_OLDEST:
        return None, f"node is {version}, and {NODE_OLDEST} is needed"
    return program, None


def all_runs(say, only=()):
    """say: takes a line for people."""
    python, shell = sys.executable, "bash"
    produce = {name: [python, str(EXAMPLES / "produce.py"), "URL", "TOPIC"] for name in ("python", "sequence")}
    produce["sequence"] += ["--producer", "example"]
    runs = [Run(name, words, [python, str(EXAMPLES / "consume.py")]) for name, words in produce.items()]
    runs.append(
        Run("shell", [shell, str(EXAMPLES / "produce.sh"), "URL", "TOPIC"], [shell, str(EXAMPLES / "consume.sh")]))
    program, reason = node()
    if program is None:
        say(f"examples in JavaScript: skipped, {reason}")
    else:
        runs.append(
            Run("javascript", [program, str(EXAMPLES / "produce.mjs"), "URL", "TOPIC"],
                [program, str(EXAMPLES / "consume.mjs")]))
    return [run for run in runs if not only or run.name in only]


def poison(server, run):
    """A record that the consumer cannot handle, straight to the gateway."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=CALL_SECONDS_MAX)
    try:
        connection.request("POST", f"/v1/topics/{run.topic}", POISON)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 202:
            raise Failed(f"the poison record was refused: {answer.status}")
    finally:
        connection.close()


def run_all(runs, server, proxy, directory):
    """Returns how many processes were killed on the way."""
    url = f"http://127.0.0.1:{proxy.port}"
    kills = 0
    try:
        for run in runs:
            run.start(url, directory)
        for run in runs:
            run.wait_for_receipts(FIRST_RECEIPTS)
            kills += run.kill_producer()
            run.produce(url, directory)
        for run in runs:
            run.wait_for_receipts(SECOND_RECEIPTS)
        server.kill()
        kills += 1
        server.start()
        server.wait_until_ready()
        for run in runs:
            run.finish_producing()
            if run.is_numbered:
                # All of it once more: of the first ones nobody knows the answer any more.
                run.produce(url, directory)
                run.finish_producing()
            poison(server, run)
        for run in runs:
            run.wait_until_consumed()
            wait_for_dead_letter(server, run)
    finally:
        for run in runs:
            run.end()
    return kills


def wait_for_dead_letter(server, run):
    deadline = time.monotonic() + CONSUME_SECONDS_MAX
    path = f"/v1/topics/{run.consumer}.dead-letters/partitions"
    while time.monotonic() < deadline:
        answers = [server.get(f"{path}/{partition}/records?offset=0&max=1") for partition in range(4)]
        if any(status == 200 and b'"offset"' in body for status, body in answers):
            return
        time.sleep(0.05)
    raise Failed(f"the record that {run.name} cannot handle is no dead letter")


def compare(runs, directory):
    """What producers were told against the embedded broker's own log, and against the consumers' effects."""
    log, committed = brokerlog.read(directory / "data" / "broker" / "broker.sqlite")
    sent, read, acknowledged = [], set(), {}
    topics = {run.topic for run in runs}
    log = [record for record in log if record.topic in topics]
    for number, run in enumerate(runs):
        receipts = run.receipts()
        for sequence, (name, value) in enumerate(run.lines):
            # Of a sequence, what an earlier producer sent long ago has no receipt any more.
            told = name in receipts or run.is_numbered
            answer = Answer.ACCEPTED if told else Answer.UNKNOWN
            sent.append(Sent(number, sequence, run.topic, value.encode(), len(sent), answer))
        sent.append(Sent(number, len(run.lines), run.topic, POISON, len(sent), Answer.ACCEPTED))
        # It has no effect; it is a dead letter.
        handled = run.consumed() | {record for record in log if record.topic == run.topic and record.content == POISON}
        read |= handled
        for record in handled:
            acknowledged.setdefault((run.consumer, run.topic, record.partition), set()).add(record.offset)
    consumed = Consumed({run.consumer: 1 for run in runs}, acknowledged, {}, read)
    return checker.check(sent, log, committed, consumed)
