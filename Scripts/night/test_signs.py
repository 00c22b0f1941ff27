"""Metrics as samples tell them, and the kinds of lines in a log."""

import json
import unittest

from night import signs

TEXT = """# HELP postrider_a_total A
# TYPE postrider_a_total counter
postrider_a_total 3
postrider_lane_total{lane="0",code="x"} 1
postrider_lane_total{lane="1",code="x"} 2
postrider_lane_state{lane="0"} 1
postrider_lane_state{lane="1"} 4
postrider_h_bucket{le="+Inf"} 7
"""


class MetricsTests(unittest.TestCase):
    def test_lanes_are_folded(self):
        self.assertEqual(signs.parse(TEXT), {
            ("postrider_a_total", ()): 3, ("postrider_lane_total", (("code", "x"),)): 3,
            ("postrider_lane_state", ()): 4, ("postrider_h_bucket", (("le", "+Inf"),)): 7,
        })

    def test_counters_grow_over_restarts(self):
        metrics = signs.Metrics()
        for value in (5, 9, 2, 2, 6):
            metrics.add({("a_total", ()): value})
        # 5, then 4 more; anew, 2; then 4 more.
        self.assertEqual(metrics.increase("a_total"), 15)
        self.assertEqual(metrics.increase("b_total"), 0)

    def test_gauges_have_a_peak_and_end_when_they_vanish(self):
        metrics = signs.Metrics()
        full = ("postrider_not_accepting", (("reason", "quota"),))
        metrics.add({full: 1.0})
        metrics.add({})
        self.assertEqual(metrics.peak("postrider_not_accepting", reason="quota"), 1)
        self.assertEqual(metrics.last("postrider_not_accepting", reason="quota"), 0)
        self.assertEqual(metrics.peak("postrider_not_accepting", reason="no_space"), 0)
        self.assertTrue(metrics.knows("postrider_not_accepting"))
        self.assertFalse(metrics.knows("postrider_ready"))
        self.assertEqual(
            metrics.lines(["postrider_not_accepting"]),
            ['postrider_not_accepting{reason="quota"} 1, at the end 0'],
        )

    def test_gauges_that_stay_are_not_shown_and_those_that_come_later_are(self):
        metrics = signs.Metrics()
        ready, later = ("ready", ()), ("later", ())
        metrics.add({ready: 1.0})
        metrics.add({ready: 1.0, later: 2.0})
        self.assertEqual(metrics.lines(["ready", "later"]), ["later 2, at the end 2"])
        metrics.add({ready: 0.0, later: 2.0})
        self.assertEqual(metrics.lines(["ready"]), ["ready 1, at the end 0"])

    def test_series_that_did_not_move_are_not_shown(self):
        metrics = signs.Metrics()
        metrics.add({})
        metrics.add({("a_total", ()): 0.0, ("b_total", ()): 2.0, ("c_total", ()): 2.0})
        self.assertEqual(metrics.lines(["a_total", "b_total"]), ["b_total +2"])


class LogTests(unittest.TestCase):
    def line(self, level, message, **members):
        return json.dumps({"level": level, "logger": "postrider.journal", "message": message, **members})

    def test_lines_are_counted_by_kind_with_those_that_were_not_written(self):
        text = "\n".join([
            self.line("warning", "slow sync"), self.line("warning", "slow sync", repeated=7),
            self.line("error", "no space", code="no_space"), "Fatal error: index out of range", "17", '{"a":1}',
        ])
        said, foreign = signs.read_log(text)
        self.assertEqual(said[signs.Said("warning", "postrider.journal", "slow sync", "")], 8)
        self.assertEqual(foreign, ["Fatal error: index out of range", "17", '{"a":1}'])
        self.assertEqual(signs.log_lines(said), [
            "error × 1 postrider.journal: no space (no_space)", "warning × 8 postrider.journal: slow sync",
        ])

    def test_what_nobody_needs_is_left_out_and_the_rest_is_bounded(self):
        said, _ = signs.read_log("\n".join(
            [self.line("info", "hello"), self.line("debug", "hello")] + [self.line("notice", f"{n}") for n in range(20)]
        ))
        lines = signs.log_lines(said)
        self.assertEqual(len(lines), signs.LINES_MAX + 1)
        self.assertEqual(lines[-1], "and 6 kinds more")


if __name__ == "__main__":
    unittest.main()
