"""A Debian package of the entries: the same bytes from the same entries and time."""

import email.utils
import gzip
import hashlib
import os
import pathlib
import subprocess
import tempfile

from packages import contents

SOURCES = contents.ROOT / "Packaging/debian"
SCRIPTS = ("postinst", "prerm", "postrm")

# For tests, where it is thrown away.
FAST = ("-Znone",)
SMALL = ("-Zxz",)


def architecture() -> str:
    return _output(["dpkg", "--print-architecture"]).strip()


def changelog(version: str, maintainer: str, when: int) -> bytes:
    """In Debian's form, which says no more than where the real one is."""
    text = (
        f"postrider ({version}) stable; urgency=medium\n\n"
        "  * What changed is in CHANGELOG.md.gz, beside this file.\n\n"
        f" -- {maintainer}  {email.utils.formatdate(when)}\n"
    )
    return gzip.compress(text.encode(), 9, mtime=0)


def control(values: dict[str, str]) -> str:
    text = (SOURCES / "control").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def build(
    entries: list[contents.Entry], version: str, maintainer: str, when: int, output: pathlib.Path, compression=SMALL
) -> pathlib.Path:
    """when: seconds since 1970, of every file. Returns the package's path."""
    machine = architecture()
    entries = sorted(
        [
            *entries,
            contents.Entry("/usr/share/doc/postrider/changelog.gz", 0o644, changelog(version, maintainer, when)),
            contents.Entry(
                "/usr/share/lintian/overrides/postrider", 0o644, (SOURCES / "lintian-overrides").read_bytes()
            ),
        ],
        key=lambda entry: entry.path,
    )
    with tempfile.TemporaryDirectory(prefix="postrider-deb-") as folder:
        tree = pathlib.Path(folder) / "tree"
        tree.mkdir()
        for entry in entries:
            _write(tree / entry.path.lstrip("/"), entry.mode, entry.data)
        settings = [entry.path for entry in entries if entry.path.startswith("/etc/")]
        values = {
            "VERSION": version,
            "ARCHITECTURE": machine,
            "MAINTAINER": maintainer,
            "INSTALLED_KIB": str(sum(-(-len(entry.data) // 1024) for entry in entries)),
            "DEPENDS": _depends(tree / "usr/bin/postrider", pathlib.Path(folder)),
        }
        sums = "".join(
            f"{hashlib.md5(entry.data).hexdigest()}  {entry.path[1:]}\n"
            for entry in entries
            if entry.path not in settings
        )
        _write(tree / "DEBIAN/control", 0o644, control(values).encode())
        _write(tree / "DEBIAN/conffiles", 0o644, "".join(f"{path}\n" for path in settings).encode())
        _write(tree / "DEBIAN/md5sums", 0o644, sums.encode())
        for name in SCRIPTS:
            _write(tree / "DEBIAN" / name, 0o755, (SOURCES / name).read_bytes())
        for path in [tree, *tree.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
            os.utime(path, (when, when))
        package = output / f"postrider_{version}_{machine}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", *compression, "--build", tree, package],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(when)},
        )
    return package


def _depends(program: pathlib.Path, folder: pathlib.Path) -> str:
    """The packages of the libraries that it needs, with the versions that have every symbol of theirs it uses."""
    (folder / "debian").mkdir()
    (folder / "debian/control").write_text("Source: postrider\n\nPackage: postrider\nArchitecture: any\n")
    line = _output(["dpkg-shlibdeps", "-O", f"-e{program}"], cwd=folder)
    return line.strip().removeprefix("shlibs:Depends=")


def _write(path: pathlib.Path, mode: int, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def _output(command, cwd=None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        raise contents.Failed(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout
