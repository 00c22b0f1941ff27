"""What clients saw: counted by phase, and refusals that do not say what they must are faults."""

import json
import types
import unittest

from night.witness import Kind, Witness, call_of, fault_of


def response(status, retry_after=None):
    return types.SimpleNamespace(status=status, getheader=lambda name: {"Retry-After": retry_after}[name])


def problem(**members):
    return json.dumps({"outcome": "not_accepted", **members}).encode()


FULL = problem(code="spool_full")
PRODUCE = ("POST", "/v1/topics/orders?key=a")


class CallTests(unittest.TestCase):
    def test_calls_are_told_apart_by_method_and_path(self):
        for call, method, path in (
            ("produce", "POST", "/v1/topics/orders?key=a"), ("produce", "POST", "/v1/topics/orders/records"),
            ("poll", "POST", "/v1/consumers/c/poll?wait=1"), ("ack", "POST", "/v1/consumers/c/acks"),
            ("GET /v1/topics/orders", "GET", "/v1/topics/orders"),
        ):
            self.assertEqual(call_of(method, path), call)


class FaultTests(unittest.TestCase):
    def test_refusals_that_pass_tell_when_to_come_again(self):
        for status in (429, 503, 507):
            kind = Kind("poll", status)
            for good in ("1", "300"):
                self.assertIsNone(fault_of(kind, {}, good))
            for bad in (None, "0", "301", "soon"):
                self.assertIn("Retry-After", fault_of(kind, {}, bad))
        self.assertIsNone(fault_of(Kind("poll", 503), {"retryable": False}, None))
        self.assertIsNone(fault_of(Kind("poll", 404), {}, None))

    def test_errors_of_produce_tell_the_outcome(self):
        for outcome in ("not_accepted", "unknown"):
            self.assertIsNone(fault_of(Kind("produce", 400), {"outcome": outcome}, None))
        for outcome in ({}, {"outcome": "accepted"}, {"outcome": None}):
            self.assertIn("outcome", fault_of(Kind("produce", 400), outcome, None))
        self.assertIsNone(fault_of(Kind("produce", 202), {}, None))


class WitnessTests(unittest.TestCase):
    def test_answers_are_counted_by_phase(self):
        witness = Witness()
        witness.saw(*PRODUCE, response(202), b"{}", 0)
        witness.phase("before")
        witness.saw(*PRODUCE, response(202), b'{"receipts":[]}', 0.1)
        witness.phase("full")
        for number in range(3):
            witness.saw(*PRODUCE, response(507, str(number + 1)), FULL, number)
        witness.saw(*PRODUCE, None, b"", 0.1)
        self.assertEqual(witness.phases(), ["before", "full"])
        self.assertEqual((witness.accepted("before"), witness.accepted("full")), (1, 0))
        self.assertEqual(witness.count("full", "produce", 507, "spool_full"), 3)
        self.assertEqual(witness.count("full", "poll"), 0)
        self.assertEqual((witness.refused("before"), witness.refused("full")), (0, 3))
        self.assertEqual(witness.faults(), [])
        self.assertEqual(witness.lines(), [
            "before: produce 202 × 1",
            "full: produce no answer × 1, 507 spool_full × 3 (Retry-After 1 to 3, up to 2.0 s)",
        ])

    def test_what_is_in_flight_is_no_refusal(self):
        witness = Witness()
        witness.phase("a")
        witness.saw(*PRODUCE, response(409, "1"), problem(code="idempotency_in_flight"), 0)
        self.assertEqual(witness.refused("a"), 0)

    def test_each_fault_is_told_once(self):
        witness = Witness()
        witness.phase("a")
        for _ in range(2):
            witness.saw(*PRODUCE, response(507), FULL, 0)
        self.assertEqual(witness.faults(), ["produce 507 spool_full: Retry-After is None"])

    def test_a_body_that_is_no_problem_is_no_reason_to_die(self):
        witness = Witness()
        witness.phase("a")
        for body in (b"", b"\xff", b"[1]", b'"text"'):
            witness.saw("POST", "/v1/consumers/c/poll", response(404), body, 0)
        self.assertEqual(witness.count("a", "poll", 404, ""), 4)


if __name__ == "__main__":
    unittest.main()
