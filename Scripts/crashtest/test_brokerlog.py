"""The reader against the schema that the gateway creates, taken from its source so that a change is noticed."""

import pathlib
import re
import sqlite3
import tempfile
import unittest

from crashtest import brokerlog
from crashtest.checker import Logged

SCHEMA = pathlib.Path(__file__).resolve().parents[2] / "Sources" / "EmbeddedBroker" / "BrokerSchema.swift"


def create(path):
    (tables,) = (
        text for text in re.findall(r'"""(.*?)"""', SCHEMA.read_text(), re.DOTALL) if "CREATE TABLE records" in text
    )
    connection = sqlite3.connect(path)
    # What Swift interpolates are defaults, of no matter here.
    connection.executescript(re.sub(r"\\\([^)]*\)", "0", tables))
    return connection


class BrokerLogTests(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name) / "broker.sqlite"
        self.connection = create(self.path)

    def test_records_and_offsets_are_read_with_their_names(self):
        with self.connection as writer:
            writer.execute("INSERT INTO topics (number, name) VALUES (3, 'orders'), (4, 'audit')")
            writer.execute("INSERT INTO partitions (number, topic, partition) VALUES (7, 3, 0), (9, 4, 2)")
            for number, offset, value in [(7, 0, b"a"), (7, 1, None), (9, (1 << 40) - 1, b"b")]:
                writer.execute(
                    "INSERT INTO records (id, timestamp, value) VALUES (?, 0, ?)", (number << 40 | offset, value)
                )
            writer.execute("INSERT INTO offsets VALUES ('shop', 4, 2, 5, '')")
        self.connection.close()
        log, committed = brokerlog.read(self.path)
        self.assertEqual(
            log,
            [Logged("orders", 0, 0, b"a"), Logged("orders", 0, 1, b""), Logged("audit", 2, (1 << 40) - 1, b"b")],
        )
        self.assertEqual(committed, {("shop", "audit", 2): 5})

    def test_what_a_killed_process_left_in_the_wal_is_read(self):
        self.connection.execute("PRAGMA journal_mode=WAL")
        with self.connection as writer:
            writer.execute("INSERT INTO topics (number, name) VALUES (1, 't')")
            writer.execute("INSERT INTO partitions (number, topic, partition) VALUES (1, 1, 0)")
            writer.execute("INSERT INTO records (id, timestamp, value) VALUES (?, 0, x'78')", (1 << 40,))
        # Still open: nothing was checkpointed.
        log, _ = brokerlog.read(self.path)
        self.connection.close()
        self.assertEqual(len(log), 1)

    def test_a_missing_file_is_an_error_not_an_empty_log(self):
        with self.assertRaises(sqlite3.OperationalError):
            brokerlog.read(self.path.parent / "absent" / "broker.sqlite")
        with self.assertRaises((sqlite3.OperationalError, FileNotFoundError)):
            brokerlog.read(self.path.parent / "absent.sqlite")


if __name__ == "__main__":
    unittest.main()
