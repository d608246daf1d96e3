"""A battery over Modbus: RTU on a serial line or a serial server, or TCP.

Which registers it has and what they mean stands in a table (``registers/modbus_battery.yaml``, or
one of yours). The fields that a battery may have:

=============  ====================================================================================
``rsoc``       state of charge [percent]; needed
``permit``     what may be done: its codes name ``none``, ``charge``, ``discharge`` or ``both``
``denied``     instead: bit 0 set = no energy sharing
``voltage``    at its terminals [V]
``current``    + = charging [A]
``temp``       of its cells [degC]
=============  ====================================================================================

A register at the end of its range (0xFFFF; of a signed one 0x8000 or 0x7FFF) is what devices say
for "not measured".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from apis_core.model.errors import ConfigError, Problem
from apis_driver.codec import Command, Number, is_table_file, load_table
from apis_driver.device import BatteryStatus, SharingPermit, soc_ratio_of
from apis_driver.errors import DeviceError, ImplausibleReply
from apis_driver.line import LineSettings
from apis_driver.modbus import ModbusClient
from apis_driver.modbus_frames import ADDRESSES, FUNCTIONS, MOST_REGISTERS, Question
from apis_driver.transport import SerialSettings, SerialTransport, SocketTransport, Transport

__all__ = ["ModbusBattery", "ModbusBatterySettings"]

_PERMITS = {
    "none": SharingPermit.NONE,
    "charge": SharingPermit.CHARGE_ONLY,
    "discharge": SharingPermit.DISCHARGE_ONLY,
    "both": SharingPermit.BOTH,
}
_FIELDS = ("rsoc", "permit", "denied", "voltage", "current", "temp")
_CONNECT_LIMIT_S = 1.0
_TCP = re.compile(r"(?P<host>[^/\s]+):(?P<port>\d+)")
_MEASURED = {  # what a measurement can be, whatever its register could hold
    "voltage": (0.0, 2000.0, "V"),
    "current": (-10_000.0, 10_000.0, "A"),
    "temp": (-60.0, 150.0, "degC"),
}


class ModbusBatterySettings(SerialSettings):
    """Settings of a battery on Modbus.

    Attributes:
        port: Serial device, ``socket://host:port`` for RTU over a serial server, or ``host:port``
            for Modbus TCP.
        baud, parity, stop_bits: Of the serial line.
        unit: Address of the battery: 1 to 247 on a line, 0 to 255 over TCP.
        registers: Name of a table of ours, or the path of one of yours.
        function: ``input`` (4) or ``holding`` (3) registers.
        reply_timeout_s: For the first byte of an answer. [s]
        byte_gap_s: Silence inside an answer that ends it. [s]
        late_reply_s: For how long a late answer is waited for before a block is asked whose
            answer would have the same length. [s]
        retries: Attempts beyond the first.
    """

    port: str = Field(
        min_length=1,
        description="a serial port such as /dev/ttyUSB1, socket://host:port, or host:port",
    )
    baud: int = Field(default=9600, ge=300, le=4_000_000)
    unit: int = Field(default=1, ge=0, le=255)
    registers: str = Field(default="modbus_battery", min_length=1)
    function: Literal["input", "holding"] = "input"
    reply_timeout_s: float = Field(default=0.3, gt=0, le=10)
    byte_gap_s: float = Field(default=0.03, gt=0, le=1)
    late_reply_s: float = Field(default=3.0, ge=0, le=10)
    retries: int = Field(default=2, ge=0, le=20)

    @classmethod
    def with_files_in(cls, folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
        """See :class:`apis_driver.device.DeviceSettings`."""
        table = values.get("registers")
        if isinstance(table, str) and is_table_file(table):
            return {**values, "registers": str(folder / table)}
        return dict(values)

    @property
    def tcp_address(self) -> tuple[str, int] | None:
        """Where Modbus TCP is spoken; None = RTU."""
        match = _TCP.fullmatch(self.port)
        return (match["host"].strip("[]"), int(match["port"])) if match else None

    @model_validator(mode="after")
    def _has_an_address(self) -> ModbusBatterySettings:
        at = self.tcp_address
        if at is not None and not 1 <= at[1] <= 65535:
            raise ValueError(f"port of {self.port} is {at[1]}, it must be from 1 to 65535")
        if at is None and not 1 <= self.unit <= 247:
            raise ValueError(f"unit is {self.unit}, it must be from 1 to 247 on a serial line")
        return self


class ModbusBattery:
    """See :class:`apis_driver.device.BatteryDevice`.

    Args:
        settings: Of the port and the battery.
        transport: Instead of a port or connection, for tests.
    """

    Settings = ModbusBatterySettings

    def __init__(
        self, settings: ModbusBatterySettings, transport: Transport | None = None
    ) -> None:
        self.address = settings.port
        self._settings = settings
        self._blocks = _blocks_of(settings.registers)
        self._client = _client_of(settings, transport)
        sizes = Counter(block.reply.size for block in self._blocks)
        self._has_twin = {block.name: sizes[block.reply.size] > 1 for block in self._blocks}

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened on the line."""
        return self._client.counters

    def open(self, deadline_s: float) -> None:
        """See :class:`BatteryDevice`."""
        self._client.connect()
        try:
            self.read(deadline_s)
        except DeviceError:
            self.close()
            raise

    def close(self) -> None:
        """See :class:`BatteryDevice`."""
        self._client.close()

    def read(self, deadline_s: float) -> BatteryStatus:
        """See :class:`BatteryDevice`. One request for each block of the table."""
        raw: dict[str, int] = {}
        values: dict[str, float | None] = {}
        for block in self._blocks:
            counts = block.reply.unpack(self._ask(block, deadline_s))
            raw |= counts
            values |= {
                field.name: self._measured(field, counts[field.name])
                for field in block.reply.fields
            }
        rsoc = values["rsoc"]
        assert rsoc is not None
        return BatteryStatus(
            soc_ratio=soc_ratio_of(rsoc),
            permit=self._permit(raw),
            voltage_v=values.get("voltage"),
            current_a=values.get("current"),
            temp_degc=values.get("temp"),
        )

    def _ask(self, block: Command, deadline_s: float) -> bytes:
        settings = self._settings
        question = Question(
            unit=settings.unit,
            function=FUNCTIONS[settings.function],
            address=block.code,
            count=block.reply.size // 2,
        )
        return self._client.read(question, deadline_s, is_like_others=self._has_twin[block.name])

    def _measured(self, field: Number, raw: int) -> float | None:
        """The value of a register; None = the battery does not measure it.

        Raises:
            ImplausibleReply: No battery can have it.
        """
        value = field.value_of(raw)
        if field.name == "rsoc":  # a little beyond 100 is full, whatever the table says
            if value > 100.0 or field.is_plausible(raw):
                return value
        elif field.name in _MEASURED and field.is_at_an_end(raw):
            return None
        elif field.is_plausible(raw):
            low, high, unit = _MEASURED.get(field.name, (value, value, ""))
            if low <= value <= high:
                return value
            raise ImplausibleReply(
                f"{self.address}: {field.name} is {value:g} {unit}, "
                f"it must be from {low:g} to {high:g} {unit}"
            )
        told = f"{field.exact_of(raw)} {field.spec.unit}".rstrip()
        raise ImplausibleReply(f"{self.address}: {field.name} is {told}, must be {field.limits}")

    def _permit(self, raw: Mapping[str, int]) -> SharingPermit:
        if "denied" in raw:  # the other bits are reserved
            return SharingPermit.NONE if raw["denied"] & 1 else SharingPermit.BOTH
        if "permit" not in raw:
            return SharingPermit.BOTH  # a battery without such a flag forbids nothing
        names = next(
            field.spec.codes or {}
            for block in self._blocks
            for field in block.reply.fields
            if field.name == "permit"
        )
        name = names.get(raw["permit"])
        if name not in _PERMITS:
            raise ImplausibleReply(f"{self.address}: its permission is {raw['permit']}")
        return _PERMITS[name]


