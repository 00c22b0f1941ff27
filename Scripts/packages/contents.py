"""What a package puts on a machine: each file with its place, its mode and its bytes."""

import dataclasses
import functools
import gzip
import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# Holds the data directory; the account's home.
STATE_DIRECTORY = "/var/lib/postrider"

# What differs from the defaults in the configuration of a service.
SERVICE_SETTINGS = {"data_dir": f"{STATE_DIRECTORY}/data", "log.format": "json"}

# Beside the pages of docs/: what somebody who runs it takes from.
EXAMPLES = {
    "examples/prometheus/prometheus.yml": "Docker/prometheus/prometheus.yml",
    "examples/prometheus/alerts.yml": "Docker/prometheus/alerts.yml",
    "examples/grafana/postrider.json": "Docker/grafana/postrider.json",
    "examples/haproxy.cfg": "Docker/haproxy.cfg",
    "examples/nginx.conf": "Docker/nginx.conf",
    "examples/envoy.yaml": "Docker/envoy.yaml",
    "openapi/postrider.yaml": "OpenAPI/postrider.yaml",
}


class Failed(Exception):
    """No package can be made of this."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where things go: prefix and etc are places on the machine."""

    prefix: str
    etc: str
    zsh: str


DEBIAN = Layout("/usr", "/etc", "share/zsh/vendor-completions")
LOCAL = Layout("/usr/local", "/usr/local/etc", "share/zsh/site-functions")


@dataclasses.dataclass(frozen=True)
class Entry:
    """path: on the machine, absolute."""

    path: str
    mode: int
    data: bytes


class Program:
    """The binary, and what it says of itself."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.version = self._ask("--version").strip()
        if not re.fullmatch(r"[0-9][0-9A-Za-z.+~]*", self.version):
            raise Failed(f"{self.version!r} cannot be the version of a package")

    def _ask(self, *arguments: str) -> str:
        return subprocess.run([self.path, *arguments], check=True, capture_output=True, text=True).stdout

    def reference(self) -> str:
        return self._ask("config", "reference", "--yaml")

    def completion(self, shell: str) -> str:
        return self._ask("--generate-completion-script", shell)

    def man_page(self) -> str:
        command = [ROOT / "Scripts/man", "--binary", self.path]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    @functools.cached_property
    def stripped(self) -> bytes:
        """Without symbols. What it needs of Swift has to be in it: no package has Swift's libraries."""
        with tempfile.TemporaryDirectory(prefix="postrider-strip-") as folder:
            copy = pathlib.Path(folder) / "postrider"
            subprocess.run(["strip", "--strip-all", "-o", copy, self.path], check=True)
            dynamic = subprocess.run(["readelf", "-d", copy], check=True, capture_output=True, text=True).stdout
            foreign = [name for name in needed(dynamic) if name.startswith(("libswift", "libFoundation", "lib_Found"))]
            if foreign:
                raise Failed(f"{self.path} needs {', '.join(foreign)}: build it with --static-swift-stdlib")
            return copy.read_bytes()


def needed(dynamic: str) -> list[str]:
    """The libraries in what `readelf -d` prints."""
    return re.findall(r"\(NEEDED\)\s+Shared library: \[([^\]]+)\]", dynamic)


def configuration(reference: str, settings: dict[str, str]) -> str:
    """The file of `config reference --yaml` with some settings set, which are there behind a # each."""
    lines, open_settings, section = [], dict(settings), []
    for line in reference.splitlines():
        indent = len(line) - len(line.lstrip(" "))
        if found := re.fullmatch(r" *([a-z_]+):", line):
            section = section[: indent // 2] + [found[1]]
        elif found := re.fullmatch(r" *#([a-z_]+): .*", line):
            name = ".".join(section[: indent // 2] + [found[1]])
            if name in open_settings:
                line = f"{' ' * indent}{found[1]}: {open_settings.pop(name)}"
        lines.append(line)
    if open_settings:
        raise Failed(f"the reference has no {', '.join(open_settings)}")
    return "\n".join(lines) + "\n"


def notices(checkouts: pathlib.Path) -> bytes:
    """What the licenses of the packages that are linked ask to be handed on."""
    found = sorted([*checkouts.glob("*/NOTICE*"), *checkouts.glob("Yams/LICENSE")])
    if not found:
        raise Failed(f"there are no notices of packages under {checkouts}")
    return b"\n".join(f"{path.parent.name}\n\n".encode() + path.read_bytes() for path in found)


def unit(layout: Layout) -> str:
    text = (ROOT / "Packaging/postrider.service").read_text()
    text = text.split("\n", 1)[1]
    return text.replace("@BIN@", f"{layout.prefix}/bin/postrider").replace(
        "@CONFIG@", f"{layout.etc}/postrider/postrider.yaml"
    )


def sourced(script: str) -> str:
    """Without the line that names an interpreter: it is never run by itself."""
    return script.split("\n", 1)[1] if script.startswith("#!") else script


def compressed(text: str) -> bytes:
    return gzip.compress(text.encode(), 9, mtime=0)


def entries(program: Program, layout: Layout, checkouts: pathlib.Path) -> list[Entry]:
    """In the order of their paths."""
    share = f"{layout.prefix}/share"
    doc = f"{share}/doc/postrider"
    found = [
        Entry(f"{layout.prefix}/bin/postrider", 0o755, program.stripped),
        Entry(
            f"{layout.etc}/postrider/postrider.yaml",
            0o644,
            configuration(program.reference(), SERVICE_SETTINGS).encode(),
        ),
        Entry(f"{layout.prefix}/lib/systemd/system/postrider.service", 0o644, unit(layout).encode()),
        Entry(f"{share}/man/man1/postrider.1.gz", 0o644, compressed(program.man_page())),
        Entry(f"{share}/bash-completion/completions/postrider", 0o644, sourced(program.completion("bash")).encode()),
        Entry(f"{layout.prefix}/{layout.zsh}/_postrider", 0o644, program.completion("zsh").encode()),
        Entry(f"{share}/fish/vendor_completions.d/postrider.fish", 0o644, program.completion("fish").encode()),
        Entry(f"{doc}/copyright", 0o644, (ROOT / "Packaging/debian/copyright").read_bytes()),
        Entry(f"{doc}/NOTICE", 0o644, notices(checkouts)),
        Entry(f"{doc}/README.md", 0o644, (ROOT / "README.md").read_bytes()),
        Entry(f"{doc}/CHANGELOG.md.gz", 0o644, compressed((ROOT / "CHANGELOG.md").read_text())),
    ]
    for path in sorted((ROOT / "docs").glob("*.md")):
        found.append(Entry(f"{doc}/docs/{path.name}", 0o644, path.read_bytes()))
    for path in sorted((ROOT / "docs/examples").iterdir()):
        if path.suffix in {".sh", ".py", ".mjs"}:
            found.append(Entry(f"{doc}/docs/examples/{path.name}", 0o755, path.read_bytes()))
    for place, source in EXAMPLES.items():
        found.append(Entry(f"{doc}/{place}", 0o644, (ROOT / source).read_bytes()))
    return sorted(found, key=lambda entry: entry.path)
