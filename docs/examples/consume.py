#!/usr/bin/env python3
"""Takes records so that each has its effect once, whatever fails on the way. Python's standard library only.

    consume.py URL TOPIC CONSUMER DIRECTORY

The effect here is a file in DIRECTORY, named by the record's place and holding its value. A record that is not text
cannot be handled: after three deliveries it is in the topic CONSUMER.dead-letters, and the others go on. It may be
killed at any time and started again.
"""

import http.client
import json
import os
import pathlib
import sys
import time
import urllib.error
import urllib.request

# Longer than a poll waits.
ANSWER_SECONDS_MAX = 40
PAUSE_SECONDS = 0.2
# Always the same for one process at a time: what it had open when it died comes again at once.
CLIENT = "example"


def call(method, url, body=None):
    """Returns (status, JSON or {}); None without an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS_MAX) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.loads(refusal.read())
    except (OSError, http.client.HTTPException, ValueError):
        return None


def handle(record, directory):
    """Done again, it has the same effect: deliveries are repeated, so this must be so. Raises ValueError for a record
    that can never be handled."""
    if "value_text" not in record:
        raise ValueError("not text")
    name = f"{record['topic']}-{record['partition']}-{record['offset']}"
    unfinished = directory / f".{name}"
    with open(unfinished, "w", encoding="utf-8", newline="") as file:
        file.write(record["value_text"])
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, directory / name)


def handle_all(consumer_url, records, directory):
    done = []
    stuck = set()
    for record in records:
        partition = record["topic"], record["partition"]
        if partition in stuck:
            # Comes again behind the one that failed, in order.
            continue
        delivery = record["delivery"]["id"]
        try:
            handle(record, directory)
            done.append(delivery)
        except ValueError as reason:
            stuck.add(partition)
            call("POST", f"{consumer_url}/nacks", {"deliveries": [delivery], "delay_ms": 100, "reason": str(reason)})
    # Only now: what is acknowledged does not come again. Without an answer, or where a lease was lost, what is open
    # comes again, and has its effect already.
    if done:
        call("POST", f"{consumer_url}/acks", {"deliveries": done})


def main():
    url, topic, consumer, directory = sys.argv[1:]
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    consumer_url = f"{url}/v1/consumers/{consumer}"
    while True:
        answer = call("PUT", consumer_url, {"topics": [topic], "max_deliveries": 3})
        if answer is not None and answer[0] in (200, 201):
            break
        if answer is not None and answer[0] == 409:
            raise SystemExit(answer[1]["detail"])
        # Also 404: the topic is there with its first record.
        time.sleep(PAUSE_SECONDS)
    while True:
        answer = call("POST", f"{consumer_url}/poll?wait=10&values=text&client={CLIENT}")
        if answer is None or answer[0] != 200:
            time.sleep(PAUSE_SECONDS)
            continue
        handle_all(consumer_url, answer[1]["records"], directory)


if __name__ == "__main__":
    main()