def _client_of(settings: ModbusBatterySettings, transport: Transport | None) -> ModbusClient:
    line = LineSettings(
        reply_timeout_s=settings.reply_timeout_s,
        byte_gap_s=settings.byte_gap_s,
        late_reply_s=settings.late_reply_s,
        silence_retries=settings.retries,
        nonsense_retries=settings.retries,
        busy_retries=settings.retries,
    )
    at = settings.tcp_address
    if transport is None:
        transport = SocketTransport(*at, _CONNECT_LIMIT_S) if at else SerialTransport(settings)
    return ModbusClient(transport, line, "tcp" if at else "rtu")


def _blocks_of(name: str) -> tuple[Command, ...]:
    """Blocks of a table, in the order in which they are read.

    Raises:
        ConfigError: Lists everything that a battery, or Modbus, cannot have.
    """
    blocks = tuple(load_table(name).commands.values())
    fields = [field.name for block in blocks for field in block.reply.fields]
    problems = []

    def wrong(key: str, value: object, right: str) -> None:
        problems.append(Problem(name, key, str(value), right))

    for field, count in Counter(fields).items():
        if field not in _FIELDS:
            wrong(f"fields.{field}", "", f"unknown; a battery has {', '.join(_FIELDS)}")
        if count > 1:
            wrong(f"fields.{field}", "", f"stands {count} times in the blocks; keep one")
    if "rsoc" not in fields:
        wrong("fields.rsoc", "", "required in a block: the state of charge")
    if "permit" in fields and "denied" in fields:
        wrong("fields.denied", "", "must not stand beside permit: they say the same")
    for block in blocks:
        count, odd = divmod(block.reply.size, 2)
        key = f"blocks.{block.name}"
        if block.request.fields:
            wrong(f"{key}.request", "", "must be left out: a battery is only read")
        if not count and not odd:
            wrong(f"{key}.reply", "[]", "must name at least one field")
        elif odd:
            wrong(f"{key}.reply", "", "must be whole registers of 16 bits")
        elif count > MOST_REGISTERS:
            right = f"must be {MOST_REGISTERS} at most, which is what one answer holds"
            wrong(f"{key}.reply", f"{count} registers", f"{right}; make several blocks")
        if block.code + max(count, 1) > ADDRESSES:
            wrong(f"{key}.code", block.code, _address_hint(block.code))
    for block in blocks:
        for number in block.reply.fields:
            if number.name == "permit":
                codes = number.spec.codes or {}
                if not codes or not set(codes.values()) <= set(_PERMITS):
                    right = f"must name for each value one of {', '.join(_PERMITS)}"
                    wrong("fields.permit.codes", codes or "", right)
    if problems:
        raise ConfigError(problems)
    return blocks


def _address_hint(code: int) -> str:
    """What is right instead of an address that Modbus does not have."""
    right = (
        f"must be the address of a register, 0 to {ADDRESSES - 1}, and the block must end there"
    )
    kinds = {3: "input", 4: "holding"}
    kind, number = divmod(code, 100_000)
    if kind in kinds and 1 <= number <= ADDRESSES:
        right += f"; the register that is called {code} is {number - 1}, function: {kinds[kind]}"
    return right
