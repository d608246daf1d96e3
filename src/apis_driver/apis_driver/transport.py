"""The only layer that blocks: bytes out, bytes in, by a deadline.

A port is a device name (``/dev/ttyUSB0``), a serial server on the network (``socket://host:port``,
raw) or one that sets the line's parameters too (``rfc2217://host:port``).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import termios
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

import serial
import serial.rs485
from pydantic import Field, model_validator

from apis_control import GuardFired, PortGuard
from apis_driver.device import DeadMan, DeviceSettings
from apis_driver.errors import DeadManFired, PortError

__all__ = ["SerialSettings", "SerialTransport", "SocketTransport", "Transport"]

_CHUNK = 4096
_MOST_DROPPED = 1 << 16
_POLL_S = 0.005  # of ports without a descriptor to wait for


class SerialSettings(DeviceSettings):
    """How to reach a device over a serial line.

    Attributes:
        port: Device name, ``socket://`` or ``rfc2217://`` address.
        baud: Bits a second.
        parity: N, E or O. Eight data bits always.
        stop_bits: 1 or 2.
        direction: Who turns the direction of an RS-485 line: ``none`` = the adapter itself,
            ``rts`` = the kernel by the RTS line, ``gpio`` = we, by a line of a GPIO chip.
        gpio_chip, gpio_line: For ``gpio``: such as ``/dev/gpiochip0`` and 48.
    """

    port: str = Field(min_length=1, description="a serial port such as /dev/ttyUSB0")
    baud: int = Field(default=19200, ge=300, le=4_000_000)
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    direction: Literal["none", "rts", "gpio"] = "none"
    gpio_chip: str = "/dev/gpiochip0"
    gpio_line: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _can_be_opened(self) -> SerialSettings:
        scheme, is_address, rest = self.port.partition("://")
        if is_address:
            host, _, number = rest.partition("/")[0].rpartition(":")
            if scheme not in ("socket", "rfc2217") or not host or not _is_port(number):
                raise ValueError(
                    "port must be a device name, socket://host:port or rfc2217://host:port, "
                    "with a port from 1 to 65535"
                )
        if self.direction == "gpio" and self.gpio_line is None:
            raise ValueError("gpio_line is needed when direction is gpio")
        return self


class Transport(Protocol):
    """Bytes to and from one device or line."""

    address: str

    def open(self) -> None:
        """Open, or open again.

        Raises:
            PortError: With the port and what is wrong.
        """

    def close(self) -> None:
        """Never raises."""

    def write(self, data: bytes) -> None:
        """Send; returns when the bytes are on their way.

        Raises:
            PortError: The port has gone.
        """

    def read(self, deadline_s: float) -> bytes:
        """What has come, at the latest at that instant of :func:`time.monotonic`; may be empty.

        Raises:
            PortError: The port has gone.
        """

    def drop_input(self) -> int:
        """Throw away what has come and not been read; returns how many bytes that was."""

    @property
    def dead_man(self) -> DeadMan | None:
        """What says WAIT below Python while the port is open; None = nothing does."""


class SerialTransport:
    """A serial port of this machine or of a server on the network.

    Args:
        settings: Of the port.
        wait_frame: Bytes that order WAIT; a thread below Python says them when nobody renews.
            None = there is nothing to stop at the other end.
    """

    def __init__(self, settings: SerialSettings, wait_frame: bytes | None = None) -> None:
        self.address = settings.port
        self._settings = settings
        self._wait_frame = wait_frame
        self._port: Any = None
        self._descriptor: int | None = None
        self._guard: PortGuard | None = None
        self._gpio: Any = None

    def open(self) -> None:
        """See :class:`Transport`."""
        self.close()
        settings = self._settings
        try:
            self._port = serial.serial_for_url(
                settings.port,
                baudrate=settings.baud,
                parity=settings.parity,
                stopbits=settings.stop_bits,
                timeout=_POLL_S,
                # two masters on one line would read each other's answers
                **({"exclusive": True} if "://" not in settings.port else {}),
            )
            if not settings.port.startswith("rfc2217://"):  # that one escapes bytes on their way
                self._descriptor = self._port.fileno()
                self._guard = self._make_guard(self._descriptor)
        except PortError:
            self.close()
            raise
        except (serial.SerialException, OSError, ValueError) as error:
            self.close()
            raise PortError(f"{self.address}: {_reason(error)}") from error

    def close(self) -> None:
        """See :class:`Transport`."""
        opened = (self._guard, self._port, self._gpio)
        self._guard = self._port = self._descriptor = self._gpio = None
        for part, close in zip(opened, ("close", "close", "release"), strict=True):
            if part is not None:
                with contextlib.suppress(Exception):
                    getattr(part, close)()

    def write(self, data: bytes) -> None:
        """See :class:`Transport`."""
        port = self._opened()
        try:
            if self._guard is None:
                port.write(data)
            else:
                self._guard.write(data)
        except GuardFired as fired:
            raise DeadManFired(f"{self.address}: {fired}") from fired
        except (serial.SerialException, OSError) as error:
            raise PortError(f"{self.address}: {_reason(error)}") from error

    def read(self, deadline_s: float) -> bytes:
        """See :class:`Transport`."""
        port = self._opened()
        try:
            if self._descriptor is None:
                while not (data := port.read(max(port.in_waiting, 1))):
                    if time.monotonic() >= deadline_s:
                        break
                return bytes(data)
            wait_s = max(deadline_s - time.monotonic(), 0.0)
            if not select.select([self._descriptor], [], [], wait_s)[0]:
                return b""
            if data := os.read(self._descriptor, _CHUNK):
                return data
        except BlockingIOError:
            return b""
        except (serial.SerialException, OSError, ValueError) as error:
            raise PortError(f"{self.address}: {_reason(error)}") from error
        raise PortError(f"{self.address}: the port has gone (unplugged, or closed by its server)")

    def drop_input(self) -> int:
        """See :class:`Transport`."""
        if self._descriptor is None:
            port = self._opened()
            dropped = int(port.in_waiting)
            port.reset_input_buffer()
            return dropped
        return _drop_input(self.read)

    @property
    def dead_man(self) -> DeadMan | None:
        """See :class:`Transport`. A port that escapes bytes on their way has none."""
        return self._guard if self._wait_frame is not None else None

    def _opened(self) -> Any:
        if self._port is None:
            raise PortError(f"{self.address}: the port is not open")
        return self._port

    def _make_guard(self, descriptor: int) -> PortGuard:
        settings, direction, gpio_fd = self._settings, self._settings.direction, None
        if direction == "rts":
            try:  # the kernel turns it, exact to a bit
                self._port.rs485_mode = serial.rs485.RS485Settings()
                direction = "none"
            except (OSError, ValueError, AttributeError, NotImplementedError):
                self._port.rts = False
        elif direction == "gpio":
            self._gpio = _gpio_line(settings)
            gpio_fd = self._gpio.fd
        frame = self._wait_frame or b"\0"  # without one it only turns the line: nobody renews it
        return PortGuard(descriptor, frame, direction=direction, gpio_fd=gpio_fd)


class SocketTransport:
    """A TCP connection to a device that has bytes of its own for it, such as Modbus TCP.

    Args:
        host: Name or address.
        port: 1..65535.
        connect_limit_s: For the connection to be there. [s]
    """

    dead_man: DeadMan | None = None

    def __init__(self, host: str, port: int, connect_limit_s: float) -> None:
        self.address = f"{host}:{port}"
        self._at = (host, port)
        self._connect_limit_s = connect_limit_s
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """See :class:`Transport`."""
        self.close()
        try:
            self._socket = socket.create_connection(self._at, self._connect_limit_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (OSError, UnicodeError) as error:
            self.close()
            raise PortError(f"{self.address}: {_reason(error)}") from error

    def close(self) -> None:
        """See :class:`Transport`."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def write(self, data: bytes) -> None:
        """See :class:`Transport`."""
        try:
            self._opened().sendall(data)
        except OSError as error:
            raise PortError(f"{self.address}: {_reason(error)}") from error

    def read(self, deadline_s: float) -> bytes:
        """See :class:`Transport`."""
        opened = self._opened()
        try:
            if not select.select([opened], [], [], max(deadline_s - time.monotonic(), 0.0))[0]:
                return b""
            if data := opened.recv(_CHUNK):
                return data
        except (OSError, ValueError) as error:
            raise PortError(f"{self.address}: {_reason(error)}") from error
        raise PortError(f"{self.address}: the connection was closed by the other side")

    def drop_input(self) -> int:
        """See :class:`Transport`."""
        return _drop_input(self.read)

    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise PortError(f"{self.address}: the connection is not open")
        return self._socket


