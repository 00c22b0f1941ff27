"""Stands between clients and a gateway, and loses requests and answers."""

import enum
import http.client
import http.server
import random
import threading

# The gateway may hold a poll for 60 s.
ANSWER_SECONDS_MAX = 90
# By these the gateway tells a repetition from a request.
NAMES = ("idempotency-key", "postrider-producer", "postrider-sequence")
# Of one connection only (RFC 9110, section 7.6.1); the proxy writes its own.
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")


class Fate(enum.Enum):
    PASS = "passed"
    REQUEST_LOST = "request lost"
    ANSWER_LOST = "answer lost"
    ANSWER_CUT = "answer cut"


SHARES = {Fate.PASS: 0.7, Fate.REQUEST_LOST: 0.08, Fate.ANSWER_LOST: 0.12, Fate.ANSWER_CUT: 0.1}


class Proxy:
    def __init__(self, gateway_port, seed, takes_names_away=False):
        self._gateway_port = gateway_port
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._takes_names_away = takes_names_away
        self.counts = {fate: 0 for fate in Fate}
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                proxy._handle(self)

            do_GET = do_PUT = do_POST = handle_any

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_):
                """Clients leave as they please."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def stop(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def lost(self):
        with self._lock:
            return sum(count for fate, count in self.counts.items() if fate is not Fate.PASS)

    def _next_fate(self):
        with self._lock:
            (fate,) = self._random.choices(list(SHARES), SHARES.values())
            self.counts[fate] += 1
            return fate

    def _handle(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        # Unless an answer leaves in one piece, the connection ends.
        request.close_connection = True
        fate = self._next_fate()
        if fate is Fate.REQUEST_LOST:
            return
        answer = self._forward(request, body)
        if answer is None or fate is Fate.ANSWER_LOST:
            return
        status, headers, content = answer
        request.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                request.send_header(name, value)
        if status != 204:
            request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content if fate is Fate.PASS else content[: len(content) // 2])
        request.close_connection = fate is not Fate.PASS

    def _forward(self, request, body):
        """Returns (status, headers, bytes); None when the gateway does not answer."""
        names = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP]
        if self._takes_names_away:
            names = [(name, value) for name, value in names if name.lower() not in NAMES]
        connection = http.client.HTTPConnection("127.0.0.1", self._gateway_port, timeout=ANSWER_SECONDS_MAX)
        try:
            connection.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in names:
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
