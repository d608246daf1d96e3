"""GET requests that keep a deadline as a whole, and a dead man that makes its own.

A limit for each piece of an answer is none for the answer: a server that sends a byte now and then
would hold its client for as long as it likes. So every exchange, from the name of the host to the
last byte, is cancelled at its deadline, and its connection with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import httpx
from pydantic import Field, field_validator

from apis_driver.device import DeviceSettings
from apis_driver.errors import (
    BadChecksum,
    BadFrame,
    DeviceBusy,
    DeviceError,
    DeviceRefused,
    DeviceTimeout,
    PortError,
)

__all__ = ["HttpClient", "HttpDeadMan", "HttpSettings"]

_PAUSE_S = 0.05
_CLOSE_LIMIT_S = 0.5
_LARGEST_BYTES = 1 << 20  # of an answer

Answer: TypeAlias = tuple[int, bytes]  # status and body


class HttpSettings(DeviceSettings):
    """How to reach a device over HTTP.

    Attributes:
        url: Such as ``http://192.168.0.7:4380``.
        reply_timeout_s: For one attempt, from the connection to the last byte. [s]
        retries: Attempts beyond the first.
        token: Sent as a bearer token, for servers that want one; empty = none.
    """

    url: str = Field(pattern=r"^https?://[^/\s]+/?$", description="http://host:port")
    reply_timeout_s: float = Field(default=1.0, gt=0, le=10)
    retries: int = Field(default=2, ge=0, le=20)
    token: str = ""

    @field_validator("url")
    @classmethod
    def _can_be_asked(cls, url: str) -> str:
        try:
            parsed = httpx.Request("GET", url).url
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise ValueError(f"must be http://host:port: {error}") from None
        if not parsed.host or parsed.userinfo or parsed.query or parsed.fragment:
            raise ValueError("must be http://host:port, and nothing else")
        if parsed.port is not None and not 1 <= parsed.port <= 65535:
            raise ValueError(
                f"must be http://host:port, with a port from 1 to 65535: {parsed.port}"
            )
        return url

    @field_validator("token")
    @classmethod
    def _fits_a_header(cls, token: str) -> str:
        if not all(" " < letter <= "~" for letter in token):
            raise ValueError("must be letters, digits and signs of ASCII, without spaces")
        return token


class _Connection:
    """One connection, kept from one exchange to the next; of one thread at a time."""

    def __init__(self, token: str, transport: httpx.AsyncBaseTransport | None) -> None:
        # a server of ours need not wait with its answer until the converter has moved: we look
        headers = {"Prefer": "respond-async"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._loop = asyncio.new_event_loop()
        # an environment that names a proxy does not mean the converter
        self._client = httpx.AsyncClient(
            transport=transport, headers=headers, trust_env=False, timeout=None
        )

    def get(self, url: str, query: Mapping[str, str], limit_s: float) -> Answer:
        """Send a GET request; return status and body.

        Raises:
            asyncio.TimeoutError: The last byte has not come in time.
            httpx.HTTPError: The exchange was broken off.
            BadFrame: The answer is far too long.
        """
        exchange = asyncio.wait_for(self._get(url, query), limit_s)
        return self._loop.run_until_complete(exchange)

    def close(self) -> None:
        """End the connection. Never raises.

        One in which another thread still waits for an answer is left to the end of the process.
        """
        if self._loop.is_running():
            return
        with contextlib.suppress(Exception):
            closing = asyncio.wait_for(self._client.aclose(), _CLOSE_LIMIT_S)
            self._loop.run_until_complete(closing)
        self._loop.close()

    async def _get(self, url: str, query: Mapping[str, str]) -> Answer:
        body = bytearray()
        async with self._client.stream("GET", url, params=query or None) as reply:
            async for part in reply.aiter_bytes():
                body += part
                if len(body) > _LARGEST_BYTES:
                    raise BadFrame(f"the answer is longer than {_LARGEST_BYTES} bytes")
        return reply.status_code, bytes(body)


class HttpClient:
    """Asks one server, with retries by kind of failure, within a deadline.

    Args:
        settings: Of the server.
        transport: Instead of the network, for tests.
    """

    def __init__(
        self, settings: HttpSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.address = settings.url.rstrip("/")
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._transport = transport
        self._connection: _Connection | None = None

    def open(self) -> None:
        """Connect with the next question."""
        self.close()
        self._connection = _Connection(self._settings.token, self._transport)

    def close(self) -> None:
        """Let the connection go. Never raises."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, path: str, deadline_s: float, **query: str) -> dict[str, Any]:
        """The object at a path.

        Raises:
            DeviceError: The last failure, if there is none by then.
        """
        if self._connection is None:
            raise PortError(f"{self.address}: not open")
        return self._get(self._connection, path, deadline_s, query)

    def get_apart(self, path: str, deadline_s: float, **query: str) -> dict[str, Any]:
        """Get the object at a path over a connection of its own; any thread may call it.

        Raises:
            DeviceError: See :meth:`get`.
        """
        connection = _Connection(self._settings.token, self._transport)
        try:
            return self._get(connection, path, deadline_s, query)
        finally:
            connection.close()

    def _get(
        self, connection: _Connection, path: str, deadline_s: float, query: Mapping[str, str]
    ) -> dict[str, Any]:
        for attempt in range(self._settings.retries + 1):
            if attempt:
                self.counters["retries"] += 1
                time.sleep(max(min(_PAUSE_S, deadline_s - time.monotonic()), 0.0))
            try:
                return self._get_once(connection, path, deadline_s, query)
            except (DeviceTimeout, BadFrame, DeviceBusy):
                is_over = time.monotonic() + _PAUSE_S >= deadline_s
                if attempt == self._settings.retries or is_over:
                    raise
        raise AssertionError

    def _get_once(
        self, connection: _Connection, path: str, deadline_s: float, query: Mapping[str, str]
    ) -> dict[str, Any]:
        where, limit_s = f"{self.address}{path}", self._settings.reply_timeout_s
        left_s = deadline_s - time.monotonic()
        if left_s <= 0.0:
            raise DeviceTimeout(f"{where}: no time left")
        self.counters["exchanges"] += 1
        try:
            status, content = connection.get(where, query, min(limit_s, left_s))
        except httpx.ConnectError as error:
            self.counters["connect"] += 1
            raise PortError(f"{self.address}: cannot connect: {error}") from error
        except (asyncio.TimeoutError, httpx.TimeoutException) as error:
            self.counters["silence"] += 1
            raise DeviceTimeout(
                f"{where}: no whole answer within {min(limit_s, left_s):.2g} s"
            ) from error
        except (httpx.DecodingError, BadFrame) as error:
            self.counters["nonsense"] += 1
            raise BadFrame(f"{where}: {error}") from error
        except httpx.HTTPError as error:
            self.counters["broken off"] += 1
            raise DeviceTimeout(f"{where}: {error or 'broken off'}") from error
        if status != 200:
            self.counters[f"status {status}"] += 1
            raise _refusal(where, status, content)
        body = _json(content)
        if not isinstance(body, dict):
            self.counters["nonsense"] += 1
            raise BadFrame(f"{where}: the answer is no JSON object")
        return body


