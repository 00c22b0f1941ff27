"""The arithmetic of the idempotency benchmark."""

import os
import unittest

from benchmark import idempotency


def a_round(plain, key, sequence):
    return {"plain": {"per_second": plain}, "key": {"per_second": key}, "sequence": {"per_second": sequence}}


class CostTests(unittest.TestCase):
    def test_cost_is_the_median_of_the_rounds_own_ratios(self):
        rounds = [a_round(1000, 800, 1000), a_round(100, 85, 95), a_round(10, 9, 5)]
        self.assertAlmostEqual(idempotency.cost(rounds, "key"), 0.15)
        self.assertAlmostEqual(idempotency.cost(rounds, "sequence"), 0.05)

    def test_cpu_of_a_process_grows_with_its_work(self):
        before = idempotency.cpu_seconds(os.getpid())
        while idempotency.cpu_seconds(os.getpid()) == before:
            pass
        self.assertGreater(idempotency.cpu_seconds(os.getpid()), before)

    def test_each_kind_has_a_script_of_its_own(self):
        scripts = {idempotency.SCRIPT.format(kind=kind) for kind in idempotency.KINDS}
        self.assertEqual(len(scripts), 3)
        self.assertTrue(all("{{" not in script for script in scripts))


if __name__ == "__main__":
    unittest.main()
