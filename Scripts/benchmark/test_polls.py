"""The parts of the benchmark of parked polls."""

import types
import unittest

from benchmark import polls
from benchmark.common import Invalid


def answered(sent, at, received=b""):
    return types.SimpleNamespace(sent=sent, answered=at, received=received, consumer="c")


class AnswerTests(unittest.TestCase):
    def test_answer_is_whole_with_its_last_byte(self):
        whole = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nX: y\r\n\r\nbody"
        for end in range(len(whole)):
            self.assertIsNone(polls.body_of(whole[:end]))
        self.assertEqual(polls.body_of(whole), b"body")

    def test_answer_without_a_length_makes_the_run_invalid(self):
        with self.assertRaises(Invalid):
            polls.body_of(b"HTTP/1.1 200 OK\r\n\r\n")

    def test_refusal_makes_the_run_invalid(self):
        self.assertTrue(polls.is_empty(answered(0, 1, b'HTTP/1.1 200 OK\r\n\r\n{"records":[]}')))
        self.assertFalse(polls.is_empty(answered(0, 1, b'HTTP/1.1 200 OK\r\n\r\n{"records":[{}]}')))
        with self.assertRaises(Invalid):
            polls.is_empty(answered(0, 1, b'HTTP/1.1 503 Service Unavailable\r\n\r\n'))


class VerdictTests(unittest.TestCase):
    def test_late_counts_from_each_polls_own_wait(self):
        found = polls.late([answered(10, 40.5), answered(12, 41.9)], 30)
        self.assertAlmostEqual(found[0], 0.5)
        self.assertAlmostEqual(found[1], -0.1)

    def test_numbers_beyond_the_bounds_are_named(self):
        self.assertEqual(polls.verdict(0.01, [0.0, 1.9], 0.05), [])
        self.assertEqual(len(polls.verdict(0.06, [0.0, 2.1], 0.05)), 2)
        self.assertEqual(len(polls.verdict(0.01, [-0.2, 0.1], 0.05)), 1)


if __name__ == "__main__":
    unittest.main()
