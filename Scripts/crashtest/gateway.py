"""The process under test: started, killed, started again."""

import http.client
import json
import re
import signal
import socket
import subprocess
import threading
import time

READY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 60
# The broker may take its time for a change of topics.
CALL_SECONDS_MAX = 20
LOG_TAIL_BYTES = 8000


class Failed(Exception):
    """The gateway did what no crash explains."""


class Gateway:
    def __init__(self, binary, data_directory, log_path, arguments=(), settled_statuses=()):
        """settled_statuses: of a receipt that nobody can say more about, besides those that tell its state."""
        self.binary = binary
        self.settled_statuses = settled_statuses
        self.data_directory = data_directory
        self.log_path = log_path
        self.arguments = list(arguments)
        self.port = free_port()
        # Clients wait for it instead of hammering a port that nobody listens on.
        self.up = threading.Event()
        self._process = None

    def start(self):
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def command(self):
        serve = [self.binary, "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.data_directory]
        return [str(word) for word in serve + self.arguments]

    def wait_until_ready(self):
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            status = self._process.poll()
            if status is not None:
                raise Failed(f"the gateway exited with status {status} while starting\n{self.log_tail()}")
            try:
                if self.get("/readyz")[0] == 200:
                    self.up.set()
                    return
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > deadline:
                raise Failed(f"not ready after {READY_SECONDS_MAX} s\n{self.log_tail()}")
            time.sleep(0.02)

    @property
    def pid(self):
        return self._process.pid

    def has_exited(self):
        return self._process.poll() is not None

    def kill(self):
        self.up.clear()
        self._process.kill()
        status = self._process.wait()
        if status != -signal.SIGKILL:
            raise Failed(f"the gateway exited by itself with status {status}\n{self.log_tail()}")

    def freeze(self):
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def stop(self, under_load=False):
        """As an operator does: SIGTERM, and it must end well. under_load: clients go on asking until it is gone."""
        if not under_load:
            self.up.clear()
        self._process.terminate()
        try:
            status = self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise Failed(f"still running {STOP_SECONDS_MAX} s after SIGTERM\n{self.log_tail()}") from None
        finally:
            self.up.clear()
        if status != 0:
            raise Failed(f"exit status {status} after SIGTERM\n{self.log_tail()}")

    def abandon(self):
        """Whatever happened: leaves no process behind."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def get(self, path):
        return self.call("GET", path)

    def call(self, method, path, body=None):
        """body: JSON. Returns (status, bytes)."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=CALL_SECONDS_MAX)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def is_drained(self):
        """Whether everything accepted is settled, as the lanes' lag says: it counts a record from before its 202 on."""
        lags = self.lags()
        return bool(lags) and not any(lags.values())

    def lags(self):
        """{lane: records that are not settled}; none when it does not answer."""
        try:
            status, body = self.get("/metrics")
        except (OSError, http.client.HTTPException):
            return {}
        return lane_lags(body.decode()) if status == 200 else {}

    def unsettled(self, receipts):
        """Those that do not say what became of their record; also those that nobody can be asked about."""
        return [receipt for receipt in receipts if not self._is_settled(receipt)]

    def _is_settled(self, receipt):
        try:
            status, body = self.get(f"/v1/receipts/{receipt}")
        except (OSError, http.client.HTTPException):
            return False
        if status != 200:
            return status in self.settled_statuses
        answer = json.loads(body)
        return bool({"delivered", "dead"} & {value for value in answer.values() if isinstance(value, str)})

    def log_tail(self):
        with open(self.log_path, "rb") as log:
            return log.read()[-LOG_TAIL_BYTES:].decode(errors="replace")


def lane_lags(metrics):
    """metrics: Prometheus text."""
    lags = re.findall(r'^postrider_lane_lag_records\{lane="(\d+)"\} (\S+)$', metrics, re.MULTILINE)
    return {int(lane): float(lag) for lane, lag in lags}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
