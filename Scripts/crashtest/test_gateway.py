"""What a crash is aimed at: threads that really stand still."""

import pathlib
import subprocess
import tempfile
import unittest

from crashtest import gateway


class Sleeping(gateway.Gateway):
    """Not a gateway: a process to be frozen."""

    def command(self):
        return ["sleep", "60"]


class FreezeTests(unittest.TestCase):
    def test_frozen_is_when_every_thread_stands_still(self):
        with tempfile.TemporaryDirectory() as directory:
            server = Sleeping("sleep", directory, pathlib.Path(directory) / "log")
            server.start()
            self.addCleanup(server.abandon)
            server.freeze()
            server.wait_until_frozen()
            self.assertEqual(set(gateway.thread_states(server.pid)), {"T"})
            server.thaw()
            server.kill()

    def test_states_are_read_whatever_a_thread_is_called(self):
        process = subprocess.Popen(["bash", "-c", 'exec -a ") T (" sleep 60'])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertTrue(all(state.isalpha() for state in gateway.thread_states(process.pid)))


if __name__ == "__main__":
    unittest.main()
