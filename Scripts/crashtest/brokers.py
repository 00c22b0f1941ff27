"""The brokers that the gateway may stand in front of: how to start it, and how to read them without it."""

import http.client
import json
import pathlib
import time

from crashtest import brokerlog, kafkalog
from crashtest.gateway import Failed

TOPICS = ["orders", "payments", "audit"]
PARTITIONS = 4
CREATE_SECONDS_MAX = 60


class Embedded:
    """In the gateway's own data directory."""

    topics = TOPICS
    suffix = ""
    # Statuses of GET /v1/receipts/{receipt} that say enough, besides a state.
    settled_statuses = ()

    def __init__(self, arguments=()):
        self.arguments = list(arguments)

    def prepare(self, server):
        """Nothing: topics come with their first record."""

    def read(self, directory, _groups):
        """Once the gateway has stopped: (log, committed)."""
        return brokerlog.read(directory / "data" / "broker" / "broker.sqlite")

    def clean_up(self, server, consumers):
        """Nothing is outside of the data directory."""


class Kafka:
    """A cluster that others may use, too: names are this run's own."""

    # What was delivered before a crash is not remembered after it.
    settled_statuses = (410,)

    def __init__(self, bootstrap_servers, folder, run, arguments=()):
        self._bootstrap_servers = bootstrap_servers
        self._reader = kafkalog.build(pathlib.Path(folder))
        self.arguments = ["--broker", "kafka", "--bootstrap-servers", bootstrap_servers, *arguments]
        self.suffix = f"-{run}"
        self.topics = [topic + self.suffix for topic in TOPICS]

    def prepare(self, server):
        """Topics are created before the first kill, and the gateway keeps what it knows of them."""
        server.start()
        server.wait_until_ready()
        for topic in self.topics:
            body = json.dumps({"partitions": PARTITIONS}).encode()
            _until(lambda: server.call("PUT", f"/v1/topics/{topic}", body)[0] in (200, 201), f"{topic} is not created")
        server.stop()

    def read(self, _directory, groups):
        return kafkalog.read(self._reader, self._bootstrap_servers, self.topics, groups)

    def clean_up(self, server, consumers):
        """After a run that passed: what it made in the cluster goes."""
        server.start()
        server.wait_until_ready()
        gone = (200, 202, 204, 404)
        for path in [f"/v1/consumers/{name}" for name in consumers] + [f"/v1/topics/{name}" for name in self.topics]:
            _until(lambda: server.call("DELETE", path)[0] in gone, f"{path} is not deleted")
        server.stop()


def _until(condition, failure):
    deadline = time.monotonic() + CREATE_SECONDS_MAX
    while True:
        try:
            if condition():
                return
        except (OSError, http.client.HTTPException):
            pass
        if time.monotonic() > deadline:
            raise Failed(failure)
        time.sleep(0.2)
