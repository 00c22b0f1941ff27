"""The output of kafka_log.c is read to the letter: a record may hold anything, and a cut output is an error."""

import unittest

from crashtest import kafkalog
from crashtest.checker import Logged


def record(topic, partition, offset, content):
    return f"RECORD {topic} {partition} {offset} {len(content)}\n".encode() + content + b"\n"


class KafkaLogTests(unittest.TestCase):
    def test_records_and_committed_offsets_are_read(self):
        output = record("a", 0, 3, b"x") + record("b.c", 11, 1 << 40, b"") + b"COMMITTED g a 0 7\nEND\n"
        log, committed = kafkalog.parse(output)
        self.assertEqual(log, [Logged("a", 0, 3, b"x"), Logged("b.c", 11, 1 << 40, b"")])
        self.assertEqual(committed, {("g", "a", 0): 7})

    def test_a_record_may_hold_what_looks_like_lines(self):
        for content in (b"\nEND\n", b"END", b"RECORD a 0 0 1\nx\n", b"\n", b"\xff\x00"):
            log, _ = kafkalog.parse(record("a", 0, 0, content) + b"END\n")
            self.assertEqual([logged.content for logged in log], [content])

    def test_nothing_is_a_log_too(self):
        self.assertEqual(kafkalog.parse(b"END\n"), ([], {}))

    def test_a_cut_output_is_an_error(self):
        whole = record("a", 0, 0, b"xyz") + b"COMMITTED g a 0 7\nEND\n"
        for length in range(len(whole)):
            with self.assertRaises(ValueError, msg=f"{length} of {len(whole)} bytes"):
                kafkalog.parse(whole[:length])
        with self.assertRaises(ValueError):
            kafkalog.parse(whole + b"more")

    def test_a_cluster_that_cannot_be_read_is_an_error(self):
        with self.assertRaises(ValueError):
            kafkalog.read("false", "127.0.0.1:1", ["a"], [])


if __name__ == "__main__":
    unittest.main()