def _drop_input(read: Callable[[float], bytes]) -> int:
    """Read what is there; of a line that never falls silent not more than a buffer has."""
    dropped = 0
    while dropped < _MOST_DROPPED and (data := read(0.0)):
        dropped += len(data)
    return dropped


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535


def _gpio_line(settings: SerialSettings) -> Any:
    """The GPIO line that is high while we send, ours until it is released."""
    try:
        import gpiod  # only where a board needs it
        from gpiod.line import Direction, Value
    except ImportError as error:
        raise PortError("direction is gpio, but the Python package gpiod is missing") from error
    line = gpiod.LineSettings(direction=Direction.OUTPUT, output_value=Value.INACTIVE)
    config: dict[Any, Any] = {settings.gpio_line: line}
    try:
        return gpiod.request_lines(settings.gpio_chip, consumer="apis_driver", config=config)
    except (OSError, ValueError) as error:
        where = f"gpio line {settings.gpio_line} of {settings.gpio_chip}"
        raise PortError(f"{where} cannot be had: {error}") from error


def _reason(error: Exception) -> str:
    """What is wrong with a port, and what would help."""
    number = getattr(error, "errno", None)
    text, cause = str(error), error.__context__
    if number is None and isinstance(cause, (termios.error, OSError)) and cause.args:
        number = cause.args[0]
    if "exclusively lock" in text:
        number = errno.EBUSY
    reasons = {
        errno.ENOENT: "there is no such port; is the adapter plugged in?",
        errno.EACCES: "we may not open it; is this user in the group dialout?",
        errno.EPERM: "we may not open it; is this user in the group dialout?",
        errno.EBUSY: "another program has it open",
        errno.EIO: "the port has gone (unplugged, or closed by its server)",
        errno.ENOTTY: "it is no serial port",
        errno.EISDIR: "it is no serial port",
        errno.ECONNREFUSED: "nobody listens at that address",
        errno.ECONNRESET: "the connection was closed by the other side",
        errno.EPIPE: "the connection was closed by the other side",
    }
    if number in reasons:
        return reasons[number]
    return text or type(error).__name__
