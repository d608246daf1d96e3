"""The EZA2500's frames: bytes to frames and back, without any I/O.

    SFD | LEN | AD1 | AD2 | CMD | data, LEN bytes | sum, low byte | sum, high byte

``SFD`` is 0x05 in a request and 0x02 in a reply, ``AD1`` the converter, ``AD2`` the host. The sum
adds all bytes from AD1 to the end of the data; it covers neither SFD nor LEN. There is no end
mark and no escaping, so both may occur anywhere inside. A refusal has bit 7 of CMD set.
Source: ``driver-protocols``, A2 to A4 and A7; both directions are here, so that a simulated
converter speaks through the same lines as the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from apis_driver.errors import BadChecksum, BadFrame, DeviceTimeout

__all__ = ["MAX_DATA", "OVERHEAD", "REFUSED", "REPLY", "REQUEST", "Frame", "FrameReader", "shown"]

REQUEST, REPLY = 0x05, 0x02
REFUSED = 0x80  # set in the CMD of a reply that is a refusal
OVERHEAD = 7  # bytes of a frame besides its data
MAX_DATA = 20  # bytes of the longest block (14-1)
_HEAD = 5
_SHOWN_BYTES = 12  # of what came instead of a frame


def shown(first: bytes) -> str:
    """The first bytes of what came, for people: as numbers and as text."""
    first = first[:_SHOWN_BYTES]
    text = "".join(chr(b) if 32 <= b < 127 else "." for b in first)
    return f"they began with {first.hex(' ')} ({text})"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        start: REQUEST or REPLY.
        converter: AD1, 0..255.
        host: AD2, 0..255.
        command: CMD, 0..255.
        data: 0..255 bytes.
    """

    start: int
    converter: int
    host: int
    command: int
    data: bytes = b""

    def encode(self) -> bytes:
        """The bytes on the line."""
        body = bytes((self.converter, self.host, self.command)) + self.data
        return bytes((self.start, len(self.data))) + body + sum(body).to_bytes(2, "little")

    @property
    def is_refusal(self) -> bool:
        """Whether it is a reply that says no."""
        return self.start == REPLY and bool(self.command & REFUSED)


class FrameReader:
    """Finds frames in a stream of bytes, whatever stands before, between and inside them.

    Every start byte is looked at as a possible beginning. The first whole candidate with a length
    that occurs, a right sum and a good word of `judge` is a frame; an unfinished candidate does
    not hold up the ones behind it, since noise may look like the beginning of one.

    Args:
        start: REQUEST or REPLY: what is read here.
        lengths: Lengths of the data that occur.
        judge: Says of a frame with a right sum why it is not wanted; None = it is.
    """

    def __init__(
        self,
        start: int,
        lengths: Collection[int],
        judge: Callable[[Frame], BadFrame | None] = lambda _frame: None,
    ) -> None:
        self._start = start
        self._lengths = frozenset(lengths)
        self._longest = max(self._lengths) + OVERHEAD
        self._judge = judge
        self._bytes = bytearray()
        self._unwanted: BadFrame | None = None
        self._bad_sum: BadChecksum | None = None
        self.foreign = 0  # whole frames that were not wanted
        self.received = 0  # bytes ever fed, for diagnostics
        self._first = b""  # of them

    def feed(self, data: bytes) -> Frame | None:
        """Take bytes; returns the next frame if there is one. Feed nothing to get one more."""
        self._bytes += data
        self.received += len(data)
        if len(self._first) < _SHOWN_BYTES:
            self._first = (self._first + data)[:_SHOWN_BYTES]
        buffer, at = self._bytes, 0
        oldest_open: int | None = None  # the first candidate that may still become a frame
        while (at := buffer.find(self._start, at)) >= 0:
            size = self._size_at(at)
            if size is None or at + size > len(buffer):
                if oldest_open is None and (size is None or size > 0):
                    oldest_open = at
            elif size and (frame := self._frame_at(at, size)) is not None:
                del buffer[: at + size]
                return frame
            at += 1
        del buffer[: len(buffer) if oldest_open is None else oldest_open]
        return None

    def reset(self) -> None:
        """Forget everything that came."""
        self._bytes.clear()
        self._unwanted = self._bad_sum = None
        self.received, self.foreign, self._first = 0, 0, b""

    @property
    def may_follow(self) -> bool:
        """Whether all that came was noise or unwanted, so that the frame may still follow."""
        return not self._bytes and self._bad_sum is None

    @property
    def unread(self) -> int:
        """Bytes that are kept for the next frame."""
        return len(self._bytes)

    @property
    def complaint(self) -> BadFrame | DeviceTimeout:
        """Why there was no frame, to be asked when no more bytes will come."""
        if self._unwanted is not None:
            return self._unwanted
        if self._bad_sum is not None:
            return self._bad_sum
        if self.received:
            return DeviceTimeout(
                f"{self.received} bytes came, but no whole frame; {shown(self._first)}"
            )
        return DeviceTimeout("no answer")

    def _size_at(self, at: int) -> int | None:
        """Length of the candidate there; 0 = it is none, None = not known yet."""
        if at + 1 >= len(self._bytes):
            return None
        length = self._bytes[at + 1]
        return length + OVERHEAD if length in self._lengths else 0

    def _frame_at(self, at: int, size: int) -> Frame | None:
        raw = bytes(self._bytes[at : at + size])
        body, found = raw[2:-2], int.from_bytes(raw[-2:], "little")
        if sum(body) != found:
            text = f"checksum is {found:#06x}, the bytes add up to {sum(body):#06x}"
            self._bad_sum = self._bad_sum or BadChecksum(text)
            return None
        frame = Frame(raw[0], raw[2], raw[3], raw[4], raw[_HEAD:-2])
        unwanted = self._judge(frame)
        if unwanted is None:
            return frame
        self._unwanted = self._unwanted or unwanted
        self.foreign += 1
        return None
