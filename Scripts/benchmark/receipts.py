"""A receipt for each of many records, asked after a SIGKILL: right or not, how many a second, how much memory."""

import http.client
import json
import pathlib
import random
import re
import shutil
import tempfile
import time

from benchmark import common, forward, restart
from benchmark.common import Invalid

TOPICS = 4
PARTITIONS = 4
BATCH_RECORDS = 1_000
QUERY_RECEIPTS = 10_000
# Asked for one by one.
SINGLES = 2_000
READ_RECORDS = 10_000
SETTLE_SECONDS_MAX = 300
PAUSE_SECONDS = 0.05
MIB = 1 << 20
# What a run must keep to; the rate only where it takes long enough to be one.
MEMORY_BYTES_MAX = 200 * MIB
RATE_MIN = 50_000
RATED_COUNT_MIN = 100_000


def topic(number):
    """Of a batch."""
    return f"receipts-{number % TOPICS}"


def body(first, count):
    """Records whose values are their numbers."""
    return json.dumps({"records": [{"value": first + number} for number in range(count)]}).encode()


def place(outcome):
    """Where a record is, of one outcome; None where the receipt does not tell."""
    if outcome.get("state") != "delivered" or "offset" not in outcome:
        return None
    return outcome["topic"], outcome["partition"], outcome["offset"]


def wrong(places, held):
    """Numbers of the records of which the receipt does not tell where the broker holds them. held: value by place."""
    return [number for number, at in enumerate(places) if at is None or held.get(at) != number]


def faults(result, count):
    """What of a run is beyond its bound, in words."""
    found = []
    if result["wrong"] > 0:
        found.append(f"{result['wrong']} receipts are wrong")
    if result["held"] != count:
        found.append(f"the broker holds {result['held']} records of {count}")
    if result["memory_bytes"] > MEMORY_BYTES_MAX:
        found.append(f"memory is {result['memory_bytes'] / MIB:.0f} MiB, the bound {MEMORY_BYTES_MAX // MIB}")
    if count >= RATED_COUNT_MIN and result["per_second"] < RATE_MIN:
        found.append(f"{result['per_second']:.0f} look-ups a second, the bound {RATE_MIN}")
    return found


class Gateway(common.Process):
    """On one directory; ends by SIGKILL."""

    def __init__(self, options, data):
        port = common.free_port()
        arguments = [options.binary, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", data]
        for setting in (f"broker.embedded.partitions_default={PARTITIONS}", *options.settings):
            arguments += ["--set", setting]
        super().__init__("postrider", arguments, port, common.answers_ready)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=forward.CALL_SECONDS_MAX)

    def call(self, method, path, content=None):
        """An answer's bytes, on the one connection."""
        headers = {"Content-Type": "application/json"} if content is not None else {}
        self.connection.request(method, path, content, headers)
        response = self.connection.getresponse()
        answer = response.read()
        forward.require((200, 202), (response.status, answer), f"{method} {path}")
        return answer

    def __exit__(self, kind, *_):
        died = self.process.poll()
        self.process.kill()
        self.process.wait()
        if died is not None and kind is None:
            raise Invalid(f"{self.name} died with status {died}:\n{self.output()}")

    def peak_memory(self):
        return restart.field(pathlib.Path(f"/proc/{self.process.pid}/status").read_text(), "VmHWM")


def accept(gateway, count):
    """Returns a receipt for each record."""
    receipts = []
    for number, first in enumerate(range(0, count, BATCH_RECORDS)):
        content = body(first, min(BATCH_RECORDS, count - first))
        receipts += json.loads(gateway.call("POST", f"/v1/topics/{topic(number)}/records", content))["receipts"]
    return receipts


def wait_until_delivered(gateway):
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while True:
        metrics = gateway.call("GET", "/metrics").decode()
        lags = re.findall(r"^postrider_lane_lag_records\{[^}]*\} (\S+)$", metrics, re.MULTILINE)
        if lags and all(float(lag) == 0 for lag in lags):
            return
        if time.monotonic() > deadline:
            raise Invalid(f"records are not delivered:\n{gateway.output()}")
        time.sleep(PAUSE_SECONDS)


def ask(gateway, receipts):
    """Returns where each is, and the seconds that the queries took."""
    places, seconds = [], 0.0
    for first in range(0, len(receipts), QUERY_RECEIPTS):
        content = json.dumps({"receipts": receipts[first:first + QUERY_RECEIPTS]}, separators=(",", ":")).encode()
        began = time.monotonic()
        answer = gateway.call("POST", "/v1/receipts/query", content)
        seconds += time.monotonic() - began
        places += [place(outcome) for outcome in json.loads(answer)["receipts"]]
    return places, seconds


def ask_singly(gateway, receipts, places):
    """Look-ups a second of receipts anywhere, each a request of its own. They must tell the same."""
    chosen = random.Random(1).choices(range(len(receipts)), k=min(SINGLES, len(receipts)))
    began = time.monotonic()
    for number in chosen:
        if place(json.loads(gateway.call("GET", f"/v1/receipts/{receipts[number]}"))) != places[number]:
            raise Invalid(f"{receipts[number]}: asked for alone, it tells something else")
    return len(chosen) / (time.monotonic() - began)


def read(gateway):
    """Value by place, of all that the broker holds."""
    held = {}
    for number in range(TOPICS):
        for partition in range(PARTITIONS):
            offset = 0
            while True:
                path = f"/v1/topics/{topic(number)}/partitions/{partition}/records?offset={offset}"
                answer = json.loads(gateway.call("GET", f"{path}&max={READ_RECORDS}&max_bytes=16777216"))
                for record in answer["records"]:
                    held[(topic(number), partition, record["offset"])] = record["value"]
                offset = answer["next_offset"]
                if offset >= answer["high_watermark"]:
                    break
    return held


def run(options):
    if options.binary is None:
        options.binary = common.build_postrider()
    data = pathlib.Path(tempfile.mkdtemp(prefix="bench-receipts-", dir=common.data_directory(options.directory)))
    try:
        with Gateway(options, data / "data") as gateway:
            began = time.monotonic()
            receipts = accept(gateway, options.count)
            took, accepting = time.monotonic() - began, gateway.peak_memory()
        print(f"accepted: {len(receipts):,} records in {took:.0f} s, then killed", flush=True)
        with Gateway(options, data / "data") as gateway:
            wait_until_delivered(gateway)
            places, seconds = ask(gateway, receipts)
            singly = ask_singly(gateway, receipts, places)
            memory = gateway.peak_memory()
            held = read(gateway)
        result = {
            "wrong": len(wrong(places, held)), "held": len(held), "per_second": len(receipts) / seconds,
            "memory_bytes": max(memory, accepting),
        }
        print(
            f"receipts={len(receipts)} wrong={result['wrong']} held={result['held']} "
            f"lookups_per_second={result['per_second']:.0f} singly_per_second={singly:.0f} "
            f"peak_mib={memory / MIB:.0f} accepting_peak_mib={accepting / MIB:.0f}"
        )
        if found := faults(result, options.count):
            raise Invalid("; ".join(found))
    finally:
        shutil.rmtree(data)
