"""Where memory is over its bounds."""

import unittest

from benchmark import memory
from benchmark.restart import MIB


class MemoryTests(unittest.TestCase):
    GOOD = {"idle": 100 * MIB, "backlog": 200 * MIB, "restart": 200 * MIB, "drain": 200 * MIB}

    def test_what_keeps_the_bounds_is_good(self):
        self.assertEqual(memory.faults(self.GOOD), [])

    def test_each_bound_is_held(self):
        for phase, bound in self.GOOD.items():
            wrong = memory.faults({**self.GOOD, phase: bound + MIB})
            self.assertEqual(wrong, [f"{phase}: {bound // MIB + 1} MiB, the bound is {bound // MIB} MiB"])


if __name__ == "__main__":
    unittest.main()
