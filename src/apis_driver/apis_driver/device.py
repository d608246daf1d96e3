"""What a driver of a device must offer: one Protocol for converters, one for batteries.

A new device is a class with one of these shapes, registered as an entry point of the package that
brings it::

    entry_points={
        "apis_driver.dcdc": ["eza2500 = apis_driver.devices.eza2500:Eza2500"],
        "apis_driver.battery": ["modbus = apis_driver.devices.modbus_battery:ModbusBattery"],
    }

``docs/adding-a-device.md`` walks through one. The shapes ask only for what any converter can do;
who may order it, for how long, in which order settings change and what is counted is the driver's
business and the same for all (:mod:`apis_driver.governor`).

Contract of every method that talks to the device:

* It blocks its caller, and has answered or raised by ``deadline_s``, an instant of
  :func:`time.monotonic`. Only one thread at a time calls a device.
* It raises `DeviceError` of the core and nothing else: ``DeviceTimeout`` for silence,
  ``BadFrame`` for nonsense, ``DeviceRefused`` for a no, ``OutOfRange`` for a value that the device
  cannot take (refused before a byte is sent), ``PortError`` when the line itself is gone.
* When it has raised, the device may or may not have obeyed; the caller reads back or goes to WAIT.
* After a ``PortError`` the caller closes and opens again, with back-off.

Units and signs: V, A, W, degC; positive flows from the bus into the unit (charging). ``None`` =
the device does not say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from apis_core.model.types import Alarm, ConverterMode
from apis_driver.errors import ImplausibleReply

__all__ = [
    "BatteryDevice",
    "BatteryStatus",
    "DcdcDevice",
    "DcdcRating",
    "DcdcSetpoints",
    "DcdcStatus",
    "DeadMan",
    "DeviceSettings",
    "Running",
    "SharingPermit",
    "soc_ratio_of",
]


class Running(IntEnum):
    """Whether power really flows, as the converter itself says."""

    UNKNOWN = 0
    OFF = 1
    CHARGE = 2
    DISCHARGE = 3


class SharingPermit(IntEnum):
    """What the battery allows; numbers of the original's ``battery_operation_status``."""

    NONE = 0
    CHARGE_ONLY = 1
    DISCHARGE_ONLY = 2
    BOTH = 3

    def allows(self, mode: ConverterMode) -> bool:
        """Whether a converter on this battery may be in that mode.

        A voltage reference may carry current either way, so it needs both.
        """
        if mode is ConverterMode.WAIT:
            return True
        if mode is ConverterMode.CHARGE:
            return self in (SharingPermit.CHARGE_ONLY, SharingPermit.BOTH)
        if mode is ConverterMode.DISCHARGE:
            return self in (SharingPermit.DISCHARGE_ONLY, SharingPermit.BOTH)
        return self is SharingPermit.BOTH


@dataclass(frozen=True, slots=True, kw_only=True)
class DcdcRating:
    """What a converter can be told.

    Attributes:
        grid_voltage_min_v: Lowest voltage setpoint. [V]
        grid_voltage_max_v: Highest voltage setpoint. [V]
        grid_current_max_a: Highest current setpoint, > 0. [A]
        droop_max_ratio: Highest droop; 0 = it has none, and cannot hand the bus over.
    """

    grid_voltage_min_v: float
    grid_voltage_max_v: float
    grid_current_max_a: float
    droop_max_ratio: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DcdcStatus:
    """What a converter does and measures; the part that is read all the time.

    Attributes:
        mode: ``UNKNOWN`` if its code is none of ours.
        mode_code: The code as the device says it, for people.
        running: Whether power flows.
        alarm: Its health.
        alarm_text: What it says of it, for people; empty = nothing.
    """

    mode: ConverterMode
    mode_code: str = ""
    running: Running = Running.UNKNOWN
    alarm: Alarm = Alarm.UNKNOWN
    alarm_text: str = ""
    grid_voltage_v: float | None = None
    grid_current_a: float | None = None
    grid_power_w: float | None = None
    battery_voltage_v: float | None = None
    battery_current_a: float | None = None
    battery_power_w: float | None = None
    converter_temp_degc: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DcdcSetpoints:
    """What a converter holds as told; read back from it, not remembered.

    ``thresholds`` are whatever else it holds, under the device's own names, for people.
    """

    grid_voltage_v: float | None = None
    droop_ratio: float | None = None
    grid_current_a: float | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)


