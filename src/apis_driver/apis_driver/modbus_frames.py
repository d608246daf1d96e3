"""Finds the answer to a Modbus question in what a line brings: RTU or TCP frames.

pymodbus makes the questions and the sums. An answer has to be matched to its question: an RTU
frame has no number, so an answer that comes late looks like the answer to whatever was asked next.
What a line carries besides is dropped and counted: noise, the echo of the question, frames of
others.
"""

from __future__ import annotations

from dataclasses import dataclass

from pymodbus.framer import FramerBase, FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from apis_driver.errors import (
    BadChecksum,
    BadFrame,
    DeviceBusy,
    DeviceError,
    DeviceRefused,
    DeviceTimeout,
    WrongAddress,
    WrongCommand,
    WrongLength,
    WrongTransaction,
)
from apis_driver.frame import shown

__all__ = [
    "ADDRESSES",
    "FUNCTIONS",
    "MOST_REGISTERS",
    "Question",
    "RtuReader",
    "TcpReader",
]

ADDRESSES = 0x10000  # registers that can be named
MOST_REGISTERS = 125  # in one answer
FUNCTIONS = {"holding": 3, "input": 4}

_REFUSED = 0x80  # set in the function of an answer that is a refusal
_LONGEST_RTU = 256
_REQUEST_BYTES = 8  # of a question, and of the answers to questions that write
_EXCEPTION_BYTES = 5
_REASONS = {
    1: "the device does not know this function, or cannot do it now",
    2: "the device has no such registers",
    3: "the device finds the request malformed",
    4: "the device failed while serving",
    5: "the device needs more time",
    6: "the device is busy",
    10: "the gateway has no path to the device now",
    11: "the gateway gets no answer from the device",
}
_BUSY = (5, 6, 10)
_SILENT = (11,)


@dataclass(frozen=True, slots=True)
class Question:
    """Registers that are asked for.

    Attributes:
        unit: Of the device, 0..255.
        function: 3 (holding) or 4 (input).
        address: Of the first register, 0..65535.
        count: Of registers, 1..125.
        transaction: Number of the question on TCP.
    """

    unit: int
    function: int
    address: int
    count: int
    transaction: int = 0

    def encode(self, framer: FramerBase) -> bytes:
        """The bytes on the line."""
        kind = ReadInputRegistersRequest if self.function == 4 else ReadHoldingRegistersRequest
        return framer.buildFrame(
            kind(
                address=self.address,
                count=self.count,
                dev_id=self.unit,
                transaction_id=self.transaction,
            )
        )

    @property
    def head(self) -> bytes:
        """The first bytes of a good answer."""
        return bytes((self.unit, self.function, 2 * self.count))

    def registers_of(self, unit: int, pdu: bytes) -> bytes:
        """Registers in a whole frame.

        Raises:
            BadFrame: It is no answer to this question.
            DeviceError: It is a refusal.
        """
        if unit != self.unit:
            raise WrongAddress(f"a frame of unit {unit} came, unit {self.unit} was asked")
        function = pdu[0]
        if function == self.function | _REFUSED and len(pdu) == 2:
            raise _refusal(pdu[1])
        if function != self.function:
            raise WrongCommand(
                f"an answer of function {function} came, function {self.function} was asked"
            )
        if len(pdu) != 2 + 2 * self.count or pdu[1] != 2 * self.count:
            raise WrongLength(
                f"an answer with {len(pdu) - 2} bytes of registers came, "
                f"it must have {2 * self.count}"
            )
        return pdu[2:]


def _refusal(code: int) -> DeviceError:
    text = f"{_REASONS.get(code, 'the device refuses')} (exception {code})"
    if code in _SILENT:
        return DeviceTimeout(text)
    return DeviceBusy(text) if code in _BUSY else DeviceRefused(text)


