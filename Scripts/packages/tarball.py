"""The same tree for a machine without dpkg: to be unpacked under /usr/local."""

import gzip
import io
import pathlib
import tarfile

from packages import contents


def build(
    entries: list[contents.Entry], version: str, machine: str, when: int, output: pathlib.Path, level: int = 9
) -> pathlib.Path:
    """entries: of contents.LOCAL, all of them under its prefix; level: of gzip. Returns the archive's path."""
    top = f"postrider-{version}"
    archive = output / f"{top}-linux-{machine}.tar.gz"
    with (
        open(archive, "wb") as file,
        gzip.GzipFile("", "wb", level, file, mtime=when) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        folders = set()
        for entry in entries:
            path = pathlib.PurePosixPath(top) / pathlib.PurePosixPath(entry.path).relative_to(contents.LOCAL.prefix)
            for folder in reversed(path.parents[:-1]):
                if folder not in folders:
                    folders.add(folder)
                    tar.addfile(_member(str(folder), 0o755, when, tarfile.DIRTYPE))
            member = _member(str(path), entry.mode, when, tarfile.REGTYPE)
            member.size = len(entry.data)
            tar.addfile(member, io.BytesIO(entry.data))
    return archive


def _member(name: str, mode: int, when: int, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.mtime = kind, mode, when
    member.uname = member.gname = "root"
    return member
