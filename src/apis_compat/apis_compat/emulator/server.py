"""The HTTP server, and the clock that lets emulated time pass."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import traceback
from collections.abc import Callable

import uvloop

from apis_compat.emulator.connection import Connection, Reply
from apis_compat.emulator.interface import Answer, Interface, refusal
from apis_compat.emulator.model import Emulation

__all__ = ["Beat", "Server"]

BACKLOG = 1024  # connections that wait; of more the next comes a second later
SILENT_CLIENT_S = 30
# [s] For so long an order's answer waits for its converter, of wall time. The original's programs
# wait 5 s for an answer, our own driver 1 s.
ARRIVAL_LIMIT_S = 0.6


class Beat:
    """When the emulation steps: every `period_s` of wall time, and at the first call.

    Steps that were missed are made up for, but not more than `most_at_once`.
    """

    def __init__(self, period_s: float, most_at_once: int = 5) -> None:
        self._period_s = period_s
        self._most_at_once = most_at_once
        self._next_s: float | None = None

    def due(self, now_s: float) -> int:
        """How many steps are due. [s]"""
        if self._next_s is None:
            self._next_s = now_s
        count = 0
        while self._next_s <= now_s and count < self._most_at_once:
            self._next_s += self._period_s
            count += 1
        if self._next_s <= now_s:
            self._next_s = now_s + self._period_s
        return count


class Server:
    """Serves an emulation on a port, from a thread of its own, one request at a time inside.

    Args:
        emulation: What to serve.
        interface: Answers the requests.
        host: Address to listen on.
        port: 0 = any that is free.
        period_s: Wall time between steps; None = nobody steps. [s]

    Raises:
        OSError: The port is not free.
    """

    TICK_S = 0.05

    def __init__(
        self,
        emulation: Emulation,
        interface: Interface,
        *,
        host: str,
        port: int,
        period_s: float | None,
    ) -> None:
        self.lock = threading.Lock()
        self._emulation = emulation
        self._interface = interface
        self._beat: Beat | None = None
        self._parts = 1
        if period_s is not None:
            if emulation.is_divisible:
                self._parts = max(round(period_s / self.TICK_S), 1)
            self._beat = Beat(period_s / self._parts, 5 * self._parts)
        self._stopping = threading.Event()
        self.now_s = time.monotonic  # a test may have its own
        self._socket = _listen(host, port)
        self._loop = uvloop.new_event_loop()
        self._connections: set[Connection] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    def run(self) -> None:
        """Serve until :meth:`stop`."""
        serving = threading.Thread(target=self._serve, name="http", daemon=True)
        serving.start()
        while not self._stopping.is_set():
            with self.lock:
                self.advance()
            self._stopping.wait(self.TICK_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        serving.join()

    def stop(self) -> None:
        """Make :meth:`run` return."""
        self._stopping.set()

    def advance(self) -> None:
        """Do what is due; the lock must be held."""
        now_s = self.now_s()
        self._emulation.ramp(now_s)
        for _ in range(self._beat.due(now_s) if self._beat else 0):
            self._emulation.step(self._parts)

    # --- the server's thread ---------------------------------------------------------------------

    def _serve(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        listening = loop.run_until_complete(
            loop.create_server(
                lambda: Connection(self._ask, self._connections),
                sock=self._socket,
                backlog=BACKLOG,
            )
        )
        self._drop_silent()
        loop.run_forever()
        listening.close()
        for connection in list(self._connections):
            connection.drop()
        loop.run_until_complete(listening.wait_closed())
        loop.close()

    def _drop_silent(self) -> None:
        """Now and then, let go who says nothing."""
        least_s = time.monotonic() - SILENT_CLIENT_S
        for connection in list(self._connections):
            if connection.heard_s < least_s and not connection.is_asking:
                connection.drop()
        self._loop.call_later(1.0, self._drop_silent)

    def _ask(self, method: str, target: str, reply: Reply) -> None:
        """Answer a request as soon as what it orders is there."""
        try:
            with self.lock:
                now_s = self.now_s()
                answer = self._interface.answer(method, target, now_s)
        except Exception as error:  # a bug: told to the client and to whoever runs this
            traceback.print_exc()
            answer = refusal(500, f"{type(error).__name__}: {error}")
        if answer.again is None:
            reply(answer)
        else:
            self._look_again(answer.again, reply, now_s + ARRIVAL_LIMIT_S)

    def _look_again(self, again: Callable[[], Answer], reply: Reply, until_s: float) -> None:
        def look() -> None:
            with self.lock:
                answer = again()
                is_last = self.now_s() >= until_s
            if answer.again is None or is_last:
                reply(answer)
            else:
                self._look_again(answer.again, reply, until_s)

        self._loop.call_later(self.TICK_S / 2, look)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
