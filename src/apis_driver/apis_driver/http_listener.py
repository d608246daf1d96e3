"""The HTTP side of the driver's server: requests in, JSON out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

__all__ = ["Client", "Failure", "Listener"]


class Failure(Exception):
    """What the caller gets as ``err``."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks. Two of them on one machine are told apart by what they call themselves.

    Attributes:
        host: Its address.
        agent: Its ``User-Agent``.
        token: What it has brought; empty = none.
        is_patient: It wants to know of an order when the converter is there, and not before.
    """

    host: str = ""
    agent: str = ""
    token: str = ""
    is_patient: bool = field(default=True, compare=False)


# path, query and who asks; None = there is no such path
Answer: TypeAlias = Callable[[str, Mapping[str, str], "Client"], "dict[str, Any] | None"]


class Listener(ThreadingHTTPServer):
    """Listens, with a thread for each client.

    Args:
        address: Host and port; port 0 = any.
        answer: Gives the body of an answer, or raises :class:`Failure`.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], answer: Answer) -> None:
        super().__init__(address, _Handler)
        self.answer = answer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has given up is nothing to tell of."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Listener
    server_version = "apis_driver"
    timeout = 10  # a client that says nothing does not keep a thread for ever

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        agent, token = self.headers.get("User-Agent", ""), query.get("token", bearer)
        is_patient = "respond-async" not in self.headers.get("Prefer", "")
        client = Client(self.client_address[0], agent, token, is_patient)
        try:
            body = self.server.answer(parts.path, query, client)
        except Failure as failure:
            self._send(failure.status, {"err": str(failure)})
        except Exception as error:  # a bug: the client hears of it
            self._send(500, {"err": f"{type(error).__name__}: {error}"})
        else:
            if body is None:
                self.send_error(404)
            else:
                self._send(200, body)

    do_POST = do_GET  # noqa: N815

    def _send(self, status: int, body: Mapping[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """A line per request would drown what matters."""
