"""A bench for every device: the device, and what stands at the other end of its line."""

from __future__ import annotations

import importlib.util
import json
import time
from collections import deque
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import httpx
from fake_eza import FakeEza

from apis_core.model.types import ConverterMode
from apis_driver.device import DcdcDevice
from apis_driver.devices.eza2500 import Eza2500, Eza2500Settings
from apis_driver.devices.http import EmulatorDcdc, EmulatorSettings, HttpDcdc
from apis_driver.errors import PortError
from apis_driver.http_client import HttpSettings

ROOT = Path(__file__).resolve().parents[3]
M = ConverterMode
FAST = {"reply_timeout_s": 0.01, "byte_gap_s": 0.005, "late_reply_s": 0.0, "busy_pause_s": 0.0}


def example(name: str) -> Any:
    """A module of docs/examples."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Bench(Protocol):
    """What the contract wants to do to a converter behind the device's back."""

    device: DcdcDevice
    fault: str  # "", "silent", "nonsense" or "gone"
    said: int  # how often it was talked to

    @property
    def mode(self) -> ConverterMode: ...

    def force(self, mode: ConverterMode) -> None: ...

    def measure(self, grid_voltage_v: float, grid_current_a: float) -> None: ...


class EzaBench:
    codes = {M.WAIT: 0, M.DISCHARGE: 2, M.VOLTAGE_REFERENCE: 0x14, M.CHARGE: 0x41}  # noqa: RUF012

    def __init__(self) -> None:
        self.fake = FakeEza()
        self.device = Eza2500(Eza2500Settings(port="fake", **FAST), self.fake)
        self._fault = ""

    @property
    def fault(self) -> str:
        return self._fault

    @fault.setter
    def fault(self, fault: str) -> None:
        self._fault = fault
        self.fake.is_gone = fault == "gone"
        self.fake.garble = {
            "silent": lambda _: None,
            "nonsense": lambda answer: bytes(b ^ 0x55 for b in answer),
        }.get(fault, lambda answer: answer)

    @property
    def said(self) -> int:
        return len(self.fake.asked)

    @property
    def mode(self) -> ConverterMode:
        return next(mode for mode, code in self.codes.items() if code == self.fake.raw["mode"])

    def force(self, mode: ConverterMode) -> None:
        self.fake.raw["mode"] = self.codes[mode]

    def measure(self, grid_voltage_v: float, grid_current_a: float) -> None:
        self.fake.set(vg=grid_voltage_v, ig=grid_current_a)


