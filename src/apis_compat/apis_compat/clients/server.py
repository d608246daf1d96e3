"""Sockets and HTTP for the interfaces: one server each, all in one thread of their own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from apis_compat.clients.interfaces import CLIENT, Interface, Reply

__all__ = ["Servers"]

LARGEST_BODY = 64 * 1024  # bytes; a posted deal is a few hundred
METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"]


class Servers:
    """The interfaces on their ports."""

    def __init__(
        self,
        host: str,
        interfaces: Mapping[int, Interface],
        heard: Callable[[str], None] = lambda _client: None,
    ) -> None:
        """Take the ports.

        Args:
            host: Address to listen on.
            interfaces: What is served, by its port.
            heard: Called with who asks, at every request, from the server's thread.

        Raises:
            OSError: One is not free; the text names it.
        """
        self._sockets = []
        self._servers = []
        for port, interface in interfaces.items():
            self._sockets.append(_listen(host, port))
            config = uvicorn.Config(
                _application(interface, heard), log_level="warning", timeout_graceful_shutdown=1
            )
            self._servers.append(uvicorn.Server(config))
        self._thread = threading.Thread(target=self._run, name="http")

    @property
    def ports(self) -> list[int]:
        """The ports in use; a 0 that was asked for is a free one here."""
        return [listener.getsockname()[1] for listener in self._sockets]

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End, and free the ports."""
        for server in self._servers:
            server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        for listener in self._sockets:
            listener.close()

    def _run(self) -> None:
        async def serve() -> None:
            pairs = zip(self._servers, self._sockets, strict=True)
            await asyncio.gather(*(server.serve(sockets=[one]) for server, one in pairs))

        asyncio.run(serve())


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {host}:{port} ({error.strerror})") from error
    return listener


def _application(interface: Interface, heard: Callable[[str], None]) -> Starlette:
    async def handle(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                return Response("too large", 413)
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        query = dict(request.query_params)
        path = request.url.path
        host = request.client.host if request.client else ""
        CLIENT.set(f"{host} {request.headers.get('user-agent', '')}")
        heard(CLIENT.get())
        try:
            reply = await run_in_threadpool(interface.answer, request.method, path, query, form)
        except Exception as error:  # as the original: the client learns of it
            reply = Reply(f'{{"error":"exception : {type(error).__name__}"}}', 400)
        return Response(reply.body, reply.status, media_type=reply.media_type)

    return Starlette(routes=[Route("/{path:path}", handle, methods=METHODS)])
