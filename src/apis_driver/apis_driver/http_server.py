"""Serves the interface (v2) of the original drivers, so that the original software can use ours.

Paths, parameters and bodies are the original's, with both names that each path has. What differs
is meant to:

* It listens on this machine only unless told otherwise, and can ask for a token.
* Every order has a hold time. Any request of the client that gave it renews it, since an original
  client reads all the time; a request of somebody else does not, and nothing that comes this way
  renews a grid master's order. A client that has died no longer holds its converter on.
* Orders pass the same rules as those of the graph, and are refused while a grid master's last.
* An order is answered when the converter is where it was told to be, or soon after; at once, if
  the client says ``Prefer: respond-async`` (RFC 7240), as our own driver does.
* A failure is 4xx when the caller is wrong, 502, 503 or 504 when the device is; the body is
  ``{"err": "..."}`` either way.
* What is reported was read; what is not known is left out.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass
from typing import Any

from pydantic import Field, model_validator

from apis_core.converter.driver_contract import TO_WAIT
from apis_core.model.messages import ConverterOperation, ConverterOrder, ConverterReply
from apis_core.model.types import ConverterError, ConverterMode
from apis_driver.arrival import Arrival
from apis_driver.device import DcdcStatus, DeviceSettings
from apis_driver.http_bodies import CODES, known, meter_body, status_body
from apis_driver.http_listener import Client, Failure, Listener
from apis_driver.unit_hardware import UnitHardware

__all__ = ["CompatServer", "HttpServerSettings"]

_WAIT_S = 2.5  # the original's client gives up after 5
_RENEW_WAIT_S = 0.5
_ARRIVAL_LIMIT_S = 1.5  # for so long an answer waits for the converter
_LOOK_S = 0.02
_FRESH_S = 0.5
_POLL_S = 0.05  # how long closing may take
_GIVER = "http"  # in place of a grid master's id; no unit has it
_OLD_NAMES = {
    "/remote/get": "/dcdc/get",
    "/remote/get/status": "/dcdc/get/status",
    "/remote/set": "/dcdc/set",
    "/remote/set/current": "/dcdc/set",
    "/remote/set/voltage": "/dcdc/set",
    "/remote/ioctl/get": "/all/get",
}
_ORDERS = ("/dcdc/set", "/remote/ioctl/clr_alarm")
_STATUS_OF = {
    ConverterError.TIMEOUT: 504,
    ConverterError.REFUSED: 502,
    ConverterError.OUT_OF_RANGE: 400,
    ConverterError.WRONG_MODE: 409,
    ConverterError.BUS_ENERGISED: 409,
    ConverterError.OLD_TERM: 409,
}


class HttpServerSettings(DeviceSettings):
    """Where and for whom it listens.

    Attributes:
        host: Address; others than this machine's own want a token.
        port: 0 = it does not listen.
        token: That orders must bring, as ``Authorization: Bearer ...`` or ``&token=...``.
        hold_s: For how long an order lasts without any request of its client. [s]
    """

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    token: str = ""
    hold_s: float = Field(default=15.0, gt=0, le=120)

    @model_validator(mode="after")
    def _is_safe(self) -> HttpServerSettings:
        is_local = self.host in ("127.0.0.1", "localhost", "::1")
        if self.port and not is_local and not self.token:
            raise ValueError("token is needed when host is not this machine's own")
        return self


@dataclass(slots=True)
class _Told:
    """What the last sets that succeeded have left."""

    mode: ConverterMode | None = None
    dvg: float | None = None
    dig: float | None = None
    drg: float = 0.0


class CompatServer:
    """Listens from :meth:`start` to :meth:`close`.

    Args:
        settings: See there.
        hardware: What it serves.
    """

    def __init__(self, settings: HttpServerSettings, hardware: UnitHardware) -> None:
        self._settings = settings
        self._hardware = hardware
        self._told = _Told()
        self._orderer: Client | None = None  # who gave the last order that came this way
        self._one_at_a_time = threading.Lock()
        self.listener: Listener | None = None

    def start(self) -> int:
        """Listen; returns the port.

        Raises:
            OSError: It cannot.
        """
        address = (self._settings.host, self._settings.port)
        self.listener = Listener(address, self.answer)
        threading.Thread(
            target=self.listener.serve_forever, args=(_POLL_S,), name="http", daemon=True
        ).start()
        return int(self.listener.server_address[1])

    def close(self) -> None:
        """Listen no more."""
        if self.listener is not None:
            self.listener.shutdown()
            self.listener.server_close()
            self.listener = None

    def answer(self, path: str, query: Mapping[str, str], client: Client) -> dict[str, Any] | None:
        """Body of an answer; None = there is no such path.

        Raises:
            Failure: To be answered by an error.
        """
        name = _OLD_NAMES.get(path, path)
        wanted = self._settings.token
        if name in _ORDERS and wanted and client.token != wanted:
            raise Failure(401, "this needs a token: Authorization: Bearer ... or &token=...")
        answers: dict[str, Callable[[], dict[str, Any]]] = {
            "/version/get": self._version,
            "/essx/hello": self._hello,
            "/dcdc/get": self._everything,
            "/dcdc/get/status": self._short,
            "/battery/get": self._battery,
            "/1/log/data": self._battery_record,
            "/all/get": self._all,
            "/remote/ioctl/clr_alarm": self._clear_alarms,
        }
        if name == "/dcdc/set":
            body = self._answer_to_set(query, client, is_full=path == "/remote/set")
        elif name in answers:
            with self._one_at_a_time:
                self._renew(client)
                body = answers[name]()
        else:
            return None
        if path.startswith("/remote/") and "meter" in body:
            body["powermeter"] = dict.fromkeys(("p2", "p1", "v1", "kwh2", "kwh1", "i1"), 0)
        return body

    # --- bodies ----------------------------------------------------------------------------------

    def _version(self) -> dict[str, Any]:
        return {"comm_interface_version": "2.0", "dcdc_batt_comm_version": "apis_driver"}

    def _hello(self) -> dict[str, Any]:
        self._told = _Told()
        return {"message": "hello world"}

    def _everything(self) -> dict[str, Any]:
        status, setpoints = self._fresh(), self._hardware.governor.setpoints
        held = setpoints.thresholds
        return {
            "status": status_body(status),
            "meter": meter_body(status),
            "vdis": known({"dvg": setpoints.grid_voltage_v, "drg": setpoints.droop_ratio}),
            "param": known({**held, "dig": setpoints.grid_current_a}),
        }

    def _all(self) -> dict[str, Any]:
        """A battery that is silent keeps nobody from the converter: its keys are left out then."""
        try:
            battery = self._battery()
        except Failure as failure:
            battery = {"battery_err": str(failure)}
        return {**battery, **self._everything()}

    def _short(self) -> dict[str, Any]:
        status = self._fresh()
        keys = ("status", "alarmState", "runningState", "operationMode")
        full = status_body(status)
        return {"status": {key: full[key] for key in keys}, "meter": meter_body(status)}

    def _battery(self) -> dict[str, Any]:
        status = self._hardware.battery_status
        if status is None:
            raise Failure(504, self._hardware.battery_failure or "comm error")
        rsoc = None if status.soc_ratio is None else round(100.0 * status.soc_ratio, 1)
        return known({"rsoc": rsoc, "battery_operation_status": int(status.permit)})

    def _battery_record(self) -> dict[str, Any]:
        status, short = self._hardware.battery_status, self._battery()
        voltage_v = status.voltage_v if status else None
        current_a = status.current_a if status else None
        power_w = None if voltage_v is None or current_a is None else voltage_v * current_a
        return known(
            {
                **short,
                "battery_rsoc": short.get("rsoc"),
                "battery_comm_err": 0,
                "battery_voltage": voltage_v,
                "battery_current": current_a,
                "charge_discharge_power": power_w,
            }
        )

    def _clear_alarms(self) -> dict[str, Any]:
        # WAIT acknowledges what the converter has latched; while it is on, nothing is
        if self._hardware.governor.is_off:
            self._obeyed(TO_WAIT)
        return self._everything()

    # --- setting ---------------------------------------------------------------------------------

    def _answer_to_set(
        self, query: Mapping[str, str], client: Client, *, is_full: bool
    ) -> dict[str, Any]:
        with self._one_at_a_time:
            self._renew(client)
            parts, arrival = self._set(query, client, is_full=is_full)
        until_s = time.monotonic() + (_ARRIVAL_LIMIT_S if client.is_patient else 0.0)
        governor = self._hardware.governor
        while not arrival.is_over(governor.status, now_s := time.monotonic()) and now_s < until_s:
            time.sleep(_LOOK_S)  # the converter's thread reads meanwhile, some 25 times a second
        with self._one_at_a_time:
            body = self._everything()
        return {part: body[part] for part in parts or body}

    def _set(
        self, query: Mapping[str, str], client: Client, *, is_full: bool
    ) -> tuple[tuple[str, ...], Arrival]:
        """Obey; returns what the answer shows, all if that is empty, and what it waits for."""
        given = {name for name in ("mode", "dvg", "dig", "drg") if name in query}
        told = self._told
        mode = _mode(query["mode"]) if "mode" in query else told.mode
        dig, dvg = _number(query, "dig", told.dig), _number(query, "dvg", told.dvg)
        drg = _number(query, "drg", told.drg) or 0.0
        for name, value in (("operationMode", mode), ("dig", dig), ("dvg", dvg)):
            if value is None:
                raise Failure(400, f"No {name}")
        assert mode is not None
        is_current = not is_full and given == {"dig"}
        is_voltage = not is_full and "dvg" in given and not given & {"mode", "dig"}
        governor = self._hardware.governor
        if "mode" not in given and mode is not governor.status.mode:
            # what stopped meanwhile is not switched on again by somebody who does not say so
            mode = governor.status.mode if governor.is_off else mode
        if mode is not ConverterMode.WAIT and not governor.is_off and not self._is_ours:
            raise Failure(409, "a grid master's order is in force; only mode 0x0000 is obeyed")
        volts = governor.status.grid_voltage_v
        arrival = Arrival(
            mode, dvg or 0.0, dig or 0.0, volts is None or volts < governor.least_voltage_v
        )
        if mode is ConverterMode.WAIT:
            if "mode" in given or not governor.is_off:
                self._obeyed(TO_WAIT)
            self._orderer = None
        else:
            operation = ConverterOperation.MODE
            if is_current:
                operation = ConverterOperation.CURRENT
            elif is_voltage and mode is ConverterMode.VOLTAGE_REFERENCE:
                operation = ConverterOperation.VOLTAGE
            order = self._order(operation, mode, dvg, dig, drg)
            self._obeyed(order)
            self._orderer = client
        self._told = _Told(mode, dvg, dig, drg)
        if is_current:
            return ("meter", "param"), arrival
        if is_voltage:
            return ("meter", "vdis"), arrival
        return (), arrival

    def _order(
        self,
        operation: ConverterOperation,
        mode: ConverterMode = ConverterMode.UNKNOWN,
        dvg: float | None = None,
        dig: float | None = None,
        drg: float = 0.0,
    ) -> ConverterOrder:
        return ConverterOrder(
            operation=operation,
            mode=mode,
            grid_voltage_v=dvg,
            grid_current_a=dig,
            droop_ratio=drg,
            hold_s=self._settings.hold_s,
            term=max(self._hardware.governor.term, 1),
            grid_master_id=_GIVER,
        )

    @property
    def _is_ours(self) -> bool:
        """Whether the order in force came this way."""
        return self._hardware.governor.giver_id == _GIVER

    def _renew(self, client: Client) -> None:
        """The client that has ordered is alive."""
        if self._is_ours and client == self._orderer:
            with contextlib.suppress(TooLate):  # then it is not renewed, but it may read
                self._hardware.handle(self._order(ConverterOperation.HOLD)).result(_RENEW_WAIT_S)

    def _fresh(self) -> DcdcStatus:
        if self._hardware.governor.age_s > _FRESH_S:
            self._obeyed(ConverterOrder(operation=ConverterOperation.READ))
        return self._hardware.governor.status

    def _obeyed(self, order: ConverterOrder) -> ConverterReply:
        try:
            reply = self._hardware.handle(order).result(_WAIT_S)
        except TooLate:
            raise Failure(504, f"the converter has not answered for {_WAIT_S:g} s") from None
        if reply.error is not ConverterError.NONE:
            raise Failure(_STATUS_OF.get(reply.error, 502), reply.message)
        return reply


def _mode(text: str) -> ConverterMode:
    try:
        code = int(text, 16) if text.startswith("0x") else None
    except ValueError:
        code = None
    if code is None:
        raise Failure(400, f"bad value: {text}")
    if code not in CODES:
        raise Failure(400, f"bad value: operation mode: {code}")
    return CODES[code]


def _number(query: Mapping[str, str], name: str, otherwise: float | None) -> float | None:
    if name not in query:
        return otherwise
    try:
        return float(query[name])
    except ValueError:
        text = f"bad value: {name} is {query[name]}, it must be a number"
        raise Failure(400, text) from None
