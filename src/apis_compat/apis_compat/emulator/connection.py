"""HTTP on one connection: requests in, answers out, in the same order.

A general web framework costs more than an answer of the emulator does. The parser and the loop are
libraries (httptools, uvloop); here is only what happens between them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import cast

import httptools

from apis_compat.emulator.interface import Answer

__all__ = ["Connection", "Reply"]

LARGEST_REQUEST = 64 * 1024  # bytes of a request; one of the original's programs has a few hundred
_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}".encode() for s in HTTPStatus}

Reply = Callable[[Answer], None]


class Connection(asyncio.Protocol):
    """One client.

    Args:
        ask: Called with method, target, and what to give the answer to, now or later.
        open_connections: All that are open; it adds itself.
    """

    def __init__(
        self, ask: Callable[[str, str, Reply], None], open_connections: set[Connection]
    ) -> None:
        self._ask = ask
        self._all = open_connections
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._size = 0
        self._waiting: deque[tuple[str, str, bool]] = deque()
        self._is_asking = self._is_in_next = self._is_full = self._is_behind = False
        self._transport: asyncio.Transport
        self.heard_s = 0.0

    # --- what the loop calls ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        self.heard_s = time.monotonic()
        self._all.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """See :class:`asyncio.Protocol`. A client that gives up is its own business."""
        self._all.discard(self)
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        self.heard_s = time.monotonic()
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST)
        else:
            if self._size > LARGEST_REQUEST:
                self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def pause_writing(self) -> None:
        """See :class:`asyncio.Protocol`: the client does not read."""
        self._is_full = True

    def resume_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._is_full = False
        self._next()

    # --- what the parser calls -------------------------------------------------------------------

    def on_url(self, part: bytes) -> None:
        """A part of the target."""
        self._target += part

    def on_message_complete(self) -> None:
        """A request is there."""
        if len(self._target) > LARGEST_REQUEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if self._transport.is_closing():
            return
        method = self._parser.get_method().decode("ascii", "replace")
        target = self._target.decode("ascii", "replace")
        self._waiting.append((method, target, self._parser.should_keep_alive()))
        self._target, self._size = b"", 0
        self._next()

    # --- answers ---------------------------------------------------------------------------------

    def drop(self) -> None:
        """Break off."""
        self._transport.abort()

    @property
    def is_asking(self) -> bool:
        """Whether an answer is being made."""
        return self._is_asking

    def _next(self) -> None:
        """Have the oldest request answered, if no other is being answered."""
        if self._is_in_next:
            return
        self._is_in_next = True
        while self._waiting and not (self._is_asking or self._is_full):
            method, target, is_kept = self._waiting.popleft()
            self._is_asking = True
            self._ask(method, target, partial(self._send, method, is_kept))
        self._is_in_next = False
        is_behind = len(self._waiting) > 1
        if is_behind is not self._is_behind and not self._transport.is_closing():
            self._is_behind = is_behind
            (self._transport.pause_reading if is_behind else self._transport.resume_reading)()

    def _send(self, method: str, is_kept: bool, answer: Answer) -> None:
        self._is_asking = False
        if self._transport.is_closing():
            return
        head = b"%s\r\nServer: apis-emulator\r\nContent-Type: %s\r\nContent-Length: %d\r\n" % (
            _STATUS_LINES[answer.status],
            answer.content_type.encode(),
            len(answer.body),
        )
        head += b"Connection: keep-alive\r\n\r\n" if is_kept else b"Connection: close\r\n\r\n"
        self._transport.write(head if method == "HEAD" else head + answer.body)
        if is_kept:
            self._next()  # of an answer that came later
        else:
            self._waiting.clear()
            self._transport.close()

    def _refuse(self, status: HTTPStatus) -> None:
        line = _STATUS_LINES[status.value]
        self._transport.write(line + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self._waiting.clear()
        self._transport.close()
