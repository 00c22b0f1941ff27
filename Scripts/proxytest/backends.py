"""What stands for a gateway behind a proxy: it answers with its name, or takes a request and dies."""

import http.server
import socket
import threading

# The start of a receipt, as the name of a spool is.
NAMES = ("aaaaaaaa", "bbbbbbbb")


class Backend:
    def __init__(self, name: str):
        self.name = name
        self.swallows = False
        # Of each request that it got: the field X-Mark.
        self.marks: list[str] = []
        self._server = Server(("127.0.0.1", 0), handler(self))
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """From now on connections are refused."""
        self._server.shutdown()
        self._server.server_close()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A proxy that has the status of a check closes the connection, whatever else was to come."""


def handler(backend: Backend):
    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path == "/readyz":
                self.reply(200)
                return
            backend.marks.append(self.headers.get("X-Mark", ""))
            if backend.swallows:
                # As a gateway that is killed once it has the request.
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            is_foreign = self.path.startswith("/v1/receipts/") and f"/{backend.name}-" not in self.path
            self.reply(404 if is_foreign else 200)

        do_GET = do_POST = do_PUT = answer

        def reply(self, status):
            body = backend.name.encode()
            self.send_response(status)
            self.send_header("Postrider-Gateway", backend.name)
            self.send_header("Content-Length", str(len(body)))
            # Also of a kept connection nothing is left when it stops.
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *_):
            pass

    return Handler
