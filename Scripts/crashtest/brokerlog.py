"""Reads the embedded broker's file, without any code of the gateway."""

import sqlite3
import urllib.parse

from crashtest.checker import Logged

OFFSET_BITS = 40


def read(path):
    """Returns (log, committed) of a broker.sqlite that nobody has open."""
    # Written to as well: a log that was left behind has to be replayed first. Never created.
    connection = sqlite3.connect(f"file:{urllib.parse.quote(str(path))}?mode=rw", uri=True)
    try:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            raise ValueError(f"{path}: {verdict}")
        partitions = {
            number: (name, partition)
            for number, name, partition in connection.execute(
                "SELECT p.number, t.name, p.partition FROM partitions p JOIN topics t ON t.number = p.topic"
            )
        }
        log = []
        for identity, value in connection.execute("SELECT id, value FROM records ORDER BY id"):
            topic, partition = partitions[identity >> OFFSET_BITS]
            log.append(Logged(topic, partition, identity & ((1 << OFFSET_BITS) - 1), bytes(value or b"")))
        committed = {
            (consumer, topic, partition): offset
            for consumer, topic, partition, offset in connection.execute(
                "SELECT o.consumer, t.name, o.partition, o.committed FROM offsets o JOIN topics t ON t.number = o.topic"
            )
        }
        return log, committed
    finally:
        connection.close()