class DeadMan(Protocol):
    """Something apart from the thread that drives a converter, which says WAIT to it when that
    thread does not renew.

    :class:`apis_control.PortGuard` is one below Python. Once it has fired, orders are refused with
    ``DeadManFired`` until :meth:`disarm` says that its caller knows.
    """

    def renew(self, hold_s: float) -> bool:
        """WAIT is said after so long, > 0, unless renewed again. False: it has fired."""

    def disarm(self) -> bool:
        """Stop waiting; returns whether it had fired, which is forgotten."""

    @property
    def fired(self) -> bool:
        """Whether it has said WAIT, or tried to, since it was last disarmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatteryStatus:
    """What a battery says of itself.

    Attributes:
        soc_ratio: State of charge, 0..1.
        permit: What may be done with it now.
        voltage_v: At its terminals. [V]
        current_a: + = charging. [A]
        temp_degc: Of its cells. [degC]
    """

    soc_ratio: float | None
    permit: SharingPermit
    voltage_v: float | None = None
    current_a: float | None = None
    temp_degc: float | None = None


_FULL_MOST_PERCENT = 105.0  # what a battery says at full that has been charged beyond its rating


def soc_ratio_of(percent: float) -> float:
    """State of charge, 0..1, of what a battery says.

    Many say a little more than 100 % when they are full, which is full.

    Raises:
        ImplausibleReply: No battery can be as full, or as empty. NaN is neither.
    """
    if not 0.0 <= percent <= _FULL_MOST_PERCENT:
        raise ImplausibleReply(f"rsoc is {percent:g} percent, it must be from 0 to 100 percent")
    return min(percent / 100.0, 1.0)


class DeviceSettings(BaseModel):
    """Base of a device's settings: a misspelt key is an error that names the right one."""

    @classmethod
    def with_files_in(cls, folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
        """The same settings with file names, which are relative to `folder`, made absolute."""
        return dict(values)

    model_config = ConfigDict(frozen=True, extra="forbid")


@runtime_checkable
class DcdcDevice(Protocol):
    """A bidirectional DC/DC converter between a battery and the bus.

    The class is called with its settings and opens nothing by that.

    Attributes:
        Settings: Model of its part of the grid file.
        rating: What it can be told. Known before :meth:`open`; a device that has to ask may
            narrow it there.
        address: Where it is, for messages to people: port, or URL.
        counters: How often what happened on the line, for diagnostics; names are free.
    """

    Settings: ClassVar[type[DeviceSettings]]
    rating: DcdcRating
    address: str
    counters: Mapping[str, int]

    def open(self, deadline_s: float) -> None:
        """Open the port, say WAIT, and see that the right device answers; may be called again.

        WAIT is the first thing said. Then protection thresholds and whatever else the device must
        hold from the start are written and verified; nothing is switched on.
        """

    def close(self) -> None:
        """Let the port go. Never raises, and does not talk to the device."""

    def read_status(self, deadline_s: float) -> DcdcStatus:
        """Mode, alarm and measurements, all fresh."""

    def read_setpoints(self, deadline_s: float) -> DcdcSetpoints:
        """What it holds as told, fresh."""

    def set_mode(self, mode: ConverterMode, deadline_s: float) -> None:
        """Order a mode; returns when the device has taken the order.

        Whether it is in it the caller sees from :meth:`read_status`: going to WAIT may take a
        while.
        """

    def set_voltage(self, *, voltage_v: float, droop_ratio: float, deadline_s: float) -> None:
        """Order voltage and droop of the voltage reference, and see that it holds them."""

    def set_current(self, current_a: float, deadline_s: float) -> None:
        """Order the current (of a voltage reference: its limit), >= 0, and see that it holds."""

    def clear_alarms(self, deadline_s: float) -> None:
        """Acknowledge what the device has latched; does nothing where it latches nothing."""

    @property
    def dead_man(self) -> DeadMan | None:
        """What says WAIT by itself while the port is open; None = nothing does."""


@runtime_checkable
class BatteryDevice(Protocol):
    """A battery that says how full it is, and whether its energy may be shared.

    The class is called with its settings and opens nothing by that; attributes as in
    :class:`DcdcDevice`.
    """

    Settings: ClassVar[type[DeviceSettings]]
    address: str
    counters: Mapping[str, int]

    def open(self, deadline_s: float) -> None:
        """Open the port and see that the battery answers; may be called again."""

    def close(self) -> None:
        """Let the port go. Never raises."""

    def read(self, deadline_s: float) -> BatteryStatus:
        """Read the battery once."""
