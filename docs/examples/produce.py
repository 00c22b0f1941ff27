#!/usr/bin/env python3
"""Sends records so that each is stored once, whatever fails on the way. Python's standard library only.

    produce.py URL TOPIC < records                   each line is ID, a tab, and the value
    produce.py URL TOPIC --producer NAME < records   the same, numbered in their order

Prints the ID and the receipt of each record that was accepted. Without --producer the ID is its Idempotency-Key. It may
be killed at any time and started again on the same lines: what was accepted is not stored again. With --producer that
holds for a NAME that the gateway knows: after idempotency.producer_idle (7 days) without a request, or where the spool
was restored, it is new there, and all lines are.
"""

import argparse
import http.client
import json
import random
import sys
import time
import urllib.error
import urllib.request

# For one answer; longer than the gateway takes to say that its disk hangs (spool.sync_timeout, 30 s).
ANSWER_SECONDS_MAX = 40
PAUSE_SECONDS = (0.1, 5)
# Well before the gateway forgets the key (idempotency.lifetime, 24 h).
GIVE_UP_SECONDS = 12 * 3600


def try_once(url, headers, body):
    """Returns (status, JSON or {}, Retry-After in seconds); None without an answer, and then nothing is known."""
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS_MAX) as answer:
                return answer.status, json.loads(answer.read()), 0
        except urllib.error.HTTPError as refusal:
            with refusal:
                text = refusal.read()
            after = refusal.headers.get("Retry-After", "0")
            try:
                return refusal.code, json.loads(text), float(after) if after.isdigit() else 0
            except ValueError:  # Of a proxy on the way.
                return refusal.code, {}, 0
    except (OSError, http.client.HTTPException, ValueError):
        return None


def is_to_be_repeated(status, problem):
    """Also where it says not_accepted: that is about this try, and an earlier one may have been accepted."""
    in_flight = problem.get("code") in ("idempotency_in_flight", "sequence_in_flight")
    return in_flight or status in (408, 429) or status >= 500


def answer_to(url, headers, body):
    """The same request, with the same key or number, until the gateway says what it is. Returns (status, JSON)."""
    give_up = time.monotonic() + GIVE_UP_SECONDS
    pause, pause_max = PAUSE_SECONDS
    while True:
        answer = try_once(url, headers, body)
        after = 0
        if answer is not None:
            status, told, after = answer
            if not is_to_be_repeated(status, told):
                return status, told
        if time.monotonic() > give_up:
            raise SystemExit(f"no answer for {GIVE_UP_SECONDS} s: {url}")
        # With jitter: not all clients at once when a gateway is back.
        time.sleep(after + pause * random.uniform(0.5, 1))
        pause = min(pause * 2, pause_max)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("topic")
    parser.add_argument("--producer")
    options = parser.parse_args()
    number = 1
    refused = 0
    for line in sys.stdin.buffer:
        name, _, value = line.rstrip(b"\n").partition(b"\t")
        name = name.decode()
        if options.producer:
            headers = {"Postrider-Producer": options.producer, "Postrider-Sequence": str(number)}
        else:
            headers = {"Idempotency-Key": f'"{name}"'}
        headers["Content-Type"] = "text/plain; charset=utf-8"
        status, told = answer_to(f"{options.url}/v1/topics/{options.topic}", headers, value)
        if status == 202:
            print(name, told["receipts"][0], sep="\t", flush=True)
            number += 1
        elif told.get("code") == "sequence_too_old":
            # By an earlier run, 64 requests or more ago.
            number += 1
        elif told.get("code") == "sequence_gap":
            raise SystemExit(f"{name}: the gateway expects number {told['expected']}, and this is {number}")
        else:
            # Refused for good, and not stored: repeating would not help. Its number goes to the next record.
            print(name, status, told.get("code"), told.get("detail"), sep="\t", file=sys.stderr, flush=True)
            refused += 1
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
