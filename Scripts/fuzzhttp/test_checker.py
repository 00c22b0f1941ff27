"""The checker must find what is planted: a run that cannot fail proves nothing."""

import unittest
from collections import Counter

from fuzzhttp import content
from fuzzhttp.checker import Level, check
from fuzzhttp.worker import FAULTS_MAX, Report

A, B, C = (content.make(f"1.{number}", 10 * number) for number in range(3))
MIB = 1 << 20


class CheckerTests(unittest.TestCase):
    def check(self, read, logged=None, warm=Level(), after=Level(), requests_min=0, **report):
        report = Report(requests=100, **{"acked": {A, B}, "receipts": 2, **report})
        return check(report, read, len(read) if logged is None else logged, warm, after, requests_min)

    def test_everything_in_place_passes(self):
        for read in ([A, B], [B, A, b"changed on the way"], [content.in_json(A), B], [A, B, C]):
            result = self.check(read, unknown={C})
            self.assertTrue(result.passed, result.details)
        counts = "lost=0 duplicated=0 resurrected=0 memory_growth_mib=0.0 descriptors_growth=0 faults=0"
        self.assertEqual(self.check([A, B]).line(), f"requests=100 acked=2 {counts}")

    def test_nothing_accepted_does_not_pass(self):
        self.assertFalse(self.check([], acked=set(), receipts=0).passed)

    def test_a_lost_record_is_found(self):
        self.assertEqual(self.check([A, b"other"]).lost, 1)
        # Changed, though there.
        self.assertEqual(self.check([A, B[:-1] + b"x"]).lost, 1)
        self.assertFalse(self.check([A, b"other"]).passed)

    def test_a_lost_record_of_a_changed_request_is_found(self):
        # Its content is not known, its receipt is.
        self.assertEqual(self.check([A, B], receipts=3).lost, 1)

    def test_a_record_that_is_not_handed_out_is_found(self):
        self.assertEqual(self.check([A, B], logged=3).lost, 1)

    def test_a_second_record_is_found(self):
        self.assertEqual(self.check([A, B, B]).duplicated, 1)
        self.assertEqual(self.check([A, B, C, C], unknown={C}).duplicated, 1)
        self.assertFalse(self.check([A, B, B]).passed)

    def test_a_refused_record_that_is_there_is_found(self):
        self.assertEqual(self.check([A, B, C], refused={C}).resurrected, 1)
        self.assertFalse(self.check([A, B, C], refused={C}).passed)

    def test_growth_is_found(self):
        files = Counter({"socket": 2, "/data/broker.sqlite": 3})
        warm = Level(100 * MIB, files)
        self.assertTrue(self.check([A, B], warm=warm, after=Level(164 * MIB, files)).passed)
        self.assertTrue(self.check([A, B], warm=warm, after=Level(100 * MIB, files - Counter(["socket"]))).passed)
        self.assertFalse(self.check([A, B], warm=warm, after=Level(164 * MIB + 1, files)).passed)
        grown = self.check([A, B], warm=warm, after=Level(100 * MIB, files + Counter(["/data/META"])))
        self.assertFalse(grown.passed)
        self.assertIn("/data/META", grown.faults[0])

    def test_faults_and_too_few_requests_are_found(self):
        self.assertFalse(self.check([A, B], faults=["500"]).passed)
        self.assertTrue(self.check([A, B], requests_min=100).passed)
        self.assertFalse(self.check([A, B], requests_min=101).passed)

    def test_reports_are_added_up(self):
        report = Report(requests=1, acked={A}, receipts=1, faults=["one"])
        for _ in range(FAULTS_MAX):
            report.add(Report(requests=2, acked={B}, refused={C}, receipts=1, last_receipts=["r"], faults=["two"]))
        self.assertEqual((report.requests, report.acked, report.refused), (41, {A, B}, {C}))
        self.assertEqual((report.receipts, report.last_receipts, len(report.faults)), (21, ["r"], FAULTS_MAX))


class ContentTests(unittest.TestCase):
    def test_content_tells_whether_it_is_intact(self):
        self.assertTrue(content.is_intact(C))
        for at in range(len(C)):
            changed = C[:at] + bytes([C[at] ^ 1]) + C[at + 1 :]
            self.assertFalse(content.is_intact(changed))

    def test_content_is_found_in_json(self):
        self.assertEqual(content.unwrapped(content.in_json(A)), A)
        for other in (A, b'{"pr":', b'{"pr":1}', b""):
            self.assertEqual(content.unwrapped(other), other)


if __name__ == "__main__":
    unittest.main()
