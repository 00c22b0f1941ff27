"""What is divided by what must be what the benchmark says."""

import json
import unittest

from benchmark import forward
from benchmark.common import Invalid, result_of


class ForwardTests(unittest.TestCase):
    def test_batches_have_all_records_and_none_is_too_large(self):
        for records, size in ((500_000, 1024), (1, 1), (5_001, 10), (3, 1 << 20), (7, 8 << 20)):
            counts = forward.batches(records, size)
            self.assertEqual(sum(counts), records)
            self.assertTrue(all(0 < count <= forward.BATCH_RECORDS_MAX for count in counts))
            self.assertLess(max(len(forward.body(count, size)) for count in set(counts)), 16 << 20)

    def test_a_body_has_records_of_the_size_asked_for(self):
        records = json.loads(forward.body(3, 1024))["records"]
        self.assertEqual([len(record["value_text"]) for record in records], [1024] * 3)

    def test_forwarded_is_the_sum_over_lanes(self):
        line = 'postrider_forwarder_records_total{lane="%d"} %s\n'
        self.assertEqual(forward.forwarded("# TYPE a counter\n" + line % (0, "3") + line % (11, "4.0")), 7)
        # A metric that is gone is not zero.
        self.assertIsNone(forward.forwarded("postrider_forwarder_retries_total{lane=\"0\"} 1\n"))

    def test_rate_counts_what_was_forwarded_between_the_first_look_and_the_end(self):
        samples = [(10.0, 100), (11.0, 500), (12.0, 1000), (13.0, 1000)]
        self.assertEqual(forward.rate(samples, 1000), 450)

    def test_rate_of_a_run_that_was_seen_too_late_or_never_ended_is_invalid(self):
        for samples in ([(10.0, 600), (11.0, 1000)], [(10.0, 0), (11.0, 999)], [(10.0, 1000)]):
            with self.assertRaises(Invalid):
                forward.rate(samples, 1000)

    def test_a_result_is_there_once(self):
        self.assertEqual(result_of('a\nRESULT {"records":1}\n'), {"records": 1})
        for output in ("", "RESULT 1\nRESULT 1\n"):
            with self.assertRaises(Invalid):
                result_of(output)


if __name__ == "__main__":
    unittest.main()
