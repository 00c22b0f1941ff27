"""Makes a bad request of a good one."""

import re

_INTERESTING = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"%00", b"%2F", b"%zz", b"\xff", b"\xc3\x28", b"../", b'"',
    b"{", b"]", b"\r\n ", b"\r\n\r\n", b"&", b"=", b"#", b",", b"null", b"1e999", b"\\ud800",
]  # fmt: skip
_NUMBERS = [
    b"0", b"-1", b"00", b"1.5", b"2147483648", b"9223372036854775808", b"99999999999999999999", b"0x10", b"1e3", b"",
]  # fmt: skip
_FIELDS = [
    b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: 5, 5", b"Content-Length: -1",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding : chunked",
    b"Host: evil.example", b"Expect: 100-continue", b"Expect: a-miracle", b"Connection: close",
    b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"A: " + b"a" * 20000, b"Origin: https://evil.example",
    b"Sec-Fetch-Site: cross-site", b" folded: yes", b"A : b", b"NoColon", b": empty", b"Accept-Encoding: gzip;q=x,,;",
    b"Content-Encoding: gzip", b"Prefer: wait=-1", b"Prefer: wait=" + b"9" * 400, b"Idempotency-Key: a",
    b'Idempotency-Key: "a', b"Idempotency-Key: " + b"k" * 300, b"Postrider-Producer: p\r\nPostrider-Sequence: 1",
    b"Postrider-Sequence: x", b"Postrider-Header-: a", b"Postrider-Header-a\0: b", b"Range: bytes=0-1",
    b"Access-Control-Request-Method: POST", b"If-None-Match: *", b"Cookie: a=" + b"b" * 12000,
]  # fmt: skip
_LINES = [
    b"GET / HTTP/1.0", b"PRI * HTTP/2.0", b"TRACE / HTTP/1.1", b"CONNECT a:80 HTTP/1.1", b"OPTIONS * HTTP/1.1",
    b"GET http://evil.example/ HTTP/1.1", b"GET /" + b"a" * 20000 + b" HTTP/1.1", b"get / HTTP/1.1",
    b"GET / HTTP/9.9", b"GET /%2e%2e/ HTTP/1.1", b"GET  /  HTTP/1.1", b"GET /", b"\x16\x03\x01\x02\x00",
    b"POST /v1/topics/%00 HTTP/1.1", b"GET /a b HTTP/1.1",
]  # fmt: skip
CHANGES_MAX = 3


def mutated(random, request):
    """Never the request itself."""
    while True:
        changed = request
        for _ in range(random.randint(1, CHANGES_MAX)):
            changed = random.choice(_MUTATIONS)(random, changed)
        if changed != request:
            return changed


def _position(random, text):
    return random.randint(0, len(text))


def _slice(random, text):
    start = _position(random, text)
    return start, min(len(text), start + random.choice([1, 2, random.randint(1, 60)]))


def _flip(random, text):
    at = _position(random, text)
    return text[:at] + bytes([random.randrange(256)]) + text[at + 1 :]


def _insert(random, text):
    at = _position(random, text)
    return text[:at] + random.choice(_INTERESTING) + text[at:]


def _remove(random, text):
    start, end = _slice(random, text)
    return text[:start] + text[end:]


def _repeat(random, text):
    start, end = _slice(random, text)
    return text[:end] + text[start:end] * random.choice([1, 2, 50]) + text[end:]


def _cut(random, text):
    return text[: _position(random, text)]


def _number(random, text):
    numbers = list(re.finditer(rb"[0-9]+", text))
    if not numbers:
        return text
    found = random.choice(numbers)
    return text[: found.start()] + random.choice(_NUMBERS) + text[found.end() :]


def _field(random, text):
    end = text.find(b"\r\n")
    return text if end < 0 else text[: end + 2] + random.choice(_FIELDS) + b"\r\n" + text[end + 2 :]


def _swap(random, text):
    head, separator, body = text.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    random.shuffle(lines)
    return b"\r\n".join(lines) + separator + body


def _twice(random, text):
    head, separator, body = text.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    lines.insert(_position(random, lines), random.choice(lines))
    return b"\r\n".join(lines) + separator + body


def _line(random, text):
    _, separator, rest = text.partition(b"\r\n")
    return random.choice(_LINES) + separator + rest


def _deep(random, text):
    head, separator, _ = text.partition(b"\r\n\r\n")
    depth = random.choice([63, 64, 65, 2000])
    body = b'{"records":' + b"[" * depth + b"]" * depth + b"}"
    return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head) + separator + body


_MUTATIONS = [
    _flip, _flip, _insert, _insert, _remove, _repeat, _cut, _number, _field, _field, _swap, _twice, _line, _deep,
]  # fmt: skip
