"""What telling a request from its others costs on the way to its 202: plain requests, keys and sequences, in turn."""

import os
import pathlib
import secrets
import statistics
import subprocess
import tempfile

from benchmark import common
from benchmark.common import Invalid

CONNECTIONS = 64
WARM_UP_SECONDS = 1
KINDS = ("plain", "key", "sequence")
PATH = "/v1/topics/bench"

# A producer has one request in flight, so each is a thread of wrk's with one connection. All three kinds make their
# requests anew each time, with the same number of header fields of the same lengths, so that wrk and the parser do the
# same work: what differs is what the gateway makes of them. (Before it begins, wrk asks its first thread for a request
# that it does not send.)
SCRIPT = """
local kind = "{kind}"
local fields = ({{
    plain = {{"X-Plain-Request-Id", "X-Plain-Request-No"}},
    key = {{"Idempotency-Key", "X-Plain-Request-No"}},
    sequence = {{"Postrider-Producer", "Postrider-Sequence"}},
}})[kind]
local threads = 0
local number = 0
local body = string.rep("x", 1024)
local headers = {{["Content-Type"] = "application/octet-stream"}}

function setup(thread)
    threads = threads + 1
    thread:set("id", threads)
end

function init(arguments)
    prefix = arguments[1]
end

function request()
    if not isAsked and id == 1 then isAsked = true else number = number + 1 end
    -- A producer keeps its name.
    headers[fields[1]] = string.format('"%s-%02d-%010d"', prefix, id, kind == "sequence" and 0 or number)
    headers[fields[2]] = string.format("%d", number)
    return wrk.format("POST", nil, headers, body)
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\\nRESULT {{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"refused":%d,"socket_errors":%d}}\\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
        errors.connect + errors.read + errors.write + errors.timeout))
end
"""


def cpu_seconds(pid):
    """Of all threads of a process, in user and in system mode."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(server, seconds, script):
    # No key and no producer comes twice, whatever earlier runs left in flight.
    command = [
        "wrk", "--threads", str(CONNECTIONS), "--connections", str(CONNECTIONS), "--duration", f"{seconds}s",
        "--timeout", "10s", "--latency", "--script", script, f"http://127.0.0.1:{server.port}{PATH}", "--",
        secrets.token_hex(8),
    ]
    before = cpu_seconds(server.process.pid)
    result = common.result_of(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if result["requests"] == 0 or result["refused"] > 0 or result["socket_errors"] > 0:
        raise Invalid(f"{server.name}: {result}\n{server.output()}")
    result["per_second"] = result["requests"] / (result["duration_us"] / 1e6)
    result["cpu_us"] = (cpu_seconds(server.process.pid) - before) * 1e6 / result["requests"]
    return result


def cost(rounds, kind):
    """How much fewer requests a second than without, as a share; the median of the rounds."""
    return statistics.median(1 - each[kind]["per_second"] / each["plain"]["per_second"] for each in rounds)


def run(options):
    common.shell("install_packages \"${system_packages[@]}\" wrk")
    binary = options.binary or common.build_postrider()
    directory = common.data_directory(options.directory)

    def command(port, data):
        return [binary, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", data / "data"]

    rounds = []
    with tempfile.TemporaryDirectory() as scripts:
        for kind in KINDS:
            (pathlib.Path(scripts) / kind).write_text(SCRIPT.format(kind=kind))
        print(
            f"{'round':>5} {'requests':<10} {'requests/s':>12} {'p50 ms':>8} {'p99 ms':>8} {'CPU us each':>12}",
            flush=True,
        )
        for number in range(options.rounds):
            results = {}
            # Each is first, second and last in turn.
            for kind in KINDS[number % len(KINDS) :] + KINDS[: number % len(KINDS)]:
                script = pathlib.Path(scripts) / kind
                with common.Server(kind, command, directory, common.answers_ready) as server:
                    load(server, WARM_UP_SECONDS, script)
                    result = results[kind] = load(server, options.seconds, script)
                print(
                    f"{number + 1:>5} {kind:<10} {result['per_second']:>12,.0f} {result['p50_us'] / 1000:>8.2f} "
                    f"{result['p99_us'] / 1000:>8.2f} {result['cpu_us']:>12.1f}",
                    flush=True,
                )
            rounds.append(results)
    for kind in KINDS[1:]:
        more = statistics.median(each[kind]["cpu_us"] - each["plain"]["cpu_us"] for each in rounds)
        print(f"{kind}_cpu_us={more:.1f}")
    print(f"key_cost={cost(rounds, 'key'):.2f} sequence_cost={cost(rounds, 'sequence'):.2f}")
