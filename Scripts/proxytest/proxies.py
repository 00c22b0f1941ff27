"""The proxies of Docker/, as they are but for addresses, in front of two backends."""

import pathlib
import re
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
START_SECONDS_MAX = 15

# Name, file, and how it is started with a configuration in a folder of its own.
KINDS = {
    "haproxy": ("haproxy.cfg", lambda path, _: ["haproxy", "-db", "-f", path]),
    "nginx": (
        "nginx.conf",
        lambda path, folder: ["nginx", "-c", path, "-g", f"daemon off; pid {folder}/pid; error_log {folder}/log;"],
    ),
    "envoy": ("envoy.yaml", lambda path, _: ["envoy", "-c", path, "--use-dynamic-base-id"]),
}


class Failed(Exception):
    """A proxy does what its configuration promises that it does not."""


def rendered(text: str, port: int, backends: list[int]) -> str:
    """The same with the proxy on a port of this machine and its gateways on others."""
    text = re.sub(r"\bbind :8080", f"bind 127.0.0.1:{port}", text)
    text = re.sub(r"\blisten 8080;", f"listen 127.0.0.1:{port};", text)
    text = text.replace("{address: 0.0.0.0, port_value: 8080}", f"{{address: 127.0.0.1, port_value: {port}}}")
    for number, backend in enumerate(backends, 1):
        text = text.replace(f"gateway-{number}:8080", f"127.0.0.1:{backend}")
        text = text.replace(
            f"{{address: gateway-{number}, port_value: 8080}}", f"{{address: 127.0.0.1, port_value: {backend}}}"
        )
    return text


class Proxy:
    def __init__(self, kind: str, backends: list[int], folder: pathlib.Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        name, command = KINDS[kind]
        path = folder / name
        path.write_text(rendered((ROOT / "Docker" / name).read_text(), self.port, backends))
        self._log = open(folder / "output", "wb")
        self._process = subprocess.Popen(
            [str(word) for word in command(path, folder)], stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise Failed(f"{kind} does not start: {(folder / 'output').read_text()}") from None
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(10)
        self._log.close()
