"""A battery on Modbus in memory: speaks the real bytes, and has faults on demand."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pymodbus.framer import FramerRTU

from apis_driver.errors import PortError


def with_sum(body: bytes) -> bytes:
    """An RTU frame."""
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


@dataclass(frozen=True)
class Asked:
    """A question that reached it."""

    unit: int
    function: int
    address: int
    count: int
    transaction: bytes = b""

    @classmethod
    def of(cls, data: bytes, *, is_tcp: bool) -> Asked:
        pdu_at = 7 if is_tcp else 1
        start, count = (
            int.from_bytes(data[at : at + 2], "big") for at in (pdu_at + 1, pdu_at + 3)
        )
        return cls(data[pdu_at - 1], data[pdu_at], start, count, data[:2] if is_tcp else b"")

    def frame(self, pdu: bytes, *, unit: int | None = None, transaction: int | None = None):
        """A frame with that PDU, as an answer to this question."""
        body = bytes((self.unit if unit is None else unit,)) + pdu
        if not self.transaction:
            return with_sum(body)
        number = self.transaction if transaction is None else transaction.to_bytes(2, "big")
        return number + b"\0\0" + len(body).to_bytes(2, "big") + body

    def refusal(self, code: int) -> bytes:
        return self.frame(bytes((self.function | 0x80, code)))


class FakeBattery:
    """Both the battery and the transport to it.

    Attributes:
        registers: By their addresses.
        asked: What reached it.
        say: What comes for a question, and after how long; None = the right answer at once.
    """

    address, dead_man = "/dev/fake", None

    def __init__(self, registers: dict[int, int] | None = None, *, is_tcp: bool = False) -> None:
        self.registers = {0x1D: 700, 0x1E: 0} if registers is None else registers
        self.is_tcp = is_tcp
        self.asked: list[Asked] = []
        self.say: Callable[[Asked], Iterable[tuple[float, bytes]]] | None = None
        self.sent = b""  # the last question, as it was sent
        self.fault = ""  # why no port opens
        self.opened = 0
        self.incoming: deque[tuple[float, bytes]] = deque()

    def good(self, asked: Asked) -> bytes:
        words = (self.registers[asked.address + i] for i in range(asked.count))
        data = b"".join(word.to_bytes(2, "big") for word in words)
        return asked.frame(bytes((asked.function, len(data))) + data)

    def open(self) -> None:
        if self.fault:
            raise PortError(f"{self.address}: {self.fault}")
        self.opened += 1

    def close(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        if self.fault:
            raise PortError(f"{self.address}: {self.fault}")
        self.sent = data
        asked = Asked.of(data, is_tcp=self.is_tcp)
        self.asked.append(asked)
        said = [(0.0, self.good(asked))] if self.say is None else self.say(asked)
        now_s = time.monotonic()
        self.incoming.extend((now_s + delay_s, frame) for delay_s, frame in said)
        self.incoming = deque(sorted(self.incoming, key=lambda item: item[0]))

    def read(self, deadline_s: float) -> bytes:
        if self.fault:
            raise PortError(f"{self.address}: {self.fault}")
        due_s = self.incoming[0][0] if self.incoming else float("inf")
        if due_s <= max(deadline_s, time.monotonic()):
            time.sleep(max(due_s - time.monotonic(), 0.0))
            return self.incoming.popleft()[1]
        time.sleep(max(deadline_s - time.monotonic(), 0.0))
        return b""

    def drop_input(self) -> int:
        dropped = 0
        while data := self.read(0.0):
            dropped += len(data)
        return dropped
