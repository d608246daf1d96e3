"""Devices as their serial lines see them: bytes in, bytes out.

A *talker* gets the bytes of the line as they come, and says at the end of each piece what it
answers. It reads no clock and no port; :mod:`apis_emulator.servers.line` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ExceptionResponse
from pymodbus.pdu.register_message import ReadInputRegistersResponse

from apis_driver.eza2500_protocol import (
    NOT_ALLOWED,
    NOT_NOW,
    NOT_SUPPORTED,
    Addresses,
    RequestReader,
    encode_refusal,
    encode_reply,
    table,
)
from apis_emulator.physics.plant import Unit
from apis_emulator.servers.eza import NotNow, SimulatedEza
from apis_emulator.servers.plant_lock import PlantLock

__all__ = ["EzaTalker", "ModbusBatteryTalker", "SharingPermit", "Talker"]


class Talker(Protocol):
    """The device's end of a line."""

    def hear(self, data: bytes, now_s: float) -> bytes:
        """Take bytes that have come; the answer, if they end a question to this device."""

    def silence(self) -> None:
        """The line was silent for longer than a gap between the bytes of one frame."""


class EzaTalker:
    """An EZA2500 on its line.

    Args:
        eza: Its registers.
        lock: Of the plant.
        at: Addresses on the line.
    """

    def __init__(self, eza: SimulatedEza, lock: PlantLock, at: Addresses | None = None) -> None:
        self.refuse: dict[str, int] = {}  # command -> reason, for tests
        self._eza = eza
        self._lock = lock
        self._at = at or Addresses()
        self._requests = RequestReader(self._at)

    def hear(self, data: bytes, now_s: float) -> bytes:
        """See :class:`Talker`."""
        answers = b""
        while (found := self._requests.feed(data)) is not None:
            data = b""
            frame, command, raw = found
            if command is None:
                answers += encode_refusal(frame.command, NOT_SUPPORTED, self._at)
                continue
            with self._lock:
                self._eza.last_heard_s = now_s
                answers += self._obey(command.name, command.code, raw)
        return answers

    def silence(self) -> None:
        """See :class:`Talker`."""
        self._requests.reset()

    def _obey(self, name: str, code: int, raw: Mapping[str, int]) -> bytes:
        command = table()[name]
        if name in self.refuse:
            return encode_refusal(code, self.refuse[name], self._at)
        if raw:
            allowed = all(
                f.is_plausible(raw[f.name])
                and (f.spec.codes is None or raw[f.name] in f.spec.codes)
                for f in command.request.fields
            )
            if not allowed:
                return encode_refusal(code, NOT_ALLOWED, self._at)
            try:
                self._eza.write(raw)
            except NotNow:
                return encode_refusal(code, NOT_NOW, self._at)
        return encode_reply(name, self._eza.read(command.reply), self._at)


READ_INPUT_REGISTERS = 0x04
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
HIGHEST_START, HIGHEST_COUNT = 0x270E, 125
_QUESTION_BYTES = 8  # unit, function, start, count, CRC
_FIRST = 30001  # address of the register with the offset 0 on the wire
RSOC, PERMISSION, VOLTAGE, CURRENT = 30030, 30031, 30032, 30033


@dataclass
class SharingPermit:
    """Whether a battery system lets its energy be shared; may be changed at any time."""

    is_given: bool = True


class ModbusBatteryTalker:
    """A battery system on its Modbus RTU line: state of charge, permission, voltage, current.

    The last two are not in the original's specification: u16 in 0.01 V, s16 in 0.01 A,
    + = charging. Registers that are asked for beside these are no registers (exception 02).

    Args:
        unit: Of the plant.
        permit: What the battery allows.
        lock: Of the plant.
        address: Slave address, 1..247.
    """

    def __init__(
        self, unit: Unit, permit: SharingPermit, lock: PlantLock, address: int = 1
    ) -> None:
        self._unit = unit
        self._permit = permit
        self._lock = lock
        self._address = address
        self._framer = FramerRTU(DecodePDU(True))
        self._bytes = b""

    def hear(self, data: bytes, now_s: float) -> bytes:
        """See :class:`Talker`. A question begins after silence and has eight bytes."""
        self._bytes += data
        question = self._bytes
        if len(question) != _QUESTION_BYTES or question[0] != self._address:
            return b""
        if FramerRTU.compute_CRC(question[:-2]) != int.from_bytes(question[-2:], "big"):
            return b""
        self._bytes = b""
        function = question[1]
        start, count = (int.from_bytes(question[at : at + 2], "big") for at in (2, 4))
        if function != READ_INPUT_REGISTERS:
            return self._refusal(function, ILLEGAL_FUNCTION)
        if not 1 <= count <= HIGHEST_COUNT:
            return self._refusal(function, ILLEGAL_VALUE)
        registers = self._registers()
        wanted = range(start + _FIRST, start + _FIRST + count)
        if start > HIGHEST_START or any(address not in registers for address in wanted):
            return self._refusal(function, ILLEGAL_ADDRESS)
        numbers = [registers[address] for address in wanted]
        answer = ReadInputRegistersResponse(registers=numbers, dev_id=self._address)
        return self._framer.buildFrame(answer)

    def silence(self) -> None:
        """See :class:`Talker`."""
        self._bytes = b""

    def _registers(self) -> dict[int, int]:
        with self._lock:
            battery, power_w = self._unit.battery, self._unit.flow.battery_w
            voltage_v = battery.voltage_v
            current = round(100.0 * power_w / voltage_v)
            return {
                RSOC: min(max(round(1000.0 * battery.soc_ratio), 0), 1000),
                PERMISSION: 0 if self._permit.is_given else 1,
                VOLTAGE: round(100.0 * voltage_v),
                CURRENT: min(max(current, -32768), 32767) & 0xFFFF,
            }

    def _refusal(self, function: int, why: int) -> bytes:
        return self._framer.buildFrame(ExceptionResponse(function, why, self._address))
