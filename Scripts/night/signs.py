"""What the gateway itself said: its metrics while a scene went on, and the lines of its log."""

import collections
import dataclasses
import http.client
import json
import re
import threading

SAMPLE_SECONDS = 0.2
LINE = re.compile(r"^([a-z0-9_:]+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
# Eight lanes tell the same: they are added up, gauges by the greatest.
FOLDED = ("lane",)
# The severest first. Of `info` only refused requests are told.
LEVELS = ("critical", "error", "warning", "notice", "info")
REQUESTS = "postrider.requests"
LINES_MAX = 14


def parse(text):
    """{(name, labels): value} of Prometheus text; labels: ((name, value), …) without those of FOLDED."""
    values = {}
    for line in text.splitlines():
        found = LINE.match(line)
        if not found:
            continue
        name, labels, value = found[1], LABEL.findall(found[2] or ""), float(found[3])
        series = name, tuple(label for label in labels if label[0] not in FOLDED)
        if series in values:
            value = values[series] + value if is_counter(name) else max(values[series], value)
        values[series] = value
    return values


def is_counter(name):
    return name.endswith(("_total", "_count", "_sum", "_bucket"))


@dataclasses.dataclass
class Track:
    """One series while it was looked at."""

    lowest: float = 0.0
    last: float = 0.0
    peak: float = 0.0
    increase: float = 0.0

    def add(self, value, is_first):
        """A counter that became smaller began anew, as its process did. is_first: of this process."""
        self.increase += value if is_first or value < self.last else value - self.last
        self.last = value
        self.lowest = min(self.lowest, value)
        self.peak = max(self.peak, value)


class Metrics:
    """What samples tell; pure."""

    def __init__(self):
        self.tracks = {}
        self.samples = 0

    def add(self, values):
        self.samples += 1
        # Gauges with a label for a state are there only while it lasts.
        for series, track in self.tracks.items():
            if series not in values and not is_counter(series[0]):
                track.last = track.lowest = 0.0
        for series, value in values.items():
            is_first = series not in self.tracks
            # One that comes later was 0 before.
            new = Track(lowest=value if self.samples == 1 else 0.0)
            self.tracks.setdefault(series, new).add(value, is_first)

    def _of(self, name, labels):
        return [
            track for (other, others), track in self.tracks.items()
            if other == name and labels.items() <= dict(others).items()
        ]

    def knows(self, name):
        return any(other == name for other, _ in self.tracks)

    def increase(self, name, **labels):
        return sum(track.increase for track in self._of(name, labels))

    def peak(self, name, **labels):
        return max((track.peak for track in self._of(name, labels)), default=0.0)

    def last(self, name, **labels):
        return max((track.last for track in self._of(name, labels)), default=0.0)

    def lines(self, names):
        """For people: those of the series that moved."""
        lines = []
        for (name, labels), track in sorted(self.tracks.items()):
            if name not in names or track.peak == track.lowest:
                continue
            told = "{" + ",".join(f'{label}="{value}"' for label, value in labels) + "}" if labels else ""
            if is_counter(name):
                lines.append(f"{name}{told} +{track.increase:,.0f}")
            else:
                least = f"{track.lowest:,.4g} to " if track.lowest else ""
                lines.append(f"{name}{told} {least}{track.peak:,.4g}, at the end {track.last:,.4g}")
        return lines


class Recorder(threading.Thread):
    """Looks at a gateway's metrics again and again, as Prometheus does, from when it is up until `stop`."""

    def __init__(self, gateway):
        super().__init__(name="metrics", daemon=True)
        self.metrics = Metrics()
        self._gateway = gateway
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def run(self):
        while not self._stopping.wait(SAMPLE_SECONDS):
            if self._gateway.up.is_set():
                self.look()

    def look(self):
        """Now. Returns whether there was an answer."""
        try:
            status, body = self._gateway.get("/metrics")
        except (OSError, http.client.HTTPException):
            return False
        if status != 200:
            return False
        with self._lock:
            self.metrics.add(parse(body.decode()))
        return True

    def stop(self):
        self._stopping.set()
        if self.is_alive():
            self.join()


@dataclasses.dataclass(frozen=True)
class Said:
    level: str
    logger: str
    message: str
    code: str


def read_log(text):
    """Returns ({Said: count}, lines that are no log lines). text: JSON lines."""
    said, others = collections.Counter(), []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            key = Said(entry["level"], entry["logger"], entry["message"], str(entry.get("code", "")))
        except (ValueError, KeyError, TypeError):
            others.append(line)
            continue
        said[key] += int(entry.get("repeated", 1))
    return said, others


def log_lines(said):
    """For people: the severest first; what nobody needs to know is left out."""
    shown = [
        entry for entry in said
        if entry.level in LEVELS[:4] or entry.level == "info" and entry.logger == REQUESTS
    ]
    shown.sort(key=lambda entry: (LEVELS.index(entry.level), -said[entry]))
    lines = [
        f"{entry.level} × {said[entry]:,} {entry.logger}: {entry.message}" + (f" ({entry.code})" if entry.code else "")
        for entry in shown[:LINES_MAX]
    ]
    if len(shown) > LINES_MAX:
        lines.append(f"and {len(shown) - LINES_MAX} kinds more")
    return lines
