"""Valid requests over all routes, as bytes."""

import base64
import dataclasses
import json
import urllib.parse

from fuzzhttp import content

# Only produced to and read: at the end everything accepted must be in them.
KEPT = [f"kept-{number}" for number in range(4)]
# Created, purged and deleted.
SCRATCH = [f"scratch-{number}" for number in range(3)]
CONSUMERS = [f"reader-{number}" for number in range(3)]
FILLER_BYTES_MAX = 600
BATCH_RECORDS_MAX = 8
POOL_MAX = 200


@dataclasses.dataclass
class Request:
    method: str
    bytes: bytes
    # Of records for topics that are kept: what they hold.
    contents: list = dataclasses.field(default_factory=list)
    # Of a poll: the consumer, for its acknowledgement.
    consumer: str | None = None

    @property
    def is_head(self):
        return self.method == "HEAD"


class Grammar:
    """Makes requests; remembers a few receipts and acknowledgement tokens of answers, for later ones."""

    def __init__(self, prefix, host):
        self._prefix = prefix
        self._host = host
        self._records = 0
        self._receipts = ["abcdefgh-1"]
        self._tokens = [(CONSUMERS[0], "none")]

    def learn(self, request, document):
        """document: a 2xx answer's JSON."""
        if not isinstance(document, dict):
            return
        for receipt in document.get("receipts") or []:
            # (A query answers with outcomes.)
            if isinstance(receipt, str):
                self._keep(self._receipts, receipt)
        if request.consumer is not None and document.get("ack"):
            self._keep(self._tokens, (request.consumer, document["ack"]))

    @staticmethod
    def _keep(pool, item):
        pool.append(item)
        if len(pool) > POOL_MAX:
            del pool[: POOL_MAX // 2]

    def request(self, random):
        makers, weights = zip(*self._TABLE)
        return random.choices(makers, weights)[0](self, random)

    # MARK: Producing

    def _content(self, random):
        self._records += 1
        filler_bytes = random.choice([0, 20, random.randint(0, FILLER_BYTES_MAX)])
        return content.make(f"{self._prefix}.{self._records}", filler_bytes)

    def _raw(self, random):
        item = self._content(random)
        topic = random.choice(KEPT)
        query = {}
        headers = []
        if random.random() < 0.4:
            query["key"] = random.choice(["a", "b/c", "ü", ""])
        elif random.random() < 0.2:
            headers.append(("Postrider-Key", f"k{random.randint(0, 9)}"))
        elif random.random() < 0.2:
            query["partition"] = str(random.randint(0, 3))
        if random.random() < 0.3:
            headers.append(("Postrider-Header-trace", "x" * random.randint(0, 30)))
        if random.random() < 0.5:
            headers.append(("Content-Type", random.choice(["text/plain", "application/octet-stream"])))
        if random.random() < 0.2:
            headers.append(("Idempotency-Key", f'"{self._prefix}.{self._records}"'))
        self._prefer(random, headers)
        return self._make(random, "POST", f"/v1/topics/{topic}", query, headers, item, contents=[item])

    def _record(self, random, item):
        record = random.choice(
            [
                lambda: {"value_text": item.decode()},
                lambda: {"value_base64": base64.b64encode(item).decode()},
                lambda: {"value": {"pr": item.decode()}},
            ]
        )()
        if random.random() < 0.3:
            record["key"] = f"k{random.randint(0, 9)}"
        if random.random() < 0.2:
            record["headers"] = {"trace": "ü", "b": ""}
        if random.random() < 0.2:
            record["timestamp"] = random.choice([1760000000000, "2026-11-20T12:00:00Z"])
        return record

    def _batch(self, random):
        items = [self._content(random) for _ in range(random.randint(1, BATCH_RECORDS_MAX))]
        records = [self._record(random, item) for item in items]
        headers = []
        self._prefer(random, headers)
        if random.random() < 0.6:
            body = json.dumps({"records": records}, ensure_ascii=random.random() < 0.5).encode()
            headers.append(("Content-Type", "application/json"))
        else:
            body = b"".join(json.dumps(record).encode() + b"\n" for record in records)
            headers.append(("Content-Type", "application/x-ndjson"))
        path = f"/v1/topics/{random.choice(KEPT)}/records"
        return self._make(random, "POST", path, {}, headers, body, contents=items)

    @staticmethod
    def _prefer(random, headers):
        if random.random() < 0.15:
            preferences = ["wait=0", "wait=0.05", "respond-async", "wait=x, handling=strict"]
            headers.append(("Prefer", random.choice(preferences)))

    # MARK: Everything else

    def _receipt(self, random):
        receipt = random.choice(self._receipts)
        if random.random() < 0.6:
            return self._make(random, random.choice(["GET", "HEAD"]), f"/v1/receipts/{receipt}")
        body = {"receipts": random.sample(self._receipts, min(3, len(self._receipts)))}
        return self._json(random, "POST", "/v1/receipts/query", body)

    def _topic(self, random):
        topic = random.choice(SCRATCH)
        choice = random.randrange(7)
        if choice == 0:
            return self._make(random, "GET", "/v1/topics", {"limit": str(random.randint(1, 5))})
        if choice <= 2:
            return self._make(random, random.choice(["GET", "HEAD"]), f"/v1/topics/{random.choice(KEPT + SCRATCH)}")
        if choice == 3:
            body = random.choice([{}, {"partitions": 2}, {"retention_ms": 60000}, {"record_bytes_max": 5000}])
            return self._json(random, "PUT", f"/v1/topics/{topic}", body)
        if choice == 4:
            return self._make(random, "DELETE", f"/v1/topics/{topic}", random.choice([{}, {"force": "true"}]))
        if choice == 5:
            offset = {"partition": random.randint(0, 1), "offset": random.randint(0, 3)}
            return self._json(random, "POST", f"/v1/topics/{topic}/purge", {"offsets": [offset]})
        body = b"scratch %d" % random.randint(0, 1 << 30)
        return self._make(random, "POST", f"/v1/topics/{topic}", {}, [], body)

    def _read(self, random):
        query = {"max": str(random.randint(1, 5)), "max_bytes": "2000"}
        if random.random() < 0.7:
            query["offset"] = random.choice(["0", "5", "earliest", "latest"])
        if random.random() < 0.3:
            query["values"] = random.choice(["text", "base64"])
        path = f"/v1/topics/{random.choice(KEPT)}/partitions/{random.randint(0, 3)}/records"
        return self._make(random, "GET", path, query, self._accept(random))

    @staticmethod
    def _accept(random):
        if random.random() < 0.7:
            return []
        return [("Accept", random.choice(["application/x-ndjson", "application/octet-stream", "*/*", "text/html"]))]

    def _consumer(self, random):
        consumer = random.choice(CONSUMERS)
        choice = random.randrange(6)
        if choice == 0:
            return self._make(random, "GET", "/v1/consumers")
        if choice <= 2:
            return self._make(random, "GET", f"/v1/consumers/{consumer}")
        if choice == 3 and random.random() < 0.2:
            return self._make(random, "DELETE", f"/v1/consumers/{consumer}")
        start = random.choice(["earliest", "latest"])
        body = {"topics": random.sample(KEPT, 2), "from": start, "ack_deadline_ms": 2000}
        if random.random() < 0.3:
            body["mode"] = random.choice(["shared", "ordered"])
        query = {"replace": "true"} if random.random() < 0.3 else {}
        return self._json(random, "PUT", f"/v1/consumers/{consumer}", body, query)

    def _poll(self, random):
        consumer = random.choice(CONSUMERS)
        query = {"max": str(random.randint(1, 10)), "max_bytes": "4000", "wait": "0"}
        if random.random() < 0.5:
            query["topic"] = random.choice(KEPT)
        if random.random() < 0.3:
            query["client"] = random.choice("abc")
        path = f"/v1/consumers/{consumer}/poll"
        return self._make(random, "POST", path, query, self._accept(random), b"", consumer=consumer)

    def _acknowledge(self, random):
        consumer, token = random.choice(self._tokens)
        path = f"/v1/consumers/{consumer}/"
        choice = random.randrange(6)
        if choice <= 2:
            return self._json(random, "POST", path + "acks", {"ack": token})
        if choice == 3:
            return self._json(random, "POST", path + "nacks", {"ack": token, "delay_ms": 0, "reason": "no"})
        if choice == 4:
            return self._json(random, "POST", path + "extensions", {"ack": token, "deadline_ms": 3000})
        return self._json(random, "POST", path + "seek", {"to": random.choice(["earliest", "latest"])})

    def _dead_letter(self, random):
        receipt = random.choice(self._receipts)
        choice = random.randrange(4)
        if choice == 0:
            return self._make(random, "GET", "/v1/dead-letters", {"limit": "5"})
        if choice == 1:
            return self._make(random, "GET", f"/v1/dead-letters/{receipt}")
        if choice == 2:
            return self._make(random, "DELETE", f"/v1/dead-letters/{receipt}")
        return self._make(random, "POST", f"/v1/dead-letters/{receipt}/redeliver", {}, [], b"")

    def _operation(self, random):
        paths = ["/", "/healthz", "/readyz", "/metrics", "/openapi.yaml", "/openapi.json", "/nothing", "/v1/status"]
        method = random.choice(["GET", "GET", "HEAD", "OPTIONS", "PUT"])
        return self._make(random, method, random.choice(paths))

    _TABLE = [
        (_raw, 40), (_batch, 18), (_receipt, 8), (_topic, 8), (_read, 8), (_consumer, 4), (_poll, 6),
        (_acknowledge, 6), (_dead_letter, 3), (_operation, 4),
    ]  # fmt: skip

    # MARK: Bytes

    def _json(self, random, method, path, value, query=None):
        body = json.dumps(value).encode()
        return self._make(random, method, path, query or {}, [("Content-Type", "application/json")], body)

    def _make(self, random, method, path, query=None, headers=(), body=None, contents=(), consumer=None):
        target = path + ("?" + urllib.parse.urlencode(query) if query else "")
        fields = [("Host", self._host), *headers]
        if random.random() < 0.2:
            fields.append(("Accept-Encoding", random.choice(["gzip", "gzip;q=0.5, *;q=0", "identity", "br"])))
        if body is not None and body and random.random() < 0.2:
            fields.append(("Transfer-Encoding", "chunked"))
            body = chunked(random, body)
        elif body is not None:
            fields.append(("Content-Length", str(len(body))))
        random.shuffle(fields)
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields)
        return Request(method, head.encode() + b"\r\n" + (body or b""), list(contents), consumer)


def chunked(random, body):
    parts = []
    while body:
        size = random.randint(1, len(body))
        extension = b";a=b" if random.random() < 0.2 else b""
        parts.append(b"%x%s\r\n%s\r\n" % (size, extension, body[:size]))
        body = body[size:]
    return b"".join(parts) + b"0\r\n" + (b"T: u\r\n" if random.random() < 0.2 else b"") + b"\r\n"
