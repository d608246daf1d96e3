"""Reads registers of a device over Modbus: RTU on a serial line or a serial server, or TCP.

The line is ours (:mod:`apis_driver.line`), and so is what finds an answer in it
(:mod:`apis_driver.modbus_frames`).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU

from apis_driver.errors import (
    DeviceError,
    PortError,
    WrongLength,
)
from apis_driver.line import Line, LineSettings
from apis_driver.modbus_frames import ADDRESSES, Question, RtuReader, TcpReader
from apis_driver.transport import Transport

__all__ = ["ModbusClient"]


@dataclass(slots=True)
class ModbusClient:
    """Asks for registers on one line; called by one thread.

    Args:
        transport: Not yet open.
        settings: Of the exchanges.
        framing: ``rtu``, or ``tcp``, which numbers its questions.
    """

    transport: Transport
    settings: LineSettings
    framing: Literal["rtu", "tcp"]
    _line: Line = field(init=False)
    _transaction: int = field(init=False, default_factory=lambda: random.randrange(0x10000))
    _has_answered: bool = field(init=False, default=False)
    _probes: int = field(init=False, default=0)
    _is_behind: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._line = Line(self.transport, self.settings)

    @property
    def counters(self) -> Counter[str]:
        """What happened on the line."""
        return self._line.counters

    def connect(self) -> None:
        """Open the port, or open it again.

        Raises:
            PortError: It cannot be opened.
        """
        self._has_answered = False
        self.transport.open()

    def close(self) -> None:
        """Let the port go. Never raises."""
        self.transport.close()

    def read(self, question: Question, deadline_s: float, *, is_like_others: bool = True) -> bytes:
        """Registers, two bytes each, high byte first.

        Args:
            question: What is asked; the transaction is filled in.
            deadline_s: Instant of :func:`time.monotonic` by which this returns or raises.
            is_like_others: Whether another question of ours has answers of the same unit, function
                and length. RTU cannot tell them apart, so none is asked while one may still come.

        Raises:
            DeviceError: The last failure, if there is no answer by then.
        """
        while True:
            try:
                registers = self._ask(question, deadline_s, is_like_others=is_like_others)
            except PortError:
                # some servers close after each answer
                is_over = time.monotonic() >= deadline_s
                if self.framing == "rtu" or not self._has_answered or is_over:
                    raise
                self.counters["reconnects"] += 1
                self.connect()
                continue
            self._has_answered = True
            return registers

    def _ask(self, question: Question, deadline_s: float, *, is_like_others: bool) -> bytes:
        if self.framing == "tcp":  # its number says which question an answer belongs to
            self._transaction = (self._transaction + 1) % 0x10000
            question = replace(question, transaction=self._transaction)
            return self._line.ask(
                question.encode(FramerSocket(DecodePDU(False))),
                partial(TcpReader, question),
                deadline_s,
                alike=None,
            )
        alike = (question.unit, question.function, question.count) if is_like_others else None
        asked = question.encode(FramerRTU(DecodePDU(False)))
        return self._line.ask(
            asked,
            partial(RtuReader, question),
            deadline_s,
            alike=alike,
            get_in_step=partial(self._get_in_step, question),
        )

    def _get_in_step(self, question: Question, deadline_s: float) -> None:
        """Ask for another number of registers, whose answer looks different.

        Some devices and adapters keep an answer until the next question, however long that takes.
        Then each answer is the one to the question before; so no two such questions are alike.

        Raises:
            DeviceError: It is not in step.
        """
        self._probes += 1
        others = [count for count in (question.count - 1, question.count + 1) if count]
        count = (*others, question.count + 2)[self._probes % 2]
        address = min(question.address, ADDRESSES - count)
        probe = replace(question, address=address, count=count)
        asked = probe.encode(FramerRTU(DecodePDU(False)))
        try:
            self._line.ask_once(asked, RtuReader(probe), deadline_s)
        except PortError:
            raise
        except DeviceError as failure:
            if isinstance(failure, WrongLength):
                self._is_behind = True
                self.counters["out of step"] += 1
            if self._is_behind:
                raise
            return  # a refusal is an answer, too; and one that is silent keeps nothing back
        self._is_behind = False
