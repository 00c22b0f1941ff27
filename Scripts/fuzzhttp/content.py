"""What produced records hold: bytes that say by themselves whether they are as they were sent."""

import json
import re
import zlib

_FORM = re.compile(rb"pr:[a-z0-9.-]+:[a-z]*:([0-9a-f]{8})", re.ASCII)
_FILLER = b"abcdefghijklmnopqrstuvwxyz"


def make(identity, filler_bytes):
    """identity: letters, digits, dots and dashes; of its own for each record."""
    filler = (_FILLER * (filler_bytes // len(_FILLER) + 1))[:filler_bytes]
    head = b"pr:%s:%s:" % (identity.encode(), filler)
    return head + b"%08x" % zlib.crc32(head)


def is_intact(content):
    found = _FORM.fullmatch(content)
    return found is not None and int(found[1], 16) == zlib.crc32(content[: -len(found[1])])


def in_json(content):
    """The same as a JSON value."""
    return json.dumps({"pr": content.decode()}).encode()


def unwrapped(value):
    """The content of a record's bytes, whether it was sent plain or as JSON."""
    if value.startswith(b'{"pr":'):
        try:
            inner = json.loads(value)["pr"]
            return inner.encode() if isinstance(inner, str) else value
        except (ValueError, KeyError, UnicodeError):
            return value
    return value
