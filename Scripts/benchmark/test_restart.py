"""What a start is measured by, and where it is too much."""

import unittest

from benchmark import restart
from benchmark.common import Invalid


class RestartTests(unittest.TestCase):
    GOOD = {"accept_seconds": 0.4, "read_bytes": 100 << 20, "disk_bytes": 0, "memory_bytes": 150 << 20}

    def test_numbers_of_proc_are_bytes(self):
        self.assertEqual(restart.field("Name:\tpostrider\nVmHWM:\t   1024 kB\nVmRSS:\t 7 kB\n", "VmHWM"), 1 << 20)
        self.assertEqual(restart.field("rchar: 17\nread_bytes: 4096\n", "read_bytes"), 4096)
        with self.assertRaises(Invalid):
            restart.field("rchar: 17\n", "read_bytes")

    def test_what_keeps_the_bounds_is_good(self):
        self.assertEqual(restart.faults(self.GOOD), [])

    def test_each_bound_is_held(self):
        for name, value in (("accept_seconds", 2.1), ("read_bytes", 193 << 20), ("memory_bytes", 257 << 20)):
            wrong = restart.faults({**self.GOOD, name: value})
            self.assertEqual(len(wrong), 1)
            self.assertIn(name, wrong[0])

    def test_a_busy_machine_may_have_another_bound_of_time(self):
        slow = {**self.GOOD, "accept_seconds": 7.0}
        self.assertEqual(len(restart.faults(slow, accept_seconds_max=6)), 1)
        self.assertEqual(restart.faults(slow, accept_seconds_max=8), [])


if __name__ == "__main__":
    unittest.main()
