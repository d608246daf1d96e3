"""A battery over Modbus: RTU on a serial line, or TCP.

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
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field
from pymodbus import FramerType, ModbusException
from pymodbus.client import ModbusSerialClient, ModbusTcpClient

from apis_core.errors import ConfigError, Problem
from apis_driver.codec import Command, load_table
from apis_driver.device import BatteryStatus, DeviceSettings, SharingPermit
from apis_driver.errors import (
    BadFrame,
    DeviceBusy,
    DeviceError,
    DeviceRefused,
    DeviceTimeout,
    ImplausibleReply,
    PortError,
)

__all__ = ["ModbusBattery", "ModbusBatterySettings"]

_EXCEPTIONS = {
    1: "the battery does not know this function, or cannot do it now",
    2: "the battery has no such registers",
    3: "the battery finds the request malformed",
    4: "the battery failed while serving",
    5: "the battery needs more time",
    6: "the battery is busy",
}
_BUSY = (5, 6)
_PERMITS = {
    "none": SharingPermit.NONE,
    "charge": SharingPermit.CHARGE_ONLY,
    "discharge": SharingPermit.DISCHARGE_ONLY,
    "both": SharingPermit.BOTH,
}
_FIELDS = ("rsoc", "permit", "denied", "voltage", "current", "temp")
_PAUSE_S = 0.02
# what it has to say comes as exceptions too, and is told once, by us
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


class ModbusBatterySettings(DeviceSettings):
    """Settings of a battery on Modbus.

    Attributes:
        port: Serial device, or ``host:port`` for Modbus TCP.
        baud, parity, stop_bits: Of the serial line.
        unit: Address of the battery on the line.
        registers: Name of a table of ours, or the path of one of yours.
        function: ``input`` (4) or ``holding`` (3) registers.
        reply_timeout_s: [s]
        retries: Attempts beyond the first.
    """

    port: str = Field(min_length=1, description="a serial port such as /dev/ttyUSB1, or host:port")
    baud: int = Field(default=9600, ge=300, le=4_000_000)
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    unit: int = Field(default=1, ge=1, le=247)
    registers: str = "modbus_battery"
    function: Literal["input", "holding"] = "input"
    reply_timeout_s: float = Field(default=0.3, gt=0, le=10)
    retries: int = Field(default=2, ge=0, le=20)


class ModbusBattery:
    """See :class:`apis_driver.device.BatteryDevice`.

    Args:
        settings: Of the port and the battery.
        client: Instead of one of pymodbus, for tests.
    """

    Settings = ModbusBatterySettings

    def __init__(self, settings: ModbusBatterySettings, client: Any = None) -> None:
        self.address = settings.port
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._blocks = _blocks_of(settings.registers)
        self._client = client or _client_of(settings)

    def open(self, deadline_s: float) -> None:
        """See :class:`BatteryDevice`."""
        self.close()
        try:
            is_open = self._client.connect()
        except (ModbusException, OSError) as error:
            raise PortError(f"{self.address}: {error}") from error
        if not is_open:
            raise PortError(f"{self.address}: it cannot be opened; is it there, and free?")
        try:
            self.read(deadline_s)
        except DeviceError:
            self.close()
            raise

    def close(self) -> None:
        """See :class:`BatteryDevice`."""
        with contextlib.suppress(Exception):
            self._client.close()

    def read(self, deadline_s: float) -> BatteryStatus:
        """See :class:`BatteryDevice`. One request for each block of the table."""
        values: dict[str, float] = {}
        raw: dict[str, int] = {}
        for block in self._blocks:
            counts = block.reply.unpack(self._ask(block, deadline_s))
            block.reply.check(counts)
            raw |= counts
            values |= block.reply.values(counts)
        return BatteryStatus(
            soc_ratio=values["rsoc"] / 100.0,
            permit=self._permit(raw),
            voltage_v=values.get("voltage"),
            current_a=values.get("current"),
            temp_degc=values.get("temp"),
        )

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

    def _ask(self, block: Command, deadline_s: float) -> bytes:
        """Registers of a block as bytes, with retries by kind of failure."""
        failure: DeviceError = DeviceTimeout(f"{self.address}: no time to ask")
        for attempt in range(self._settings.retries + 1):
            if time.monotonic() >= deadline_s:
                break
            if attempt:
                self.counters["retries"] += 1
                time.sleep(_PAUSE_S)
            try:
                return self._ask_once(block)
            except PortError:
                raise
            except (DeviceTimeout, BadFrame, DeviceBusy) as error:
                failure = error
        raise failure

    def _ask_once(self, block: Command) -> bytes:
        is_input = self._settings.function == "input"
        read = (
            self._client.read_input_registers if is_input else self._client.read_holding_registers
        )
        count = block.reply.size // 2
        self.counters["exchanges"] += 1
        try:
            reply = read(block.code, count=count, device_id=self._settings.unit)
        except (ModbusException, OSError) as error:
            self.counters[type(error).__name__] += 1
            if isinstance(error, OSError) or not self._client.connected:
                raise PortError(f"{self.address}: the port has gone: {error}") from error
            raise DeviceTimeout(
                f"{self.address}: no answer from unit {self._settings.unit}"
            ) from error
        if reply.isError():
            code = getattr(reply, "exception_code", 0)
            self.counters[f"exception {code}"] += 1
            text = _EXCEPTIONS.get(code, "the battery refuses")
            kind = DeviceBusy if code in _BUSY else DeviceRefused
            raise kind(f"{self.address}: {text} (exception {code})")
        if len(reply.registers) != count:
            self.counters["wrong length"] += 1
            raise BadFrame(
                f"{self.address}: {len(reply.registers)} registers came, {count} were asked for"
            )
        return b"".join(register.to_bytes(2, "big") for register in reply.registers)


def _blocks_of(name: str) -> tuple[Command, ...]:
    blocks = tuple(load_table(name).commands.values())
    fields = [field for block in blocks for field in block.reply.fields]
    names = [field.name for field in fields]
    problems = [
        Problem(name, f"fields.{field}", "", f"unknown; a battery has {', '.join(_FIELDS)}")
        for field in names
        if field not in _FIELDS
    ]
    if "rsoc" not in names:
        problems.append(Problem(name, "fields.rsoc", "", "required: the state of charge"))
    problems += [
        Problem(name, f"blocks.{block.name}", "", "must be whole registers of 16 bits")
        for block in blocks
        if block.reply.size % 2
    ]
    if problems:
        raise ConfigError(problems)
    return blocks


def _client_of(settings: ModbusBatterySettings) -> Any:
    host, _, port = settings.port.rpartition(":")
    if host and port.isdigit():
        return ModbusTcpClient(host, port=int(port), timeout=settings.reply_timeout_s, retries=0)
    return ModbusSerialClient(
        settings.port,
        framer=FramerType.RTU,
        baudrate=settings.baud,
        parity=settings.parity,
        stopbits=settings.stop_bits,
        timeout=settings.reply_timeout_s,
        retries=0,
    )
