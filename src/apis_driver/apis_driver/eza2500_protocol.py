"""What is said on an EZA2500's line, both ways: frames of :mod:`frame` filled by its table.

Nothing here reads a port or a clock; the driver (:mod:`apis_driver.devices.eza2500`) and the
simulated converter of ``apis_emulator`` stand on either side of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from apis_driver.codec import Command, Exact, RegisterTable, load_table
from apis_driver.errors import (
    BadFrame,
    DeviceBusy,
    DeviceRefused,
    WrongAddress,
    WrongCommand,
    WrongLength,
)
from apis_driver.frame import REFUSED, REPLY, REQUEST, Frame, FrameReader

__all__ = [
    "BUSY",
    "CONVERTER",
    "HOST",
    "INTERNAL_FAULT",
    "NOT_ALLOWED",
    "NOT_NOW",
    "NOT_SUPPORTED",
    "Addresses",
    "ReplyReader",
    "RequestReader",
    "encode_refusal",
    "encode_reply",
    "encode_request",
    "refusal",
    "table",
]

CONVERTER, HOST = 0, 16  # shipped addresses
NOT_SUPPORTED, NOT_ALLOWED, NOT_NOW, BUSY, INTERNAL_FAULT = 0xFFFF, 0xFFFE, 0xFFFD, 0xFFFC, 0xFFFB
_REFUSAL_BYTES = 2
_REASONS = {
    NOT_SUPPORTED: "the converter does not know this command",
    NOT_ALLOWED: "the converter does not allow this value",
    NOT_NOW: "the converter cannot accept this now",
    BUSY: "the converter is busy",
    INTERNAL_FAULT: "the converter has a fault in its internal communication",
}
_FINAL = (NOT_SUPPORTED, NOT_ALLOWED, INTERNAL_FAULT)  # asking again changes nothing


@cache
def table() -> RegisterTable:
    """The register table of the EZA2500."""
    return load_table("eza2500")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Of both ends of the line, 0..255 each."""

    converter: int = CONVERTER
    host: int = HOST


SHIPPED = Addresses()


def encode_request(
    command: str, values: Mapping[str, Exact] | None = None, at: Addresses = SHIPPED
) -> bytes:
    """The bytes of a request.

    Args:
        command: Such as ``4-4``.
        values: Of the fields that the command sends; none for a read.
        at: Both addresses.

    Raises:
        OutOfRange: A value is missing or not within the limits of its field.
    """
    what = table()[command]
    data = what.request.encode(values or {})
    return Frame(REQUEST, at.converter, at.host, what.code, data).encode()


def encode_reply(command: str, raw: Mapping[str, int], at: Addresses = SHIPPED) -> bytes:
    """The bytes of a converter's answer; counts, not values, since a converter holds counts."""
    what = table()[command]
    return Frame(REPLY, at.converter, at.host, what.code, what.reply.pack(raw)).encode()


def encode_refusal(code: int, reason: int, at: Addresses = SHIPPED) -> bytes:
    """The bytes of a converter's no: the code of the command, and one of the reasons above."""
    data = reason.to_bytes(_REFUSAL_BYTES, "little")
    return Frame(REPLY, at.converter, at.host, code | REFUSED, data).encode()


def refusal(command: str, reason: int) -> DeviceRefused:
    """A refusal as an exception; :class:`DeviceBusy` if asking again makes sense."""
    text = _REASONS.get(reason, "the converter refuses for a reason that is not documented")
    kind = DeviceRefused if reason in _FINAL else DeviceBusy
    return kind(f"{command}: {text} (code {reason:#06x})")


class ReplyReader:
    """Finds the one reply to a request and decodes it.

    Args:
        command: That was sent.
        at: Both addresses. The order in which a reply has them is not documented, so either is
            accepted.
    """

    def __init__(self, command: str, at: Addresses = SHIPPED) -> None:
        self._command = table()[command]
        self._at = {(at.converter, at.host), (at.host, at.converter)}
        lengths = {self._command.reply.size, _REFUSAL_BYTES}
        self._frames = FrameReader(REPLY, lengths, self._judge)

    def feed(self, data: bytes) -> dict[str, int] | None:
        """Take bytes of the line; returns the counts of the reply once it is whole.

        Raises:
            DeviceRefused: The converter said no.
            ImplausibleReply: It said something that is not within the limits of its table.
        """
        frame = self._frames.feed(data)
        if frame is None:
            return None
        if frame.is_refusal:
            raise refusal(self._command.name, int.from_bytes(frame.data, "little"))
        raw = self._command.reply.unpack(frame.data)
        self._command.reply.check(raw)
        return raw

    @property
    def complaint(self) -> Exception:
        """Why there was no reply, once no more bytes will come."""
        return self._frames.complaint

    @property
    def received(self) -> int:
        """How many bytes came."""
        return self._frames.received

    @property
    def foreign(self) -> int:
        """See :class:`apis_driver.line.Reader`."""
        return self._frames.foreign

    @property
    def may_follow(self) -> bool:
        """See :class:`apis_driver.line.Reader`."""
        return self._frames.may_follow

    @property
    def unread(self) -> int:
        """How many of them are left behind the reply."""
        return self._frames.unread

    def _judge(self, frame: Frame) -> BadFrame | None:
        command, code = self._command, frame.command
        if code not in (command.code, command.code | REFUSED):
            return WrongCommand(
                f"the reply is to command {code & ~REFUSED:#04x}, not to {command.code:#04x}"
            )
        due = _REFUSAL_BYTES if frame.is_refusal else command.reply.size
        if len(frame.data) != due:
            return WrongLength(
                f"the reply has {len(frame.data)} bytes of data, it must have {due}"
            )
        if (frame.converter, frame.host) not in self._at:
            return WrongAddress(f"the reply is of {frame.converter} to {frame.host}, not for us")
        return None


class RequestReader:
    """The converter's side: finds requests to it in what comes over the line.

    Args:
        at: Both addresses; requests to others are not for us.
    """

    def __init__(self, at: Addresses = SHIPPED) -> None:
        self._at = at
        self._by_code: dict[tuple[int, int], Command] = {
            (command.code, command.request.size): command for command in table().commands.values()
        }
        sizes = {command.request.size for command in table().commands.values()}
        self._frames = FrameReader(REQUEST, sizes, self._judge)

    def feed(self, data: bytes) -> tuple[Frame, Command | None, dict[str, int]] | None:
        """Take bytes; returns the next request: its frame, its command and its counts.

        The command is None if there is none of that code and length: to be refused as
        NOT_SUPPORTED. Feed nothing to get one more.
        """
        frame = self._frames.feed(data)
        if frame is None:
            return None
        command = self._by_code.get((frame.command, len(frame.data)))
        return frame, command, command.request.unpack(frame.data) if command else {}

    def reset(self) -> None:
        """Forget what came; a converter does so after a pause on the line."""
        self._frames.reset()

    def _judge(self, frame: Frame) -> BadFrame | None:
        if (frame.converter, frame.host) != (self._at.converter, self._at.host):
            return WrongAddress(f"the request is to {frame.converter}")
        return None
