"""The parts of the attacks that need neither strace nor a disk."""

import itertools
import signal
import unittest

from attacks import filesystem, syscalls, under_load
from crashtest.gateway import Failed


class SyscallTests(unittest.TestCase):
    def test_sweep_meets_every_pair_with_growing_numbers(self):
        pairs = len(syscalls.CALLS) * len(syscalls.FAULTS)
        faults = list(itertools.islice(syscalls.sweep(), 10 * pairs))
        self.assertEqual({(fault.call, fault.what) for fault in faults[:pairs]},
                         set(itertools.product(syscalls.CALLS, syscalls.FAULTS)))
        self.assertEqual({fault.number for fault in faults[:pairs]}, {1})
        for fault in faults:
            self.assertLessEqual(fault.number, syscalls.CALLS[fault.call])
        numbers = [fault.number for fault in faults if (fault.call, fault.what) == ("fdatasync", "error=EIO")]
        self.assertEqual(numbers, [1, 2, 3, 5, 8, 13, 21, 34, 55, 60])

    def test_expression_is_what_strace_takes(self):
        fault = syscalls.Fault("fdatasync", "error=EIO", 3)
        self.assertEqual(fault.expression, "inject=fdatasync:error=EIO:when=3")

    def test_faults_are_counted_as_strace_tells_them(self):
        trace = "1 fdatasync(3) = -1 EIO (Input/output error) (INJECTED)\n1 fdatasync(3) = 0\n"
        self.assertEqual(syscalls.hits(trace, syscalls.Fault("fdatasync", "error=EIO", 1), 20), 1)
        kill = syscalls.Fault("fdatasync", "signal=KILL", 1)
        self.assertEqual(syscalls.hits("", kill, -signal.SIGKILL), 1)
        self.assertEqual(syscalls.hits("", kill, None), 0)


class StatusTests(unittest.TestCase):
    def test_documented_ends_pass(self):
        for status in (None, -signal.SIGKILL, *under_load.DISK_FAILURES):
            under_load.check_status(status, None)

    def test_traps_and_corruption_fail(self):
        class Log:
            def log_tail(self):
                return ""

        for status in (0, 21, -signal.SIGILL, -signal.SIGSEGV, -signal.SIGABRT):
            with self.assertRaises(Failed):
                under_load.check_status(status, Log())


class FileSystemTests(unittest.TestCase):
    def test_request_number_is_that_of_the_kernel(self):
        # _IOR('X', 125, __u32) of linux/fs/ext4/ext4.h
        self.assertEqual(filesystem.EXT4_IOC_SHUTDOWN, 0x8004587D)


if __name__ == "__main__":
    unittest.main()