class _FrameSeeker:
    """What both framings have in common: what came, and what becomes of a whole frame."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._bytes = bytearray()
        self._first = b""
        self._unwanted: BadFrame | None = None
        self.received = 0
        self.foreign = 0

    @property
    def may_follow(self) -> bool:
        """See :class:`apis_driver.line.Reader`."""
        return not self._bytes.startswith(self._question.head)

    def _take(self, data: bytes) -> None:
        self._bytes += data
        self.received += len(data)
        if len(self._first) < _LONGEST_RTU:
            self._first = (self._first + data)[:_LONGEST_RTU]

    def _judge(self, unit: int, pdu: bytes) -> bytes | None:
        try:
            return self._question.registers_of(unit, pdu)
        except BadFrame as unwanted:
            self._note(unwanted)
            return None

    def _note(self, unwanted: BadFrame | None) -> None:
        """A whole frame has come that is no answer."""
        self.foreign += 1
        self._unwanted = self._unwanted or unwanted

    def _silence(self, hint: str = "") -> DeviceTimeout:
        if not self.received:
            return DeviceTimeout(f"no answer from unit {self._question.unit}")
        text = f"{self.received} bytes came, but no answer of unit {self._question.unit}"
        return DeviceTimeout(f"{text}; {shown(self._first)}{hint}")


class RtuReader(_FrameSeeker):
    """Finds the answer to a question among the bytes of a serial line.

    Every byte is looked at as a possible beginning: an adapter may add a byte when the line turns,
    or give back what was sent, and others may speak on the same line.
    """

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self._echo = question.encode(FramerRTU(DecodePDU(False)))
        self._bad_sum: BadChecksum | None = None
        self._has_echo = False

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes; the registers, once the answer is whole.

        Raises:
            DeviceError: The device said no.
        """
        self._take(data)
        at = 0
        while at < len(self._bytes):
            size = self._whole_frame_at(at)
            if not size:
                at += 1
                continue
            frame = bytes(self._bytes[at : at + size])
            del self._bytes[: at + size]
            at = 0
            if size == _REQUEST_BYTES:  # never an answer: registers are of two bytes each
                self._has_echo |= frame == self._echo
                self._note(None)
            elif (registers := self._judge(frame[0], frame[1:-2])) is not None:
                return registers
        del self._bytes[:-_LONGEST_RTU]
        return None

    @property
    def complaint(self) -> DeviceError:
        """Why there was no answer, once no more bytes will come."""
        if self._bad_sum is not None:
            return self._bad_sum
        if self._unwanted is not None:
            return self._unwanted
        if self._has_echo and self.received == len(self._echo):
            return DeviceTimeout(
                f"only what was sent came back, and no answer of unit {self._question.unit}: the "
                "adapter echoes; is the device on, and are its wires the right way round?"
            )
        is_ascii = self._first.startswith(b":")
        return self._silence("; is the device set to Modbus ASCII? It must be RTU" * is_ascii)

    def _whole_frame_at(self, at: int) -> int:
        """Length of the whole frame that begins there; 0 = none does."""
        left, buffer = len(self._bytes) - at, self._bytes
        if left < _EXCEPTION_BYTES:
            return 0
        function, answer_bytes = buffer[at + 1], buffer[at + 2] + _EXCEPTION_BYTES
        sizes = [_REQUEST_BYTES] if 1 <= function <= 6 or function in (15, 16) else []
        if function & _REFUSED:
            sizes.append(_EXCEPTION_BYTES)
        if 1 <= function <= 4:
            sizes.insert(0, answer_bytes)
        for size in sizes:
            if size <= left and self._has_right_sum(at, size):
                return size
        if buffer[at : at + 3] == self._question.head and answer_bytes <= left:
            self._bad_sum = self._bad_sum or BadChecksum("the answer has a wrong checksum")
        return 0

    def _has_right_sum(self, at: int, size: int) -> bool:
        body, found = self._bytes[at : at + size - 2], self._bytes[at + size - 2 : at + size]
        return FramerRTU.check_CRC(bytes(body), int.from_bytes(found, "big"))


class TcpReader(_FrameSeeker):
    """Finds the answer to a question in the bytes of a connection, by its transaction."""

    _HEAD = 7  # transaction, protocol, length, unit
    _LEAST_LENGTH, _MOST_LENGTH = 3, 254

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes; the registers, once the answer is whole.

        Raises:
            DeviceError: The device said no.
        """
        self._take(data)
        buffer = self._bytes
        while len(buffer) >= self._HEAD:
            length = int.from_bytes(buffer[4:6], "big")
            if buffer[2:4] != b"\0\0" or not self._LEAST_LENGTH <= length <= self._MOST_LENGTH:
                del buffer[0]
                continue
            if len(buffer) < 6 + length:
                return None
            frame = bytes(buffer[: 6 + length])
            del buffer[: 6 + length]
            transaction = int.from_bytes(frame[:2], "big")
            if transaction != self._question.transaction:
                self._note(
                    WrongTransaction(
                        f"the answer to question {transaction} came, "
                        f"question {self._question.transaction} was asked"
                    )
                )
            elif (registers := self._judge(frame[6], frame[7:])) is not None:
                return registers
        return None

    @property
    def may_follow(self) -> bool:
        """See :class:`apis_driver.line.Reader`. A connection breaks no frames off."""
        return True

    @property
    def complaint(self) -> DeviceError:
        """Why there was no answer, once no more bytes will come."""
        if self._unwanted is not None:
            return self._unwanted
        return self._silence(
            "; this is RTU over TCP: write the port as socket://host:port" * self._is_rtu()
        )

    def _is_rtu(self) -> bool:
        try:
            return RtuReader(self._question).feed(self._first) is not None
        except DeviceError:
            return True
