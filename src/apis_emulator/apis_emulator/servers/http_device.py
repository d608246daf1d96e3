"""A converter and a battery behind the HTTP interface (v2) of the original drivers.

Answers as the original does: GET only, every failure in a handler is 400 with ``{"err": ...}``,
values are the decoded counts. Where the original is merely wrong, it is not copied: settings are
sent in an order that is safe, and the thresholds reported are the converter's.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from apis_core.model.types import ConverterMode
from apis_driver.errors import OutOfRange
from apis_driver.eza2500_protocol import table
from apis_emulator.physics.plant import Unit
from apis_emulator.servers.eza import MODES, NotNow, SimulatedEza
from apis_emulator.servers.plant_lock import PlantLock
from apis_emulator.servers.serial_devices import SharingPermit

__all__ = ["INTERFACE_VERSION", "HttpDevice"]

INTERFACE_VERSION = "2.0"
_POLL_S = 0.05  # how long closing may take
_ALARMS = ("No alarm", "Light alarm", "Heavy alarm")
_RUNNING = ("off", "charge", "discharge")
_NAMES = {
    ConverterMode.WAIT: "Waiting",
    ConverterMode.DISCHARGE: "Heteronomy CV",
    ConverterMode.CHARGE: "Heteronomy CV",
    ConverterMode.VOLTAGE_REFERENCE: "Grid Autonomy",
}
_METER = ("wg", "tmp", "vb", "wb", "vg", "ib", "ig")
_PARAMS = ("cib", "ubv", "dig", "ogv", "obv", "ugv")


class _BadRequest(Exception):
    """What the caller gets as ``err``."""


class HttpDevice:
    """Serves one converter with its battery.

    Args:
        eza: The converter's registers.
        unit: The battery's unit of the plant.
        permit: What the battery allows.
        lock: Of the plant.
        host: Address to listen at.
        port: 0 = a free one; see :attr:`port`.
    """

    def __init__(
        self,
        eza: SimulatedEza,
        unit: Unit,
        permit: SharingPermit,
        lock: PlantLock,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.is_silent = False
        self.delay_s = 0.0
        self._eza = eza
        self._unit = unit
        self._permit = permit
        self._lock = lock
        self._set: dict[str, float] = {}  # of the last set that succeeded
        self._mode = ""
        self._server = _Server((host, port), _handler(self))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        """Body of an answer; None = there is no such path.

        Raises:
            _BadRequest: To be answered by 400.
        """
        if path == "/version/get":
            return {
                "comm_interface_version": INTERFACE_VERSION,
                "dcdc_batt_comm_version": "simulated",
            }
        with self._lock:
            self._eza.last_heard_s = time.monotonic()
            match path:
                case "/dcdc/get":
                    return self._everything()
                case "/dcdc/get/status":
                    status = self._status()
                    keys = ("alarmState", "runningState", "operationMode")
                    return {"status": {k: status[k] for k in keys}, "meter": self._meter()}
                case "/dcdc/set":
                    return self._obey(query)
                case "/battery/get":
                    return self._battery()
                case "/all/get":
                    return {**self._battery(), **self._everything()}
        return None

    # --- bodies ----------------------------------------------------------------------------------

    def _everything(self) -> dict[str, Any]:
        return {
            "status": self._status(),
            "meter": self._meter(),
            "vdis": self._vdis(),
            "param": self._param(),
        }

    def _status(self) -> dict[str, str]:
        raw = {**self._raw("1-1"), **self._raw("2-1"), **self._raw("9-1")}
        running, alarm = raw["cst"] & 3, raw["cst"] >> 2 & 3
        return {
            "status": f"0x{raw['mode']:04x}",
            "alarmState": _ALARMS[alarm],
            "statusName": "Ignore",
            "alarm": f"{raw['alm1']:04x} {alarm:04x} {running:04x}",
            "runningState": _RUNNING[running],
            "operationMode": _NAMES[MODES[raw["mode"]]],
        }

    def _meter(self) -> dict[str, float]:
        values = table()["10-1"].reply.values(self._raw("10-1"))
        return {name: values[name] for name in _METER}

    def _vdis(self) -> dict[str, float]:
        return table()["4-1"].reply.values(self._raw("4-1"))

    def _param(self) -> dict[str, float]:
        values = table()["6-1"].reply.values(self._raw("6-1"))
        return {name: values[name] for name in _PARAMS}

    def _battery(self) -> dict[str, Any]:
        return {
            "rsoc": round(100.0 * self._unit.battery.soc_ratio, 1),
            "battery_operation_status": 3 if self._permit.is_given else 0,
        }

    def _raw(self, command: str) -> dict[str, int]:
        return self._eza.read(table()[command].reply)

    # --- setting ---------------------------------------------------------------------------------

    def _obey(self, query: Mapping[str, str]) -> dict[str, Any]:
        given = set(query)
        is_current_only = "dig" in given and not given & {"dvg", "drg", "mode"}
        is_voltage_only = "dvg" in given and not given & {"dig", "mode"}
        mode = query.get("mode", self._mode)
        numbers = {
            "dig": self._number(query, "dig"),
            "dvg": self._number(query, "dvg"),
            "drg": self._number(query, "drg", 0.0),
        }
        for name, value in (("operationMode", mode), *numbers.items()):
            if value in ("", None):
                raise _BadRequest(f"No {name}")
        code = self._mode_code(mode)
        settings: tuple[Any, ...] = (
            table()["4-4"].request,
            {"dvg": numbers["dvg"], "drg": numbers["drg"]},
            table()["6-4"].request,
            {**self._thresholds(), "dig": numbers["dig"]},
        )
        try:  # all of it must fit before any of it is taken
            voltage, current = settings[0].raw_of(settings[1]), settings[2].raw_of(settings[3])
        except OutOfRange as wrong:
            raise _BadRequest(f"bad value: {wrong}") from wrong
        if is_current_only:
            self._write(current)
            reply = {"meter": self._meter(), "param": self._param()}
        elif is_voltage_only:
            self._write(voltage)
            reply = {"meter": self._meter(), "vdis": self._vdis()}
        else:
            order = [voltage, current, {"mode": code}]
            for raw in reversed(order) if MODES[code] is ConverterMode.WAIT else order:
                self._write(raw)
            reply = self._everything()
        self._mode, self._set = mode, {k: v for k, v in numbers.items() if v is not None}
        return reply

    def _number(
        self, query: Mapping[str, str], name: str, otherwise: float | None = None
    ) -> float | None:
        if name not in query:
            return self._set.get(name, otherwise)
        try:
            return float(query[name])
        except ValueError:
            raise _BadRequest(f"bad value: {name} is {query[name]}, it must be a number") from None

    def _mode_code(self, text: str) -> int:
        if not text.startswith("0x"):
            raise _BadRequest(f"bad value: {text}")
        try:
            code = int(text, 16)
        except ValueError:
            raise _BadRequest(f"bad value: {text}") from None
        if code not in MODES:
            raise _BadRequest(f"bad value: operation mode: {code}")
        return code

    def _thresholds(self) -> dict[str, float]:
        return {name: self._param()[name] for name in _PARAMS if name != "dig"}

    def _write(self, raw: Mapping[str, int]) -> None:
        try:
            self._eza.write(raw)
        except NotNow:
            raise _BadRequest("error: ERCD=fffd") from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has lost its patience is its own business."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _handler(device: HttpDevice) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "apis_emulator"

        def do_GET(self) -> None:
            if device.is_silent:
                self.close_connection = True
                return
            time.sleep(device.delay_s)
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            try:
                body = device.answer(parts.path, query)
            except _BadRequest as error:
                self._send(400, {"err": str(error)})
                return
            if body is None:
                self.send_error(404)
            else:
                self._send(200, body)

        def _send(self, code: int, body: Mapping[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """A line per request would drown what matters."""

    return Handler
