"""Draining a prepared backlog into Kafka, next to librdkafka's bare idempotent producer."""

import http.client
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

from benchmark import common
from benchmark.common import Invalid

TOPICS = 4
PARTITIONS = 4
# Of a request that prepares the backlog: 16 MiB is the most.
BATCH_RECORDS_MAX = 5_000
BATCH_BYTES_MAX = 8 << 20
CALL_SECONDS_MAX = 120
DRAIN_SECONDS_MAX = 600
SAMPLE_SECONDS = 0.02
# Of the backlog must be left when the first sample is taken, or what is measured is the start.
LEFT_MIN = 0.5


def call(port, method, path, body=None):
    """Returns (status, bytes). body: JSON."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CALL_SECONDS_MAX)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def require(statuses, answer, what):
    if answer[0] not in statuses:
        raise Invalid(f"{what}: {answer[0]} {answer[1][:500]!r}")


def batches(records, size):
    """How many records go into each request."""
    most = max(1, min(BATCH_RECORDS_MAX, BATCH_BYTES_MAX // (size + 32)))
    return [most] * (records // most) + ([records % most] if records % most else [])


def body(count, size):
    """Records of `size` bytes as their value, without a key: the gateway spreads them over the partitions."""
    return json.dumps({"records": [{"value_text": "x" * size}] * count}, separators=(",", ":")).encode()


def forwarded(metrics):
    """Records that were handed over since the process started, of Prometheus text; None when it says nothing."""
    found = re.findall(r"^postrider_forwarder_records_total\{[^}]*\} (\S+)$", metrics, re.MULTILINE)
    return sum(float(count) for count in found) if found else None


def rate(samples, records):
    """Records a second between the first sample and the one that has everything. samples: [(seconds, records)]."""
    begin, first = samples[0]
    end = next((at for at, count in samples if count >= records), None)
    if end is None or end <= begin:
        raise Invalid("the backlog was not drained while it was looked at")
    if records - first < LEFT_MIN * records:
        raise Invalid(f"only {records - first:.0f} records were left at the first look")
    return (records - first) / (end - begin)


class Round:
    """One backlog, one bare run, in topics of their own that are deleted at the end."""

    def __init__(self, options, directory):
        self.options = options
        self.data = pathlib.Path(tempfile.mkdtemp(prefix="bench-forward-", dir=directory))
        name = f"bench-{os.getpid()}-{os.urandom(4).hex()}"
        self.topics = [f"{name}-{number}" for number in range(TOPICS)]
        self.bare_topics = [f"{name}-bare-{number}" for number in range(TOPICS)]

    def gateway(self, servers):
        port = common.free_port()
        arguments = [self.options.binary, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", self.data / "data"]
        arguments += ["--broker", "kafka", "--bootstrap-servers", servers]
        for setting in self.options.settings:
            arguments += ["--set", setting]
        return common.Process("postrider", arguments, port, common.answers_ready)

    def create_topics(self):
        with self.gateway(self.options.bootstrap_servers) as gateway:
            for topic in self.topics + self.bare_topics:
                settings = json.dumps({"partitions": PARTITIONS}).encode()
                answer = call(gateway.port, "PUT", f"/v1/topics/{topic}", settings)
                require((200, 201), answer, f"creating {topic}")

    def prepare(self):
        """Accepts the whole backlog while the cluster is away: nobody listens on that port."""
        with self.gateway(f"127.0.0.1:{common.free_port()}") as gateway:
            bodies = {}
            for number, count in enumerate(batches(self.options.records, self.options.bytes)):
                bodies.setdefault(count, body(count, self.options.bytes))
                path = f"/v1/topics/{self.topics[number % TOPICS]}/records"
                require((202,), call(gateway.port, "POST", path, bodies[count]), "preparing the backlog")

    def drain(self):
        """Records a second, from the first look at the gateway on."""
        with self.gateway(self.options.bootstrap_servers) as gateway:
            samples, deadline = [], time.monotonic() + DRAIN_SECONDS_MAX
            while not samples or samples[-1][1] < self.options.records:
                if time.monotonic() > deadline:
                    raise Invalid(f"not drained after {DRAIN_SECONDS_MAX} s:\n{gateway.output()}")
                status, text = call(gateway.port, "GET", "/metrics")
                count = forwarded(text.decode()) if status == 200 else None
                if count is not None:
                    samples.append((time.monotonic(), count))
                time.sleep(SAMPLE_SECONDS)
            return rate(samples, self.options.records)

    def delete_topics(self):
        with self.gateway(self.options.bootstrap_servers) as gateway:
            for topic in self.topics + self.bare_topics:
                require((200, 202, 204), call(gateway.port, "DELETE", f"/v1/topics/{topic}"), f"deleting {topic}")

    def bare(self, program):
        """Records a second of librdkafka alone, from the first record to the last acknowledgement."""
        options = self.options
        command = [program, options.bootstrap_servers, options.records, options.bytes, PARTITIONS, *self.bare_topics]
        done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
        result = common.result_of(done.stdout)
        return result["records"] / (result["duration_us"] / 1e6)

    def remove(self):
        shutil.rmtree(self.data)


def forward(options):
    common.shell('install_packages "${system_packages[@]}"')
    program = common.build_reference("idempotent_producer", "rdkafka")
    if options.binary is None:
        options.binary = common.build_postrider()
    directory = common.data_directory(options.directory)
    ratios = []
    print(f"{'round':>5} {'run':<14} {'records/s':>12} {'MB/s':>8}", flush=True)
    for number in range(1, options.rounds + 1):
        this = Round(options, directory)
        runs = [("exactly-once", this.drain), ("bare", lambda: this.bare(program))]
        try:
            this.create_topics()
            this.prepare()
            results = {}
            # Whoever comes second finds another broker: in turn.
            for name, run in runs if number % 2 else reversed(runs):
                results[name] = run()
                megabytes = results[name] * options.bytes / 1e6
                print(f"{number:>5} {name:<14} {results[name]:>12,.0f} {megabytes:>8,.0f}", flush=True)
            ratios.append(results["exactly-once"] / results["bare"])
            this.delete_topics()
        finally:
            this.remove()
    print(f"exactly_once_vs_bare={statistics.median(ratios):.2f}")
