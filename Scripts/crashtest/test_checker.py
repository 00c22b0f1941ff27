"""The checker must find what is planted: a crash test that cannot fail proves nothing."""

import unittest

from crashtest.checker import DETAILS_MAX, Answer, Consumed, Logged, Result, Sent, check


def sent(sequence, answer=Answer.ACCEPTED, producer=1, topic="t", request=None):
    content = b"%d/%d" % (producer, sequence)
    return Sent(producer, sequence, topic, content, sequence if request is None else request, answer)


def logged(offset, sequence, producer=1, topic="t", partition=0):
    return Logged(topic, partition, offset, b"%d/%d" % (producer, sequence))


def counts(result):
    return (result.lost, result.duplicated, result.reordered, result.committed_unacked)


# A consumer of another topic that did its work, so that what a test does not speak of is in order.
BUSY = ("busy", "elsewhere", 0)


class CheckerTests(unittest.TestCase):
    def check(self, sent, log, committed=None, acknowledged=None, answered=None, read=None):
        consumed = Consumed(
            polled={"busy": 1},
            acknowledged=acknowledged or {},
            answered=answered or {},
            read=set(log) if read is None else set(read),
        )
        return check(sent, log, {BUSY: 1, **(committed or {})}, consumed)

    def test_everything_in_place_passes(self):
        result = self.check([sent(0), sent(1)], [logged(0, 0), logged(1, 1)])
        self.assertEqual(counts(result), (0, 0, 0, 0))
        self.assertEqual(result.acked, 2)
        self.assertTrue(result.passed)
        line = "kills=7 acked=2 lost=0 duplicated=0 reordered=0 committed_unacked=0"
        self.assertEqual(result.line(7), line)

    def test_nothing_acknowledged_does_not_pass(self):
        self.assertFalse(self.check([], []).passed)
        self.assertFalse(self.check([sent(0, Answer.UNKNOWN)], [logged(0, 0)]).passed)

    def test_nothing_handed_out_or_committed_does_not_pass(self):
        def passes(committed, polled):
            log = [logged(0, 0)]
            result = check([sent(0)], log, committed, Consumed(polled, {("c", "t", 0): {0}}, {}, set(log)))
            self.assertEqual(counts(result), (0, 0, 0, 0))
            self.assertEqual(result.passed, not result.is_idle)
            return result.passed

        self.assertTrue(passes({("c", "t", 0): 1}, {"c": 1}))
        self.assertFalse(passes({("c", "t", 0): 1}, {}))
        self.assertFalse(passes({("c", "t", 0): 1}, {"c": 0}))
        self.assertFalse(passes({}, {"c": 1}))
        # Where a consumer begins, and what only the reader of the end committed.
        self.assertFalse(passes({("c", "t", 0): 0}, {"c": 1}))
        self.assertFalse(passes({("c", "t", 0): 1}, {"d": 1}))

    def test_polls_and_commits_are_counted(self):
        consumed = Consumed({"c": 3, "d": 4}, {("c", "t", 0): {0}}, {}, {logged(0, 0)})
        committed = {("c", "t", 0): 1, ("d", "t", 1): 7, ("d", "t", 2): 0, ("e", "t", 0): 0}
        result = check([sent(0)], [logged(0, 0)], committed, consumed)
        self.assertEqual((result.polled, result.commits), (7, 2))

    def test_what_is_unsettled_does_not_pass(self):
        result = self.check([sent(0)], [logged(0, 0)])
        result.unsettled = ["receipt x"]
        self.assertFalse(result.passed)

    def test_answered_acknowledgement_that_is_gone_is_lost(self):
        records, log = [sent(0), sent(1)], [logged(0, 0), logged(1, 1)]
        lane = ("c", "t", 0)
        acknowledged = {lane: {0, 1}}
        for told in (0, 1, 2):
            self.assertTrue(self.check(records, log, {lane: 2}, acknowledged, {lane: told}).passed)
        behind = self.check(records, log, {lane: 1}, acknowledged, {lane: 2})
        self.assertEqual(counts(behind), (1, 0, 0, 0))
        self.assertFalse(behind.passed)
        self.assertEqual(behind.details, ["lost: c was told 2 is committed in t/0; 1 is"])
        gone = self.check(records, log, {}, acknowledged, {lane: 2})
        self.assertEqual(counts(gone), (1, 0, 0, 0))
        self.assertIn("none is", gone.details[0])
        # Of another consumer or partition it proves nothing.
        others = {("d", "t", 0): 2, ("c", "t", 1): 2}
        acknowledged["d", "t", 0] = {0, 1}
        self.assertEqual(counts(self.check(records, log, others, acknowledged, {lane: 2})), (1, 0, 0, 0))

    def test_record_that_is_not_handed_out_at_the_end_is_lost(self):
        records, log = [sent(0), sent(1)], [logged(0, 0), logged(1, 1)]
        self.assertTrue(self.check(records, log, read=log).passed)
        result = self.check(records, log, read=log[:1])
        self.assertEqual(counts(result), (1, 0, 0, 0))
        self.assertIn("t/0@1 is in the log and was not handed out", result.details[0])
        self.assertEqual(counts(self.check(records, log, read=[])), (2, 0, 0, 0))

    def test_record_handed_out_otherwise_than_the_log_has_it_is_found(self):
        records, log = [sent(0), sent(1)], [logged(0, 0), logged(1, 1)]
        swapped = [logged(1, 0), logged(0, 1)]
        self.assertEqual(counts(self.check(records, log, read=swapped)), (2, 2, 0, 0))
        self.assertEqual(counts(self.check(records, log, read=[*log, logged(2, 0)])), (0, 1, 0, 0))
        elsewhere = logged(0, 0, topic="u")
        self.assertEqual(counts(self.check(records, log, read=[*log, elsewhere])), (0, 1, 0, 0))

    def test_loss_is_found(self):
        result = self.check([sent(0), sent(1), sent(2)], [logged(0, 0), logged(1, 2)])
        self.assertEqual(counts(result), (1, 0, 0, 0))
        self.assertFalse(result.passed)
        self.assertIn("record 1 of producer 1", result.details[0])

    def test_record_in_another_topic_is_lost_there(self):
        result = self.check([sent(0)], [logged(0, 0, topic="u")])
        self.assertEqual(counts(result), (1, 1, 0, 0))

    def test_damaged_record_is_lost(self):
        result = self.check([sent(0)], [Logged("t", 0, 0, b"1/0x")])
        self.assertEqual(counts(result), (1, 1, 0, 0))

    def test_duplicates_are_found_in_one_partition_and_across(self):
        self.assertEqual(counts(self.check([sent(0)], [logged(0, 0), logged(1, 0)])), (0, 1, 0, 0))
        across = [logged(0, 0), logged(0, 0, partition=1), logged(1, 0, partition=1)]
        self.assertEqual(counts(self.check([sent(0)], across)), (0, 2, 0, 0))

    def test_request_without_answer_may_be_there_once_or_not(self):
        unanswered = sent(0, Answer.UNKNOWN)
        self.assertTrue(self.check([unanswered, sent(1)], [logged(0, 1)]).passed)
        self.assertTrue(self.check([unanswered, sent(1)], [logged(0, 0), logged(1, 1)]).passed)
        twice = [logged(0, 0), logged(1, 1), logged(2, 0)]
        self.assertEqual(counts(self.check([unanswered, sent(1)], twice)), (0, 1, 0, 0))

    def test_refused_request_must_not_be_there(self):
        result = self.check([sent(0, Answer.NOT_ACCEPTED), sent(1)], [logged(0, 0), logged(1, 1)])
        self.assertEqual(counts(result), (0, 1, 0, 0))
        self.assertTrue(self.check([sent(0, Answer.NOT_ACCEPTED), sent(1)], [logged(0, 1)]).passed)

    def test_request_without_answer_must_not_be_there_in_part(self):
        batch = [sent(sequence, Answer.UNKNOWN, request=9) for sequence in range(3)] + [sent(3)]
        self.assertTrue(self.check(batch, [logged(0, 3)]).passed)
        whole = [logged(offset, offset) for offset in range(4)]
        self.assertTrue(self.check(batch, whole).passed)
        self.assertEqual(counts(self.check(batch, whole[:1] + whole[3:])), (2, 0, 0, 0))

    def test_reordering_is_found_within_a_partition_only(self):
        records = [sent(0), sent(1), sent(2)]
        swapped = [logged(0, 1), logged(1, 0), logged(2, 2)]
        self.assertEqual(counts(self.check(records, swapped)), (0, 0, 1, 0))
        apart = [logged(0, 1), logged(0, 0, partition=1), logged(1, 2)]
        self.assertTrue(self.check(records, apart).passed)

    def test_order_is_that_of_offsets_not_of_reading(self):
        records = [sent(0), sent(1)]
        self.assertTrue(self.check(records, [logged(1, 1), logged(0, 0)]).passed)

    def test_producers_are_not_ordered_among_each_other(self):
        records = [sent(5, producer=1), sent(0, producer=2)]
        self.assertTrue(self.check(records, [logged(0, 5), logged(1, 0, producer=2)]).passed)

    def test_duplicate_is_not_counted_as_reordered_too(self):
        result = self.check([sent(0), sent(1)], [logged(0, 0), logged(1, 1), logged(2, 0)])
        self.assertEqual(counts(result), (0, 1, 0, 0))

    def test_commit_past_an_unacknowledged_record_is_found(self):
        records = [sent(sequence) for sequence in range(3)]
        log = [logged(offset, offset) for offset in range(3)]
        lane = ("c", "t", 0)
        self.assertTrue(self.check(records, log, {lane: 2}, {lane: {0, 1}}).passed)
        self.assertEqual(counts(self.check(records, log, {lane: 2}, {lane: {1}})), (0, 0, 0, 1))
        self.assertEqual(counts(self.check(records, log, {lane: 3}, {})), (0, 0, 0, 3))
        other = {("d", "t", 0): {0, 1, 2}}
        self.assertEqual(counts(self.check(records, log, {lane: 1}, other)), (0, 0, 0, 1))

    def test_commit_across_offsets_without_records_is_allowed(self):
        lane = ("c", "t", 0)
        result = self.check([sent(0), sent(1)], [logged(0, 0), logged(5, 1)], {lane: 5}, {lane: {0}})
        self.assertTrue(result.passed)

    def test_buffered_is_a_promise_but_for_a_power_failure_right_after_it(self):
        def lost(answer, answered_at, power_losses):
            record = sent(1, answer)
            record.answered_at = answered_at
            consumed = Consumed(polled={"busy": 1}, read={logged(0, 0)})
            return check([sent(0), record], [logged(0, 0)], {BUSY: 1}, consumed, power_losses).lost

        self.assertEqual(lost(Answer.BUFFERED, 100, []), 1)
        self.assertEqual(lost(Answer.BUFFERED, 100, [50, 101]), 0)
        self.assertEqual(lost(Answer.BUFFERED, 100, [50, 110]), 1)
        self.assertEqual(lost(Answer.ACCEPTED, 100, [101]), 1)

    def test_buffered_records_that_a_power_failure_took_are_counted(self):
        record = sent(1, Answer.BUFFERED)
        consumed = Consumed(polled={"busy": 1}, read={logged(0, 0)})
        result = check([sent(0), record], [logged(0, 0)], {BUSY: 1}, consumed, [0.5])
        self.assertEqual((result.lost, result.buffered_lost), (0, 1))

    def test_a_buffered_request_is_lost_as_a_whole_or_not_at_all(self):
        records = [sent(0, Answer.BUFFERED, request=1), sent(1, Answer.BUFFERED, request=1)]
        log = [logged(0, 0)]
        result = check(records, log, {BUSY: 1}, Consumed(polled={"busy": 1}, read=set(log)), [0.5])
        self.assertEqual(result.lost, 1)

    def test_details_are_bounded(self):
        result = self.check([sent(sequence) for sequence in range(1000)], [], read=[])
        self.assertEqual(result.lost, 1000)
        self.assertEqual(len(result.details), DETAILS_MAX)

    def test_result_counts_by_name(self):
        with self.assertRaises(AttributeError):
            Result().add("misspelled", "")


if __name__ == "__main__":
    unittest.main()
