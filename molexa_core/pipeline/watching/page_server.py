"""A small server of the page of a watch: the page, and the newest summary as JSON.

It listens on the loopback address unless another is named, and answers only requests that name it
as their host then, so that pages from elsewhere cannot read it. It changes nothing.
"""

from __future__ import annotations

import errno
import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from molexa_core.base.errors import UsageError
from molexa_core.report.watch_page import watch_page

LOOPBACK: Final = "127.0.0.1"
PORT: Final = 8642
_PATIENCE_S: Final = 10.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class PageServer:
    """Serves the page and the summary; a context manager that listens within the block.

    Args:
        title: of the page.
        address: to listen at.
        port: to listen at; 0 for any that is free.

    Raises:
        UsageError: the port is in use, or there is no such address.
    """

    def __init__(self, title: str, *, address: str = LOOPBACK, port: int = PORT) -> None:
        self._page = watch_page(title).encode()
        self._summary = b"{}"
        self._open = address != LOOPBACK
        try:
            self._server = _Server((address, port), self._handler())
        except OSError as error:
            used = error.errno == errno.EADDRINUSE
            raise UsageError(
                f"cannot listen at {address}:{port}: {error.strerror or error}",
                setting="port" if used else "listen",
                do="Name another port; 0 takes any that is free." if used else "Check it.",
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """What is opened in the browser."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/"

    def publish(self, summary: dict[str, Any]) -> None:
        """Show this summary from now on."""
        self._summary = json.dumps(summary, allow_nan=False).encode()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _allowed(self, host: str) -> bool:
        port = self._server.server_address[1]
        return self._open or host in {f"{LOOPBACK}:{port}", f"localhost:{port}"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            """Answers with the page or the summary."""

            timeout = _PATIENCE_S

            def do_GET(self) -> None:  # name of the library
                if not server._allowed(self.headers.get("Host", "")):  # its own server
                    self._answer(HTTPStatus.FORBIDDEN, b"not this host", "text/plain")
                elif self.path == "/":
                    self._answer(HTTPStatus.OK, server._page, "text/html; charset=utf-8")
                elif self.path == "/summary.json":
                    self._answer(HTTPStatus.OK, server._summary, "application/json")
                else:
                    self._answer(HTTPStatus.NOT_FOUND, b"not found", "text/plain")

            def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:  # name of the library
                """Write nothing."""

        return Handler
