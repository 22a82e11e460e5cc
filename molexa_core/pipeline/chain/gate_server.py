"""A small server on this machine alone, through which the page of `molexa gate` writes regions.

It listens on the loopback address. Every request must carry a random token in its path and name
this machine as the host, so that other programs and pages cannot write.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final, Self

from molexa_core.base import interruption
from molexa_core.base.errors import MolexaError
from molexa_core.pipeline.chain.draw_gate import Drawn, GateMap

LOOPBACK: Final = "127.0.0.1"
LARGEST: Final = 2**20
"""Bytes of a request."""
_FORMS: Final = ("polygon", "box", "ellipse")


class GateServer:
    """Serves the page of a map and writes the regions that are drawn.

    A context manager: the server listens within the block.

    Args:
        gate_map: the map.
        written: is told of every region that was written.
    """

    def __init__(self, gate_map: GateMap, written: Callable[[Drawn], None]) -> None:
        self._token = secrets.token_urlsafe(24)
        self._server = HTTPServer((LOOPBACK, 0), self._handler(gate_map, written))
        self._server.timeout = 0.5

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """What is opened in the browser."""
        return f"http://{LOOPBACK}:{self.port}/{self._token}/"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()

    def serve(self, until: Callable[[], bool]) -> None:
        """Answer requests until the condition holds or a signal asks to stop."""
        while not until() and not interruption.requested():
            self._server.handle_request()

    def _handler(
        self, gate_map: GateMap, written: Callable[[Drawn], None]
    ) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            """Answers with the page, and writes regions."""

            def do_GET(self) -> None:  # name of the library
                if self._allowed(""):
                    page = gate_map.page(saves_to="save")
                    self._answer(HTTPStatus.OK, page, "text/html; charset=utf-8")

            def do_POST(self) -> None:  # name of the library
                if not self._allowed("save"):
                    return
                try:
                    drawn = gate_map.write(*self._region())
                except (MolexaError, ValueError, KeyError, TypeError) as error:
                    told = str(error) if isinstance(error, MolexaError) else "no region was sent"
                    self._answer(HTTPStatus.BAD_REQUEST, told.split("\n", 1)[0])
                    return
                written(drawn)
                self._answer(
                    HTTPStatus.OK,
                    f"{drawn.name} written to {drawn.file}: {drawn.inside} of {drawn.rows} inside",
                )

            def _allowed(self, page: str) -> bool:
                host = self.headers.get("Host", "")
                known = {f"{name}:{server.port}" for name in (LOOPBACK, "localhost")}
                wanted = f"/{server._token}/{page}"  # its own server
                if host in known and secrets.compare_digest(self.path.encode(), wanted.encode()):
                    return True
                self._answer(HTTPStatus.NOT_FOUND, "not found")
                return False

            def _region(self) -> tuple[str, dict[str, Any]]:
                length = int(self.headers.get("Content-Length", "0"))
                if not 0 < length <= LARGEST:
                    raise ValueError
                values = json.loads(self.rfile.read(length))
                form = {name: values["region"][name] for name in _FORMS if name in values["region"]}
                return str(values["name"]), form

            def _answer(
                self, status: HTTPStatus, text: str, kind: str = "text/plain; charset=utf-8"
            ) -> None:
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("X-Frame-Options", "DENY")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:  # name of the library
                """Write nothing."""

        return Handler
