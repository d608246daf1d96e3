"""Devices behind HTTP: the original drivers (interface v2), and the original emulator.

Both take settings one by one, so that the order in which they change is ours: the original driver
switches on with the set points of the last time, and then changes them.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx
from pydantic import Field

from apis_core.types import Alarm, ConverterMode
from apis_driver.device import (
    BatteryStatus,
    DcdcRating,
    DcdcSetpoints,
    DcdcStatus,
    DeviceSettings,
    Running,
    SharingPermit,
)
from apis_driver.errors import (
    BadChecksum,
    BadFrame,
    DeviceBusy,
    DeviceError,
    DeviceRefused,
    DeviceTimeout,
    ForeignDevice,
    OutOfRange,
    PortError,
    ReadBackMismatch,
)

__all__ = [
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
_PAUSE_S = 0.05
_VERSION_MAJOR = "2"


class HttpSettings(DeviceSettings):
    """How to reach a device over HTTP.

    Attributes:
        url: Such as ``http://192.168.0.7:4380``.
        reply_timeout_s: For one attempt. [s]
        retries: Attempts beyond the first.
        token: Sent as a bearer token, for servers that want one; empty = none.
    """

    url: str = Field(pattern=r"^https?://[^/\s]+/?$", description="http://host:port")
    reply_timeout_s: float = Field(default=1.0, gt=0, le=10)
    retries: int = Field(default=2, ge=0, le=20)
    token: str = ""


class EmulatorSettings(HttpSettings):
    """The same for a unit of the original emulator.

    Attributes:
        unit: Its id there, such as E001.
    """

    unit: str = Field(min_length=1, description="the unit's id in the emulator, such as E001")


class _Http:
    """GET requests with retries by kind of failure, within a deadline."""

    def __init__(
        self, settings: HttpSettings, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.address = settings.url.rstrip("/")
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._transport = transport
        self._client: httpx.Client | None = None

    def open(self) -> None:
        self.close()
        token = self._settings.token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # an environment that names a proxy does not mean the converter
        self._client = httpx.Client(transport=self._transport, headers=headers, trust_env=False)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def get(self, path: str, deadline_s: float, **query: str) -> dict[str, Any]:
        """The object at a path.

        Raises:
            DeviceError: The last failure, if there is none by then.
        """
        for attempt in range(self._settings.retries + 1):
            if attempt:
                self.counters["retries"] += 1
                time.sleep(max(min(_PAUSE_S, deadline_s - time.monotonic()), 0.0))
            try:
                return self._get_once(path, deadline_s, query)
            except (DeviceTimeout, BadFrame, DeviceBusy):
                is_over = time.monotonic() + _PAUSE_S >= deadline_s
                if attempt == self._settings.retries or is_over:
                    raise
        raise AssertionError

    def _get_once(self, path: str, deadline_s: float, query: Mapping[str, str]) -> dict[str, Any]:
        if self._client is None:
            raise PortError(f"{self.address}: not open")
        left_s = deadline_s - time.monotonic()
        if left_s <= 0.0:
            raise DeviceTimeout(f"{self.address}{path}: no time left")
        self.counters["exchanges"] += 1
        try:
            limit_s = min(self._settings.reply_timeout_s, left_s)
            reply = self._client.get(self.address + path, params=query or None, timeout=limit_s)
        except httpx.ConnectError as error:
            self.counters["connect"] += 1
            raise PortError(f"{self.address}: cannot connect: {error}") from error
        except httpx.TimeoutException as error:
            self.counters["silence"] += 1
            raise DeviceTimeout(f"{self.address}{path}: no answer") from error
        except httpx.HTTPError as error:
            self.counters["broken off"] += 1
            raise DeviceTimeout(f"{self.address}{path}: {error or 'broken off'}") from error
        if reply.status_code != 200:
            self.counters[f"status {reply.status_code}"] += 1
            raise self._refusal(path, reply)
        try:
            body = json.loads(reply.content)
        except ValueError as error:
            self.counters["nonsense"] += 1
            raise BadFrame(f"{self.address}{path}: the answer is no JSON") from error
        if not isinstance(body, dict):
            self.counters["nonsense"] += 1
            raise BadFrame(f"{self.address}{path}: the answer is no object")
        return body

    def _refusal(self, path: str, reply: httpx.Response) -> DeviceError:
        """What an answer that is not 200 means; the texts are those of the original."""
        try:
            text = str(json.loads(reply.content)["err"])
        except (ValueError, KeyError, TypeError):
            text = ""
        where = f"{self.address}{path}: {text or f'status {reply.status_code}'}"
        if text in ("read timeout", "modbus io exception", "comm error"):
            return DeviceTimeout(where)
        if text == "checksum error" or text.startswith("cmd:"):
            return BadChecksum(where)
        if text == "timeout" or reply.status_code in (429, 503):
            return DeviceBusy(where)
        if reply.status_code in (502, 504):
            return DeviceTimeout(where)
        return DeviceRefused(where)


class HttpDcdc:
    """A converter behind the original drivers' interface, v2.

    Args:
        settings: Of the server.
        transport: Instead of the network, for tests.
    """

    Settings: type[HttpSettings] = HttpSettings
    dead_man = None  # what is beyond the network cannot be reached below Python
    _setpoint_tolerance = {"dvg": 0.05, "drg": 0.001, "dig": 0.002}  # noqa: RUF012
    _get, _get_status, _set = "/dcdc/get", "/dcdc/get/status", "/dcdc/set"
    _set_voltage, _set_current = "/dcdc/set", "/dcdc/set"

    def __init__(
        self, settings: HttpSettings, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._http = _Http(settings, transport)
        self.address = self._http.address
        self.counters = self._http.counters
        # of the EZA2500, which is what stands behind it
        self.rating = DcdcRating(
            grid_voltage_min_v=260.0,
            grid_voltage_max_v=390.0,
            grid_current_max_a=8.5162,
            droop_max_ratio=3.999,
        )
        self._told = DcdcSetpoints(grid_voltage_v=_REST_V, droop_ratio=0.0, grid_current_a=0.0)

    def open(self, deadline_s: float) -> None:
        """See :class:`apis_driver.device.DcdcDevice`."""
        self._http.open()
        self._told = DcdcSetpoints(grid_voltage_v=_REST_V, droop_ratio=0.0, grid_current_a=0.0)
        self._check_version(deadline_s)
        self.set_mode(ConverterMode.WAIT, deadline_s)

    def close(self) -> None:
        """See :class:`apis_driver.device.DcdcDevice`."""
        self._http.close()

    def read_status(self, deadline_s: float) -> DcdcStatus:
        """See :class:`apis_driver.device.DcdcDevice`.

        Both currents have the same name there. Where it also does not say which one runs, the
        long answer is asked for, which has the code.
        """
        body = self._http.get(self._get_status, deadline_s)
        status = _part(body, "status", self.address)
        if "status" not in status and _mode_of(status) is None:
            body = self._http.get(self._get, deadline_s)
            status = _part(body, "status", self.address)
        return _status_of(status, _part(body, "meter", self.address), self.address)

    def read_setpoints(self, deadline_s: float) -> DcdcSetpoints:
        """See :class:`apis_driver.device.DcdcDevice`."""
        body = self._http.get(self._get, deadline_s)
        vdis, param = _part(body, "vdis", self.address), _part(body, "param", self.address)
        return DcdcSetpoints(
            grid_voltage_v=_number(vdis, "dvg", self.address),
            droop_ratio=_number(vdis, "drg", self.address),
            grid_current_a=_number(param, "dig", self.address),
        )

    def set_mode(self, mode: ConverterMode, deadline_s: float) -> None:
        """See :class:`apis_driver.device.DcdcDevice`. Repeats the set points that it has."""
        if mode not in MODE_CODES:
            raise OutOfRange(f"mode is {mode.name}, it must be one of the converter's four")
        told = self._told
        query = {
            "mode": MODE_CODES[mode],
            "dvg": f"{told.grid_voltage_v}",
            "dig": f"{told.grid_current_a}",
            "drg": f"{told.droop_ratio}",
        }
        self._http.get(self._set, deadline_s, **query)

    def set_voltage(self, *, voltage_v: float, droop_ratio: float, deadline_s: float) -> None:
        """See :class:`apis_driver.device.DcdcDevice`."""
        rating = self.rating
        _within("dvg", voltage_v, rating.grid_voltage_min_v, rating.grid_voltage_max_v, "V")
        _within("drg", droop_ratio, 0.0, rating.droop_max_ratio, "")
        query = {"dvg": f"{voltage_v}", "drg": f"{droop_ratio}"}
        body = self._http.get(self._set_voltage, deadline_s, **query)
        self._compare(_part(body, "vdis", self.address), dvg=voltage_v, drg=droop_ratio)
        self._told = replace(self._told, grid_voltage_v=voltage_v, droop_ratio=droop_ratio)

    def set_current(self, current_a: float, deadline_s: float) -> None:
        """See :class:`apis_driver.device.DcdcDevice`."""
        _within("dig", current_a, 0.0, self.rating.grid_current_max_a, "A")
        body = self._http.get(self._set_current, deadline_s, dig=f"{current_a}")
        self._compare(_part(body, "param", self.address), dig=current_a)
        self._told = replace(self._told, grid_current_a=current_a)

    def clear_alarms(self, deadline_s: float) -> None:
        """See :class:`apis_driver.device.DcdcDevice`; not every server can."""
        try:
            self._http.get("/remote/ioctl/clr_alarm", deadline_s)
        except DeviceRefused:
            self.counters["alarms not cleared"] += 1

    def _check_version(self, deadline_s: float) -> None:
        version = str(self._http.get("/version/get", deadline_s).get("comm_interface_version", ""))
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
    # it cuts the voltage to whole volts
    _setpoint_tolerance = {"dvg": 1.0, "drg": 0.001, "dig": 0.002}  # noqa: RUF012

    def __init__(
        self, settings: EmulatorSettings, transport: httpx.BaseTransport | None = None
    ) -> None:
        super().__init__(settings, transport)
        unit = settings.unit
        self._get, self._get_status = f"/get/dcdc/{unit}", f"/get/dcdc/status/{unit}"
        self._set = f"/set/dcdc/{unit}"
        self._set_voltage = f"/set/dcdc/voltage/{unit}"
        self._set_current = f"/set/dcdc/current/{unit}"

    def clear_alarms(self, deadline_s: float) -> None:
        """It latches nothing."""

    def _check_version(self, deadline_s: float) -> None:
        """It has none; a unit that it does not know is an empty object."""
        if not self._http.get(self._get_status, deadline_s):
            raise ForeignDevice(f"{self.address}: the emulator has no unit {self._get[10:]}")


class HttpBattery:
    """A battery behind the original drivers' interface (``/battery/get``).

    Args:
        settings: Of the server.
        transport: Instead of the network, for tests.
    """

    Settings = HttpSettings

    def __init__(
        self, settings: HttpSettings, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._http = _Http(settings, transport)
        self.address = self._http.address
        self.counters = self._http.counters

    def open(self, deadline_s: float) -> None:
        """See :class:`apis_driver.device.BatteryDevice`."""
        self._http.open()
        self.read(deadline_s)

    def close(self) -> None:
        """See :class:`apis_driver.device.BatteryDevice`."""
        self._http.close()

    def read(self, deadline_s: float) -> BatteryStatus:
        """See :class:`apis_driver.device.BatteryDevice`."""
        body = self._http.get("/battery/get", deadline_s)
        rsoc = _number(body, "rsoc", self.address)
        permit = _number(body, "battery_operation_status", self.address)
        if not 0.0 <= rsoc <= 100.0:
            raise BadFrame(f"{self.address}: rsoc is {rsoc}, it must be from 0 to 100")
        if permit not in SharingPermit.__members__.values():
            raise BadFrame(
                f"{self.address}: battery_operation_status is {permit}, it must be 0 to 3"
            )
        return BatteryStatus(soc_ratio=rsoc / 100.0, permit=SharingPermit(int(permit)))


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
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise BadFrame(f"{address}: {name} is {value!r}, it must be a number")
    return float(value)


def _within(name: str, value: float, low: float, high: float, unit: str) -> None:
    if not low <= value <= high:
        raise OutOfRange(f"{name} is {value}, it must be from {low:g} to {high:g} {unit}".rstrip())
