"""The HTTP server, and the clock that lets emulated time pass."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from apis_emulator.compat.interface import Interface
from apis_emulator.compat.model import Emulation

__all__ = ["Beat", "Server"]


class Beat:
    """When the emulation steps: every `period_s` of wall time, and at the first call.

    Steps that were missed are made up for, but not more than a few at once.
    """

    MOST_AT_ONCE = 5

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._next_s: float | None = None

    def due(self, now_s: float) -> int:
        """How many steps are due. [s]"""
        if self._next_s is None:
            self._next_s = now_s
        count = 0
        while self._next_s <= now_s and count < self.MOST_AT_ONCE:
            self._next_s += self._period_s
            count += 1
        if self._next_s <= now_s:
            self._next_s = now_s + self._period_s
        return count


class Server:
    """Serves an emulation on a port, from threads of its own, one request at a time inside.

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
        self._beat = None if period_s is None else Beat(period_s)
        self._stopping = threading.Event()
        self.now_s = time.monotonic  # a test may have its own
        outer = self

        class Handler(BaseHTTPRequestHandler):
            server_version = "apis-emulator"
            timeout = 30.0  # for a client that says nothing

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                outer._answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing: a client asks every second."""

        self._http = ThreadingHTTPServer((host, port), Handler)
        self._http.daemon_threads = True

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._http.server_address[1]

    def run(self) -> None:
        """Serve until :meth:`stop`."""
        serving = threading.Thread(
            target=self._http.serve_forever, args=(self.TICK_S,), daemon=True
        )
        serving.start()
        while not self._stopping.is_set():
            with self.lock:
                self.advance()
            self._stopping.wait(self.TICK_S)
        self._http.shutdown()
        serving.join()
        self._http.server_close()

    def stop(self) -> None:
        """Make :meth:`run` return."""
        self._stopping.set()

    def advance(self) -> None:
        """Do what is due; the lock must be held."""
        now_s = self.now_s()
        self._emulation.ramp(now_s)
        for _ in range(self._beat.due(now_s) if self._beat else 0):
            self._emulation.step()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        with self.lock:
            answer = self._interface.answer(handler.command, handler.path, self.now_s())
        handler.send_response(answer.status)
        handler.send_header("Content-Type", answer.content_type)
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(answer.body)
