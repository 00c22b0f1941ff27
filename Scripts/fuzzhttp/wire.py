"""Reads responses strictly: what a careful client would stumble over is an error (RFC 9112)."""

import dataclasses
import json
import re
import zlib

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9]) [\t\x20-\x7e]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t\x20-\x7e\x80-\xff]*)")
_CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
HEAD_BYTES_MAX = 32 << 10


class Malformed(Exception):
    """A response that breaks the rules; says which."""


@dataclasses.dataclass
class Response:
    status: int
    headers: dict  # names in lower case; the values of a repeated one joined with ", "
    body: bytes

    @property
    def json(self):
        """The body, when it says it is JSON; else None."""
        media = self.headers.get("content-type", "").split(";")[0]
        if media not in ("application/json", "application/problem+json") or not self.body:
            return None
        return strict_json(self.body)

    @property
    def is_gateways(self):
        """Made by Postrider and not by the HTTP library below it."""
        return "postrider-request-id" in self.headers


def strict_json(text):
    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    try:
        return json.loads(text.decode("utf-8"), parse_constant=refuse)
    except ValueError as error:
        raise Malformed(f"a body that is no JSON: {error}: {text[:200]!r}") from None


def parse(buffer, start=0, is_head=False, is_closed=False):
    """The response at `start` as (Response, where the next one begins); None while some of it is to come.

    is_head: it answers HEAD. is_closed: nothing more will come, which ends a body without a length.
    """
    end = buffer.find(b"\r\n\r\n", start)
    if end < 0:
        if len(buffer) - start > HEAD_BYTES_MAX:
            raise Malformed("a head without an end")
        if not b"HTTP/1.1 ".startswith(buffer[start : start + 9]):
            raise Malformed(f"no status line: {buffer[start : start + 60]!r}")
        return None
    status, headers = _head(buffer[start:end])
    position = end + 4
    if is_head or status < 200 or status in (204, 304):
        if status < 200 and ("content-length" in headers or "transfer-encoding" in headers):
            raise Malformed(f"{status} with a body")
        return Response(status, headers, b""), position
    found = _body(buffer, position, headers, is_closed)
    if found is None:
        return None
    body, position = found
    return Response(status, headers, _decoded(body, headers)), position


def _head(text):
    lines = text.split(b"\r\n")
    line = _STATUS_LINE.fullmatch(lines[0])
    if line is None:
        raise Malformed(f"status line {lines[0][:80]!r}")
    headers = {}
    for field in lines[1:]:
        match = _FIELD.fullmatch(field)
        if match is None:
            raise Malformed(f"header field {field[:80]!r}")
        name = match[1].decode().lower()
        value = match[2].decode("latin-1").strip()
        if name in headers and name in ("content-length", "transfer-encoding", "content-type"):
            raise Malformed(f"more than one {name}")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return int(line[1]), headers


def _body(buffer, start, headers, is_closed):
    length = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if coding != "chunked" or length is not None:
            raise Malformed(f"Transfer-Encoding {coding!r} with Content-Length {length!r}")
        return _chunks(buffer, start)
    if length is None:
        if headers.get("connection", "").lower() != "close":
            raise Malformed("a body that has no end")
        return (buffer[start:], len(buffer)) if is_closed else None
    if re.fullmatch("[0-9]{1,18}", length) is None:
        raise Malformed(f"Content-Length {length!r}")
    end = start + int(length)
    return (buffer[start:end], end) if len(buffer) >= end else None


def _chunks(buffer, start):
    body = []
    while True:
        end = buffer.find(b"\r\n", start)
        if end < 0:
            return None
        size = buffer[start:end]
        if re.fullmatch(rb"[0-9A-Fa-f]{1,15}", size) is None:
            raise Malformed(f"chunk size {size[:40]!r}")
        data, start = end + 2, end + 2 + int(size, 16) + 2
        if len(buffer) < start:
            return None
        if buffer[start - 2 : start] != b"\r\n":
            raise Malformed("a chunk that is longer than it says")
        if data + 2 == start:
            return b"".join(body), start
        body.append(buffer[data : start - 2])


def _decoded(body, headers):
    coding = headers.get("content-encoding")
    if coding is None:
        return body
    if coding != "gzip":
        raise Malformed(f"Content-Encoding {coding!r}")
    try:
        reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
        text = reader.decompress(body)
    except zlib.error as error:
        raise Malformed(f"a body that is no gzip: {error}") from None
    if not reader.eof or reader.unused_data:
        raise Malformed("a gzip that ends too early or too late")
    return text


def check_meaning(response, is_head):
    """Raises Malformed for a response of Postrider's that a client could not act on."""
    document = None if is_head else response.json
    if response.status < 400 or is_head:
        return
    if response.headers.get("content-type") != "application/problem+json" or not isinstance(document, dict):
        raise Malformed(f"{response.status} without a problem document: {response.body[:200]!r}")
    code = document.get("code")
    if document.get("status") != response.status or not isinstance(document.get("retryable"), bool):
        raise Malformed(f"a problem that contradicts itself: {response.body[:200]!r}")
    if not isinstance(code, str) or _CODE.fullmatch(code) is None:
        raise Malformed(f"a problem without a code: {response.body[:200]!r}")
    if response.status in (429, 503, 507) and "retry-after" not in response.headers:
        raise Malformed(f"{response.status} {code} without Retry-After")
