"""The original's HTTP interface with 100 houses, against a plain server in the same run."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.plain_http import HOUSES
from bench.report import Report

ROOT = Path(__file__).resolve().parents[2]
GETS, SETS, ROUNDS = 2400, 1600, 5
SWITCH_S = 0.0005  # else a client waits for its own neighbours, up to 5 ms for each
OURS = ("apis_compat.emulator", "serve", "--units", str(HOUSES), "--http", "0")


def measure(report: Report) -> None:
    """Requests a second of 1 and 8 clients, and how long a set takes."""
    with _busy_threads(), _served("bench.plain_http") as plain, _served(*OURS) as ours:
        _rate(ours, 8, GETS)  # both warm
        _rate(plain, 8, GETS // 4)
        for clients in (1, 8):
            pairs = [
                (_rate(ours, clients, GETS), _rate(plain, clients, GETS // 2))
                for _ in range(ROUNDS)
            ]
            mine, other = (max(rates) for rates in zip(*pairs, strict=True))
            if clients == 8:
                report.tell("emulator_http.get_per_s", mine, "1/s", f"{HOUSES} houses, 8 clients")
            name = f"emulator_http.get_over_plain_{clients}"
            note = f"{clients} clients; a plain server: {other:,.0f} a second"
            report.at_least(name, mine / other, "x", 2.0, note)
        fresh = _rate(ours, 8, GETS, is_kept=False)
        report.tell("emulator_http.get_per_s_unkept", fresh, "1/s", "a connection for each")
        p99_s = min(_p99(_times(ours, 8, SETS, "set")) for _ in range(ROUNDS))
        report.at_most("emulator_http.set_p99_ms", 1e3 * p99_s, "ms", 10.0, "8 clients")


@contextmanager
def _busy_threads() -> Iterator[None]:
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(usual_s)


@contextmanager
def _served(*module: str) -> Iterator[int]:
    """A server in a process of its own; gives its port."""
    words = [sys.executable, "-m", *module]
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            port = re.search(r"(\d{4,5})\b(?!.*\d{4})", line)
            assert port is not None, f"{module[0]} did not start"
            yield int(port[1])
        finally:
            process.terminate()


class _Client:
    """Asks, and keeps its connection if the server does, as the original's apis-main."""

    def __init__(self, port: int, is_kept: bool) -> None:
        self._port = port
        self._is_kept = is_kept
        self._socket: socket.socket | None = None

    def ask(self, target: str) -> None:
        """A request and its whole answer, which must be 200."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port))
        version = b"1.1" if self._is_kept else b"1.0"
        self._socket.sendall(b"GET %s HTTP/%s\r\nHost: here\r\n\r\n" % (target.encode(), version))
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += self._more()
        head, _, body = heard.partition(b"\r\n\r\n")
        assert head.split(None, 2)[1] == b"200", head
        left = int(head.lower().partition(b"content-length:")[2].split(None, 1)[0]) - len(body)
        while left > 0:
            left -= len(self._more())
        if head.startswith(b"HTTP/1.0") or b"Connection: close" in head:
            self.close()

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _more(self) -> bytes:
        assert self._socket is not None
        part = self._socket.recv(65536)
        assert part, "the server broke off"
        return part


def _times(
    port: int, clients: int, count: int, kind: str = "get", *, is_kept: bool = True
) -> list[float]:
    """How long each request took. [s]"""
    times_s: list[float] = []

    def work(number: int) -> None:
        client = _Client(port, is_kept)
        for turn in range(count // clients):
            unit_id = f"E{1 + (7 * turn + 13 * number) % HOUSES:03}"
            target = f"/get/unit/{unit_id}"
            if kind == "set":
                target = f"/set/dcdc/current/{unit_id}?dig={1 + turn % 2}"
            begun_s = time.perf_counter()
            client.ask(target)
            times_s.append(time.perf_counter() - begun_s)
        client.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times_s


def _rate(port: int, clients: int, count: int, *, is_kept: bool = True) -> float:
    """Answered gets a second."""
    begun_s = time.perf_counter()
    done = len(_times(port, clients, count, is_kept=is_kept))
    assert done == count // clients * clients, "a client broke off"
    return done / (time.perf_counter() - begun_s)


def _p99(times_s: list[float]) -> float:
    return sorted(times_s)[int(0.99 * len(times_s))]
