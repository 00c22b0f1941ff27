"""What clients were told must reach the checker as it was told."""

import time
import unittest

from crashtest.checker import Answer, Logged
from crashtest.ledger import Ledger


def place(offset, partition=0, topic="t"):
    return {"topic": topic, "partition": partition, "offset": offset}


class LedgerTests(unittest.TestCase):
    def test_of_answers_to_acknowledgements_the_greatest_offset_is_kept(self):
        book = Ledger()
        for offset in (3, 7, 5):
            book.answered("c", [place(offset)])
        book.answered("c", [place(2, partition=1), place(0, partition=2)])
        book.answered("d", [place(1)])
        book.answered("d", [])
        expected = {("c", "t", 0): 7, ("c", "t", 1): 2, ("c", "t", 2): 0, ("d", "t", 0): 1}
        self.assertEqual(book.consumed().answered, expected)

    def test_records_are_counted_by_consumer_and_the_end_reader_is_not(self):
        book = Ledger()
        book.took("c", 2)
        book.took("c", 0)
        book.took("d", 1)
        book.read([Logged("t", 0, 0, b"x")])
        consumed = book.consumed()
        self.assertEqual(consumed.polled, {"c": 2, "d": 1})
        self.assertEqual(consumed.read, {Logged("t", 0, 0, b"x")})

    def test_acknowledged_offsets_are_kept_by_lane(self):
        book = Ledger()
        book.acknowledging("c", [place(0), place(4), place(0, partition=1)])
        book.acknowledging("c", [place(1)])
        self.assertEqual(book.consumed().acknowledged, {("c", "t", 0): {0, 1, 4}, ("c", "t", 1): {0}})

    def test_a_buffered_answer_is_told_with_its_time(self):
        book = Ledger()
        book.settle(book.sending(1, "t", [(0, b"")]), Answer.BUFFERED, ["receipt"])
        (record,) = book.sent()
        self.assertIs(record.answer, Answer.BUFFERED)
        self.assertLess(time.monotonic() - record.answered_at, 60)
        self.assertEqual(book.last_receipts(), ["receipt"])

    def test_nobody_hears_an_answer_without_power(self):
        book = Ledger()
        gone, later = (book.sending(1, "t", [(number, b"")]) for number in range(2))
        self.assertLessEqual(book.power_goes(), time.monotonic())
        book.settle(gone, Answer.ACCEPTED, ["gone"])
        book.answered("c", [place(7)])
        book.power_returns()
        book.settle(later, Answer.ACCEPTED, ["later"])
        book.answered("c", [place(3)])
        self.assertEqual([record.answer for record in book.sent()], [Answer.UNKNOWN, Answer.ACCEPTED])
        self.assertEqual(book.last_receipts(), ["later"])
        self.assertEqual(book.consumed().answered, {("c", "t", 0): 3})

    def test_what_is_promised_once_the_disk_is_gone_is_held_against_the_gateway(self):
        book = Ledger()
        before = book.sending(1, "t", [(0, b"")])
        book.power_goes()
        during = book.sending(1, "t", [(1, b"")])
        book.power_is_gone()
        after = book.sending(1, "t", [(2, b"")])
        for records in (before, during, after):
            book.settle(records, Answer.ACCEPTED, ["receipt"])
        book.answered("c", [place(7)])
        self.assertEqual(
            [record.answer for record in book.sent()], [Answer.UNKNOWN, Answer.UNKNOWN, Answer.ACCEPTED])
        self.assertEqual(book.consumed().answered, {})

    def test_last_receipts_are_those_of_accepted_requests(self):
        book = Ledger()
        for sequence, answer in enumerate([Answer.ACCEPTED, Answer.NOT_ACCEPTED, Answer.ACCEPTED]):
            book.settle(book.sending(1, "t", [(sequence, b"")]), answer, [f"receipt-{sequence}"])
        self.assertEqual(book.last_receipts(), ["receipt-2"])


if __name__ == "__main__":
    unittest.main()
