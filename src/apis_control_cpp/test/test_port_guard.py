"""The guard of a port as Python uses it: it acts while Python cannot."""

from __future__ import annotations

import ctypes
import errno
import os
import pty
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator

import pytest

from apis_control import GuardFired, PortGuard

WAIT = bytes.fromhex("050200100000001000")  # of an EZA2500 at the shipped addresses
# Prints when each byte that it reads came, by the clock that all processes of a machine share.
FAR_END = """
import os, sys, time
while data := os.read(0, 4096):
    for byte in data:
        print(byte, time.monotonic(), flush=True)
"""


@pytest.fixture
def line() -> Iterator[tuple[int, int]]:
    """A pseudo-terminal: our end and the far one."""
    far, ours = pty.openpty()
    tty.setraw(ours)
    yield ours, far
    for fd in (ours, far):
        os.close(fd)


def read(fd: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += os.read(fd, count - len(data))
    return data


def hold_the_gil(seconds: float) -> None:
    """As a C extension that hangs: no Python runs anywhere in this process meanwhile."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def test_it_acts_while_python_hangs_for_five_seconds(line):
    ours, far = line
    watcher = subprocess.Popen(
        [sys.executable, "-S", "-c", FAR_END], stdin=far, stdout=subprocess.PIPE, text=True
    )
    stopped = threading.Event()
    renewed_s = []  # just before each renewal; the last may be a while before Python stops

    def renew(guard: PortGuard) -> None:
        while not stopped.is_set():
            renewed_s.append(time.monotonic())
            if not guard.renew(0.5):
                break
            time.sleep(0.05)

    with PortGuard(ours, WAIT, times=1) as guard:
        guard.write(b"\x01")  # the watcher is up when it has told of this
        assert watcher.stdout is not None
        watcher.stdout.readline()
        renewer = threading.Thread(target=renew, args=(guard,))
        renewer.start()
        time.sleep(0.7)  # renewals go on for longer than the hold time
        assert not guard.fired
        began_s = time.monotonic()
        hold_the_gil(5.0)
        ended_s = time.monotonic()
        stopped.set()
        renewer.join()
        assert ended_s - began_s > 4.9
        assert guard.fired
        rows = [watcher.stdout.readline().split() for _ in WAIT]
        watcher.kill()
        watcher.wait()
        watcher.stdout.close()
    assert bytes(int(value) for value, _ in rows) == WAIT
    at_s = float(rows[-1][1])
    last_s = max(renewal_s for renewal_s in renewed_s if renewal_s <= began_s)
    assert at_s - last_s >= 0.5, f"WAIT came {at_s - last_s:.3f} s after the last renewal"
    assert at_s - began_s < 2.5, f"WAIT came {at_s - began_s:.3f} s after Python stopped"


def test_a_late_order_is_not_sent_after_wait(line):
    ours, far = line
    with PortGuard(ours, WAIT, times=1) as guard:
        guard.renew(0.02)
        assert read(far, len(WAIT)) == WAIT
        with pytest.raises(GuardFired, match=r"disarm\(\) first"):
            guard.write(b"charge")
        assert not guard.renew(1.0)
        assert guard.disarm()
        guard.write(b"status?")
        assert read(far, 7) == b"status?"
        assert (guard.armed, guard.fired, guard.written) == (False, False, 1)


def test_closing_while_armed_says_wait(line):
    ours, far = line
    guard = PortGuard(ours, WAIT)
    guard.renew(3600.0)
    guard.close()
    assert read(far, len(WAIT)) == WAIT
    with pytest.raises(OSError) as raised:
        guard.write(b"x")
    assert raised.value.errno == errno.EBADF


def test_a_port_that_is_gone_is_an_os_error():
    far, ours = pty.openpty()
    guard = PortGuard(ours, WAIT, times=1)
    os.close(far)
    with pytest.raises(OSError):
        guard.write(b"x")
    guard.close()
    os.close(ours)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"frame": b""}, "frame is empty"),
        ({"repeat_s": 0.0}, "repeat_s is 0"),
        ({"repeat_s": float("nan")}, "repeat_s is"),
        ({"times": 0}, "times is 0"),
        ({"direction": "auto"}, "none, rts, or gpio"),
        ({"direction": "gpio"}, "gpio with a gpio_fd"),
    ],
)
def test_what_makes_no_sense_is_refused(line, arguments, what):
    with pytest.raises(ValueError, match=what):
        PortGuard(line[0], **{"frame": WAIT, **arguments})


@pytest.mark.parametrize("hold_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_hold_time_must_be_a_time(line, hold_s):
    with PortGuard(line[0], WAIT) as guard, pytest.raises(ValueError, match="hold_s is"):
        guard.renew(hold_s)


def test_a_descriptor_that_is_not_open_is_refused():
    with pytest.raises(OSError) as raised:
        PortGuard(999_999, WAIT)
    assert raised.value.errno == errno.EBADF


def test_rts_where_there_is_none_is_an_error(line):
    with PortGuard(line[0], WAIT, direction="rts") as guard, pytest.raises(OSError):
        guard.write(b"x")
