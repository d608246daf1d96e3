"""The only layer that blocks: bytes out, bytes in, by a deadline.

A port is a device name (``/dev/ttyUSB0``), a serial server on the network (``socket://host:port``,
raw) or one that sets the line's parameters too (``rfc2217://host:port``).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

import serial
import serial.rs485
from pydantic import Field, model_validator

from apis_driver.device import DeviceSettings
from apis_driver.errors import PortError

__all__ = ["SerialSettings", "SerialTransport", "Transport"]

_CHUNK = 4096
_POLL_S = 0.005  # of ports without a descriptor to wait for
_WRITE_LIMIT_S = 1.0


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
    def _has_a_line(self) -> SerialSettings:
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

    def drop_input(self) -> None:
        """Throw away what has come and not been read."""

    @property
    def fileno(self) -> int | None:
        """Descriptor that takes plain bytes for the device; None = there is none."""


class SerialTransport:
    """A serial port of this machine or of a server on the network."""

    def __init__(self, settings: SerialSettings) -> None:
        self.address = settings.port
        self._settings = settings
        self._port: Any = None
        self._descriptor: int | None = None
        self._turn: Callable[[bool], None] | None = None
        self._release: Callable[[], None] = lambda: None

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
                write_timeout=_WRITE_LIMIT_S,
                # two masters on one line would read each other's answers
                **({"exclusive": True} if "://" not in settings.port else {}),
            )
            if not settings.port.startswith("rfc2217://"):  # that one escapes bytes on their way
                with contextlib.suppress(OSError, AttributeError, ValueError):
                    self._descriptor = self._port.fileno()
            self._prepare_direction()
        except (serial.SerialException, OSError, ValueError) as error:
            self.close()
            raise PortError(f"{self.address}: {_reason(error)}") from error

    def close(self) -> None:
        """See :class:`Transport`."""
        port, self._port, self._descriptor = self._port, None, None
        release, self._release, self._turn = self._release, lambda: None, None
        with contextlib.suppress(Exception):
            release()
        if port is not None:
            with contextlib.suppress(Exception):
                port.close()

    def write(self, data: bytes) -> None:
        """See :class:`Transport`."""
        port = self._opened()
        try:
            if self._turn is None:
                port.write(data)
                return
            self._turn(True)
            try:
                port.write(data)
                port.flush()
            finally:
                self._turn(False)
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
        except (serial.SerialException, OSError, ValueError) as error:
            raise PortError(f"{self.address}: {_reason(error)}") from error
        raise PortError(f"{self.address}: the port has gone (unplugged, or closed by its server)")

    def drop_input(self) -> None:
        """See :class:`Transport`."""
        if self._descriptor is None:
            self._opened().reset_input_buffer()
            return
        while self.read(0.0):
            pass

    @property
    def fileno(self) -> int | None:
        """See :class:`Transport`; none where we turn the direction by hand."""
        return self._descriptor if self._turn is None else None

    def _opened(self) -> Any:
        if self._port is None:
            raise PortError(f"{self.address}: the port is not open")
        return self._port

    def _prepare_direction(self) -> None:
        settings = self._settings
        if settings.direction == "rts":
            try:  # the kernel turns it, exact to a bit
                self._port.rs485_mode = serial.rs485.RS485Settings()
            except (OSError, ValueError, AttributeError, NotImplementedError):
                self._turn = self._turn_by_rts
                self._turn(False)
        elif settings.direction == "gpio":
            self._turn, self._release = _gpio_line(settings)

    def _turn_by_rts(self, is_sending: bool) -> None:
        self._port.rts = is_sending


def _gpio_line(settings: SerialSettings) -> tuple[Callable[[bool], None], Callable[[], None]]:
    """A GPIO line that is high while we send: how to turn it, how to give it back."""
    try:
        import gpiod  # only where a board needs it
        from gpiod.line import Direction, Value
    except ImportError as error:
        raise PortError("direction is gpio, but the Python package gpiod is missing") from error
    line = settings.gpio_line
    output = gpiod.LineSettings(direction=Direction.OUTPUT, output_value=Value.INACTIVE)
    request = gpiod.request_lines(
        settings.gpio_chip, consumer="apis_driver", config={line: output}
    )

    def turn(is_sending: bool) -> None:
        request.set_value(line, Value.ACTIVE if is_sending else Value.INACTIVE)

    return turn, request.release


def _reason(error: Exception) -> str:
    """What is wrong with a port, and what would help."""
    number = getattr(error, "errno", None)
    text = str(error)
    if number is None and "exclusively lock" in text:
        number = errno.EBUSY
    reasons = {
        errno.ENOENT: "there is no such port; is the adapter plugged in?",
        errno.EACCES: "we may not open it; is this user in the group dialout?",
        errno.EPERM: "we may not open it; is this user in the group dialout?",
        errno.EBUSY: "another program has it open",
        errno.EIO: "the port has gone (unplugged, or closed by its server)",
        errno.ENOTTY: "it is no serial port",
        errno.ECONNREFUSED: "nobody listens at that address",
    }
    if number in reasons:
        return reasons[number]
    return text or type(error).__name__