class HttpDeadMan:
    """Says WAIT over connections of its own when nobody has renewed in time.

    It is a thread of this process: it acts while the thread that drives the converter is stuck in
    an exchange, but not while the interpreter hangs. See :class:`apis_driver.device.DeadMan`.

    Args:
        say_wait: Orders WAIT; called from its thread, again and again until it does not raise.
    """

    def __init__(self, say_wait: Callable[[], object]) -> None:
        self._say_wait = say_wait
        self._changed = threading.Condition()
        self._due_s: float | None = None
        self._has_fired = False
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def renew(self, hold_s: float) -> bool:
        """WAIT is said after so long unless renewed again. False: it has fired, or is closed."""
        with self._changed:
            if self._has_fired or self._is_closed:
                return False
            self._due_s = time.monotonic() + hold_s
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="dead man", daemon=True)
                self._thread.start()
            self._changed.notify()
        return True

    def disarm(self) -> bool:
        """Stop waiting; returns whether it had fired, which is forgotten."""
        with self._changed:
            self._due_s, had_fired = None, self._has_fired
            self._has_fired = False
            self._changed.notify()
        return had_fired

    @property
    def fired(self) -> bool:
        """Whether it has said WAIT, or tried to, since it was last disarmed."""
        return self._has_fired

    def close(self) -> None:
        """End; armed, it says WAIT a last time. Never raises."""
        with self._changed:
            was_armed, self._due_s, self._is_closed = self._due_s is not None, None, True
            self._changed.notify()
        if was_armed:
            with contextlib.suppress(DeviceError):
                self._say_wait()

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._is_closed and not self._is_due():
                    left_s = None if self._due_s is None else self._due_s - time.monotonic()
                    self._changed.wait(left_s)
                if self._is_closed:
                    return
                self._has_fired = True
            try:
                self._say_wait()
            except DeviceError:
                time.sleep(_PAUSE_S)
                continue  # until it is heard, or somebody who hears disarms it
            with self._changed:
                self._due_s = None

    def _is_due(self) -> bool:
        return self._due_s is not None and time.monotonic() >= self._due_s


def _json(content: bytes) -> Any:
    """What an answer says; None = it is no JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _refusal(where: str, status: int, content: bytes) -> DeviceError:
    """What an answer that is not 200 means; the texts are those of the original."""
    body = _json(content)
    text = str(body.get("err", "")) if isinstance(body, dict) else ""
    where = f"{where}: {text or f'status {status}'}"
    if text in ("read timeout", "modbus io exception", "comm error"):
        return DeviceTimeout(where)
    if text == "checksum error" or text.startswith("cmd:"):
        return BadChecksum(where)
    if text == "timeout" or status in (429, 503):
        return DeviceBusy(where)
    if status in (502, 504):
        return DeviceTimeout(where)
    return DeviceRefused(where)