class HttpBench:
    """The original driver's interface, or the original emulator's."""

    names = {  # noqa: RUF012
        "0x0000": "Waiting",
        "0x0002": "Heteronomy CV",
        "0x0014": "Grid Autonomy",
        "0x0041": "Heteronomy CV",
    }

    def __init__(self, *, is_emulator: bool = False) -> None:
        self.is_emulator = is_emulator
        self.fault, self.said = "", 0
        self.code, self.dvg, self.drg, self.dig = "0x0000", 350.0, 0.0, 0.0
        self.meter = {
            "vg": 350.0,
            "ig": 0.0,
            "wg": 0.0,
            "vb": 52.0,
            "ib": 0.0,
            "wb": 0.0,
            "tmp": 26.5,
        }
        self.version = "2.0"
        self.rsoc: Any = 70.0
        self.status = 3
        transport = httpx.MockTransport(self.serve)
        if is_emulator:
            settings = EmulatorSettings(url="http://device:4390", unit="E001")
            self.device: HttpDcdc = EmulatorDcdc(settings, transport)
        else:
            self.device = HttpDcdc(HttpSettings(url="http://device:4380"), transport)

    @property
    def mode(self) -> ConverterMode:
        return {
            "0x0000": M.WAIT,
            "0x0002": M.DISCHARGE,
            "0x0014": M.VOLTAGE_REFERENCE,
            "0x0041": M.CHARGE,
        }[self.code]

    def force(self, mode: ConverterMode) -> None:
        self.code = {
            M.WAIT: "0x0000",
            M.DISCHARGE: "0x0002",
            M.VOLTAGE_REFERENCE: "0x0014",
            M.CHARGE: "0x0041",
        }[mode]

    def measure(self, grid_voltage_v: float, grid_current_a: float) -> None:
        self.meter |= {"vg": grid_voltage_v, "ig": grid_current_a}

    def serve(self, request: httpx.Request) -> httpx.Response:
        self.said += 1
        if self.fault == "gone":
            raise httpx.ConnectError("nobody listens")
        if self.fault == "silent":
            raise httpx.ReadTimeout("no answer")
        if self.fault == "nonsense":
            return httpx.Response(200, content=b"<html>")
        parts = urlsplit(str(request.url))
        body = self._answer(parts.path, {k: v[-1] for k, v in parse_qs(parts.query).items()})
        if body is None:
            return httpx.Response(404, content=b"<html>")
        return httpx.Response(200, content=json.dumps(body).encode())

    def _answer(self, path: str, query: dict[str, str]) -> dict[str, Any] | None:
        path = path.removesuffix("/E001")
        for name in ("dvg", "drg", "dig"):
            if name in query:
                setattr(self, name, float(query[name]))
        if self.is_emulator:
            self.dvg = float(int(self.dvg))
        self.code = query.get("mode", self.code)
        status = {
            "alarmState": "No alarm",
            "runningState": "off",
            "operationMode": self.names.get(self.code, "Battery Autonomy"),
        }
        full = {
            "status": {**status, "status": self.code},
            "meter": self.meter,
            "vdis": {"dvg": self.dvg, "drg": self.drg},
            "param": {"dig": self.dig},
        }
        if self.is_emulator:
            status["status"] = self.code
        return {
            "/version/get": {"comm_interface_version": self.version},
            "/battery/get": {"rsoc": self.rsoc, "battery_operation_status": self.status},
            "/get/emu": {"rsoc": self.rsoc, "battery_rsoc": 34, "battery_voltage": 52.1},
            "/dcdc/get/status": {"status": status, "meter": self.meter},
            "/get/dcdc/status": {"status": status, "meter": self.meter},
            **dict.fromkeys(("/dcdc/get", "/dcdc/set", "/get/dcdc", "/set/dcdc"), full),
            **dict.fromkeys(("/set/dcdc/voltage", "/set/dcdc/current"), full),
        }.get(path)


class KestrelBench:
    """The small converter of docs/adding-a-device.md; also its transport."""

    address, dead_man = "fake", None

    def __init__(self) -> None:
        self.module = example("kestrel")
        settings = self.module.KestrelSettings(port="fake", **FAST)
        self.device = self.module.Kestrel(settings, self)
        self.fault, self.said = "", 0
        self.holds = {"MODE": "OFF", "V": "350.00", "I": "0.000", "AL": "0"}
        self.meter = {"VG": "350.0", "IG": "0.0", "VB": "52.0", "IB": "0.0", "T": "30.0"}
        self.incoming: deque[bytes] = deque()

    @property
    def mode(self) -> ConverterMode:
        return self.module.MODES[self.holds["MODE"]]

    def force(self, mode: ConverterMode) -> None:
        self.holds["MODE"] = self.module.WORDS[mode]

    def measure(self, grid_voltage_v: float, grid_current_a: float) -> None:
        self.meter |= {"VG": f"{grid_voltage_v:.2f}", "IG": f"{grid_current_a:.3f}"}

    def open(self) -> None:
        self._must_be_there()

    def close(self) -> None:
        self.incoming.clear()

    def write(self, data: bytes) -> None:
        self._must_be_there()
        self.said += 1
        verb, *words = data.decode().partition("*")[0].split()
        if verb == "SET":
            self.holds |= dict(word.split("=") for word in words)
        fields = {**self.meter, "MODE": self.holds["MODE"], "AL": self.holds["AL"]}
        answer = " ".join(
            f"{k}={v}" for k, v in (fields if verb == "STAT" else self.holds).items()
        )
        if self.fault == "nonsense":
            self.incoming.append(b"#" + self.module.line_of(answer))
        elif self.fault != "silent":
            self.incoming.append(self.module.line_of(answer))

    def read(self, deadline_s: float) -> bytes:
        self._must_be_there()
        if self.incoming:
            return self.incoming.popleft()
        time.sleep(max(min(deadline_s - time.monotonic(), 0.5), 0.0))
        return b""

    def drop_input(self) -> int:
        dropped = sum(map(len, self.incoming))
        self.incoming.clear()
        return dropped

    def _must_be_there(self) -> None:
        if self.fault == "gone":
            raise PortError("fake: the port has gone")
