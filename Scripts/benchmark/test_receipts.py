"""When a receipt is right, and where a run is too much."""

import json
import unittest

from benchmark import receipts


class ReceiptsTests(unittest.TestCase):
    GOOD = {"wrong": 0, "held": 1_000_000, "per_second": 90_000.0, "memory_bytes": 150 << 20}

    def test_a_body_has_the_numbers_of_its_records(self):
        self.assertEqual([record["value"] for record in json.loads(receipts.body(7, 3))["records"]], [7, 8, 9])

    def test_a_receipt_tells_a_place_or_none(self):
        outcome = {"state": "delivered", "topic": "a", "partition": 1, "offset": 2}
        self.assertEqual(receipts.place(outcome), ("a", 1, 2))
        for other in ({"state": "delivered"}, {"state": "accepted"}, {"state": "expired"}, {"state": "dead"}):
            self.assertIsNone(receipts.place(other))

    def test_what_is_elsewhere_unknown_or_another_record_is_wrong(self):
        held = {("a", 0, 0): 0, ("a", 0, 1): 1, ("a", 0, 2): 2}
        right = [("a", 0, 0), ("a", 0, 1), ("a", 0, 2)]
        self.assertEqual(receipts.wrong(right, held), [])
        self.assertEqual(receipts.wrong([right[0], None, right[2]], held), [1])
        self.assertEqual(receipts.wrong([right[1], right[0], right[2]], held), [0, 1])
        self.assertEqual(receipts.wrong([right[0], right[1], ("a", 0, 3)], held), [2])

    def test_each_bound_is_held(self):
        self.assertEqual(receipts.faults(self.GOOD, 1_000_000), [])
        for name, value in (("wrong", 1), ("held", 999_999), ("per_second", 49_999.0), ("memory_bytes", 201 << 20)):
            self.assertEqual(len(receipts.faults({**self.GOOD, name: value}, 1_000_000)), 1)

    def test_a_short_run_has_no_rate(self):
        self.assertEqual(receipts.faults({**self.GOOD, "held": 20_000, "per_second": 9.0}, 20_000), [])


if __name__ == "__main__":
    unittest.main()
