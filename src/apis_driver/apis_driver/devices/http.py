"""Devices behind HTTP: the original drivers (interface v2), and the original emulator.

Both take settings one by one, so that the order in which they change is ours: the original driver
switches on with the set points of the last time, and then changes them.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx
from pydantic import Field

from apis_core.model.types import Alarm, ConverterMode
from apis_driver.device import (
    BatteryStatus,
    DcdcRating,
    DcdcSetpoints,
    DcdcStatus,
    Running,
    SharingPermit,
    soc_ratio_of,
)
from apis_driver.errors import (
    BadFrame,
    DeadManFired,
    DeviceError,
    DeviceRefused,
    DeviceTimeout,
    ForeignDevice,
    OutOfRange,
    ReadBackMismatch,
)
from apis_driver.http_client import HttpClient, HttpDeadMan, HttpSettings

__all__ = [
    "EmulatorBattery",
    "EmulatorDcdc",
    "EmulatorSettings",
    "HttpBattery",
    "HttpDcdc",
    "HttpSettings",
]

MODE_CODES = {
    ConverterMode.WAIT: "0x0000",
    ConverterMode.DISCHARGE: "0x0002",
    ConverterMode.VOLTAGE_REFERENCE: "0x0014",
    ConverterMode.CHARGE: "0x0041",
}
_MODES = {code: mode for mode, code in MODE_CODES.items()}
_NAMES = {"Waiting": ConverterMode.WAIT, "Grid Autonomy": ConverterMode.VOLTAGE_REFERENCE}
_CURRENT_NAME = "Heteronomy CV"  # of both currents
_RUNNING = {"off": Running.OFF, "charge": Running.CHARGE, "discharge": Running.DISCHARGE}
_ALARMS = {"No alarm": Alarm.NONE, "Light alarm": Alarm.LIGHT, "Heavy alarm": Alarm.HEAVY}
_REST_V = 350.0
_WAIT_LIMIT_S = 1.0  # of the dead man's own words
_VERSION_MAJOR = "2"


class EmulatorSettings(HttpSettings):
    """Settings of a device that is a unit of the original emulator.

    Attributes:
        unit: Its id there, such as E001.
    """

    unit: str = Field(
        pattern=r"^[A-Za-z0-9_.-]+$", description="the unit's id in the emulator, such as E001"
    )


class HttpDcdc:
    """A converter behind the original drivers' interface, v2.

    Args:
        settings: Of the server.
        transport: Instead of the network, for tests.
    """

    Settings: type[HttpSettings] = HttpSettings
    _setpoint_tolerance = {"dvg": 0.05, "drg": 0.001, "dig": 0.002}  # noqa: RUF012
    _get, _get_status, _set = "/dcdc/get", "/dcdc/get/status", "/dcdc/set"
    _set_voltage, _set_current = "/dcdc/set", "/dcdc/set"

    def __init__(
        self, settings: HttpSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.http = HttpClient(settings, transport)
        self.address = self.http.address
        self.counters = self.http.counters
        # of the EZA2500, which is what stands behind it
        self.rating = DcdcRating(
            grid_voltage_min_v=260.0,
            grid_voltage_max_v=390.0,
            grid_current_max_a=8.5162,
            droop_max_ratio=3.999,
        )
        self._told = DcdcSetpoints(grid_voltage_v=_REST_V, droop_ratio=0.0, grid_current_a=0.0)
        self._dead_man: HttpDeadMan | None = None

    @property
    def dead_man(self) -> HttpDeadMan | None:
        """See :class:`apis_driver.device.DcdcDevice`. What is beyond the network cannot be reached
        below Python; a thread with connections of its own can reach it.
        """
        return self._dead_man

    def open(self, deadline_s: float) -> None:
        """See :class:`apis_driver.device.DcdcDevice`."""
        self.close()
        self.http.open()
        self._dead_man = HttpDeadMan(
            lambda: self.set_mode(ConverterMode.WAIT, time.monotonic() + _WAIT_LIMIT_S)
        )
        self._told = DcdcSetpoints(grid_voltage_v=_REST_V, droop_ratio=0.0, grid_current_a=0.0)
        now_s = time.monotonic()
        try:
            self._check_version(now_s + (deadline_s - now_s) / 2)
        except (DeviceTimeout, BadFrame):  # it may be on, and hear what it does not answer
            with contextlib.suppress(DeviceError):
                self.set_mode(ConverterMode.WAIT, deadline_s)
            raise
        self.set_mode(ConverterMode.WAIT, deadline_s)

    def close(self) -> None:
        """See :class:`apis_driver.device.DcdcDevice`."""
        dead_man, self._dead_man = self._dead_man, None
        if dead_man is not None:
            dead_man.close()
        self.http.close()

    def read_status(self, deadline_s: float) -> DcdcStatus:
        """See :class:`apis_driver.device.DcdcDevice`.

        Both currents have the same name there. Where it also does not say which one runs, the
        long answer is asked for, which has the code.
        """
        body = self.http.get(self._get_status, deadline_s)
        status = _part(body, "status", self.address)
        if "status" not in status and _mode_of(status) is None:
            body = self.http.get(self._get, deadline_s)
            status = _part(body, "status", self.address)
        return _status_of(status, _part(body, "meter", self.address), self.address)

    def read_setpoints(self, deadline_s: float) -> DcdcSetpoints:
        """See :class:`apis_driver.device.DcdcDevice`."""
        body = self.http.get(self._get, deadline_s)
        vdis, param = _part(body, "vdis", self.address), _part(body, "param", self.address)
        return DcdcSetpoints(
            grid_voltage_v=_number(vdis, "dvg", self.address),
            droop_ratio=_number(vdis, "drg", self.address),
            grid_current_a=_number(param, "dig", self.address),
        )

    def set_mode(self, mode: ConverterMode, deadline_s: float) -> None:
        """See :class:`apis_driver.device.DcdcDevice`. Repeats the set points that it has.

        WAIT has a connection of its own, whatever the other one is stuck in.
        """
        if mode not in MODE_CODES:
            raise OutOfRange(f"mode is {mode.name}, it must be one of the converter's four")
        told = self._told
        query = {
            "mode": MODE_CODES[mode],
            "dvg": f"{told.grid_voltage_v}",
            "dig": f"{told.grid_current_a}",
            "drg": f"{told.droop_ratio}",
        }
        if mode is ConverterMode.WAIT:
            self.http.get_apart(self._set, deadline_s, **query)
        else:
            self._order(self._set, deadline_s, **query)

    def set_voltage(self, *, voltage_v: float, droop_ratio: float, deadline_s: float) -> None:
        """See :class:`apis_driver.device.DcdcDevice`."""
        rating = self.rating
        _within("dvg", voltage_v, rating.grid_voltage_min_v, rating.grid_voltage_max_v, "V")
        _within("drg", droop_ratio, 0.0, rating.droop_max_ratio, "")
        query = {"dvg": f"{voltage_v}", "drg": f"{droop_ratio}"}
        body = self._order(self._set_voltage, deadline_s, **query)
        self._compare(_part(body, "vdis", self.address), dvg=voltage_v, drg=droop_ratio)
        self._told = replace(self._told, grid_voltage_v=voltage_v, droop_ratio=droop_ratio)

    def set_current(self, current_a: float, deadline_s: float) -> None:
        """See :class:`apis_driver.device.DcdcDevice`."""
        _within("dig", current_a, 0.0, self.rating.grid_current_max_a, "A")
        body = self._order(self._set_current, deadline_s, dig=f"{current_a}")
        self._compare(_part(body, "param", self.address), dig=current_a)
        self._told = replace(self._told, grid_current_a=current_a)

    def clear_alarms(self, deadline_s: float) -> None:
        """See :class:`apis_driver.device.DcdcDevice`; not every server can."""
        try:
            self.http.get("/remote/ioctl/clr_alarm", deadline_s)
        except DeviceRefused:
            self.counters["alarms not cleared"] += 1

    def _order(self, path: str, deadline_s: float, **query: str) -> dict[str, Any]:
        """Have something set, unless the dead man has spoken."""
        if self._dead_man is not None and self._dead_man.fired:
            raise DeadManFired(f"{self.address}: its hold time has run out; WAIT has been said")
        return self.http.get(path, deadline_s, **query)

    def _check_version(self, deadline_s: float) -> None:
        version = str(self.http.get("/version/get", deadline_s).get("comm_interface_version", ""))
        if version.partition(".")[0] != _VERSION_MAJOR:
            raise ForeignDevice(
                f"{self.address}: its comm_interface_version is {version!r}, "
                f"it must be {_VERSION_MAJOR}.x"
            )

    def _compare(self, held: Mapping[str, Any], **wanted: float) -> None:
        for name, value in wanted.items():
            found = _number(held, name, self.address)
            if abs(found - value) > self._setpoint_tolerance[name]:
                raise ReadBackMismatch(f"{self.address}: it holds {name} {found} and not {value}")


class EmulatorDcdc(HttpDcdc):
    """A converter of the original emulator (``/get/dcdc/status/<id>``, ``/set/dcdc/<id>``)."""

    Settings = EmulatorSettings
    battery_kind = "emulator_http"  # it has the unit's battery, too
    # it cuts the voltage to whole volts
    _setpoint_tolerance = {"dvg": 1.0, "drg": 0.001, "dig": 0.002}  # noqa: RUF012

    def __init__(
        self, settings: EmulatorSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        super().__init__(settings, transport)
        unit = settings.unit
        self._get, self._get_status = f"/get/dcdc/{unit}", f"/get/dcdc/status/{unit}"
        self._set = f"/set/dcdc/{unit}"
        self._set_voltage = f"/set/dcdc/voltage/{unit}"
        self._set_current = f"/set/dcdc/current/{unit}"

    def clear_alarms(self, deadline_s: float) -> None:
        """Do nothing: the emulator latches no alarms."""

    def _check_version(self, deadline_s: float) -> None:
        """It has none; a unit that it does not know is an empty object."""
        if not self.http.get(self._get_status, deadline_s):
            raise ForeignDevice(f"{self.address}: the emulator has no unit {self._get[10:]}")


class HttpBattery:
    """A battery behind the original drivers' interface (``/battery/get``).

    Args:
        settings: Of the server.
        transport: Instead of the network, for tests.
    """

    Settings: type[HttpSettings] = HttpSettings
    _path = "/battery/get"

    def __init__(
        self, settings: HttpSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.http = HttpClient(settings, transport)
        self.address = self.http.address
        self.counters = self.http.counters

    def open(self, deadline_s: float) -> None:
        """See :class:`apis_driver.device.BatteryDevice`."""
        self.http.open()
        self.read(deadline_s)

    def close(self) -> None:
        """See :class:`apis_driver.device.BatteryDevice`."""
        self.http.close()

    def read(self, deadline_s: float) -> BatteryStatus:
        """See :class:`apis_driver.device.BatteryDevice`."""
        body = self._body(deadline_s)
        rsoc = _number(body, "rsoc", self.address)
        permit = _number(body, "battery_operation_status", self.address)
        soc_ratio = soc_ratio_of(rsoc)
        if permit not in SharingPermit.__members__.values():
            raise BadFrame(
                f"{self.address}: battery_operation_status is {permit}, it must be 0 to 3"
            )
        return BatteryStatus(soc_ratio=soc_ratio, permit=SharingPermit(int(permit)))

    def _body(self, deadline_s: float) -> Mapping[str, Any]:
        return self.http.get(self._path, deadline_s)


class EmulatorBattery(HttpBattery):
    """The battery of a unit of the original emulator (``/get/emu/<id>``)."""

    Settings = EmulatorSettings

    def __init__(
        self, settings: EmulatorSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        super().__init__(settings, transport)
        self._path = f"/get/emu/{settings.unit}"

    def _body(self, deadline_s: float) -> Mapping[str, Any]:
        """It never withdraws its permission, and mostly does not speak of it."""
        return {"battery_operation_status": SharingPermit.BOTH, **super()._body(deadline_s)}


def _mode_of(status: Mapping[str, Any]) -> ConverterMode | None:
    """Mode by its name and what runs; None = that does not say which current it is."""
    name = status.get("operationMode")
    if name == _CURRENT_NAME:
        return {"charge": ConverterMode.CHARGE, "discharge": ConverterMode.DISCHARGE}.get(
            str(status.get("runningState"))
        )
    return _NAMES.get(str(name), ConverterMode.UNKNOWN)


def _status_of(status: Mapping[str, Any], meter: Mapping[str, Any], address: str) -> DcdcStatus:
    code = str(status.get("status", ""))
    mode = _MODES.get(code, ConverterMode.UNKNOWN) if code else _mode_of(status)
    alarm = _ALARMS.get(str(status.get("alarmState")), Alarm.UNKNOWN)
    return DcdcStatus(
        mode=mode or ConverterMode.UNKNOWN,
        mode_code=code or str(status.get("operationMode", "")),
        running=_RUNNING.get(str(status.get("runningState")), Running.UNKNOWN),
        alarm=alarm,
        alarm_text=str(status.get("alarm", "")) if alarm is not Alarm.NONE else "",
        grid_voltage_v=max(_number(meter, "vg", address), 0.0),
        grid_current_a=_number(meter, "ig", address),
        grid_power_w=_number(meter, "wg", address),
        battery_voltage_v=max(_number(meter, "vb", address), 0.0),
        battery_current_a=_number(meter, "ib", address),
        battery_power_w=_number(meter, "wb", address),
        converter_temp_degc=_number(meter, "tmp", address),
    )


def _part(body: Mapping[str, Any], name: str, address: str) -> Mapping[str, Any]:
    part = body.get(name)
    if not isinstance(part, Mapping):
        raise BadFrame(f"{address}: the answer has no {name}")
    return part


def _number(part: Mapping[str, Any], name: str, address: str) -> float:
    value = part.get(name)
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            number = float(value)
            if math.isfinite(number):
                return number
    except OverflowError:
        pass
    raise BadFrame(f"{address}: {name} is {value!r:.40}, it must be a number")


def _within(name: str, value: float, low: float, high: float, unit: str) -> None:
    if not low <= value <= high:
        raise OutOfRange(f"{name} is {value}, it must be from {low:g} to {high:g} {unit}".rstrip())
