"""What an operator may do to the emulated world: the two services of the emulator."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from apis_core.config.error_messages import problems_from_pydantic
from apis_core.model.errors import ConfigError
from apis_emulator.emulation import ConvertersOn, Emulation
from apis_emulator.pacer import Pacer
from apis_interfaces.srv import EmulatorControl, InjectFault
from apis_site.grid import InjectedFault

__all__ = ["Operator"]

Control, Inject = EmulatorControl.Request, InjectFault.Request
Done, Injected = EmulatorControl.Response, InjectFault.Response
SPEEDS = (0.1, 10_000.0)

_KINDS = {
    Inject.KIND_SENSOR_OFFSET: "sensor_offset",
    Inject.KIND_STUCK_CONVERTER: "stuck_converter",
    Inject.KIND_LOST_COMMUNICATION: "lost_communication",
    Inject.KIND_BATTERY_PERMIT: "battery_permit",
    Inject.KIND_LINE_BREAK: "line_break",
}


class Operator:
    """Answers requests.

    Args:
        emulation: What they are about.
        pacer: How fast its time goes.
        units_speed: The speed for which the units' nodes were started.
    """

    def __init__(self, emulation: Emulation, pacer: Pacer, units_speed: float) -> None:
        self._emulation = emulation
        self._pacer = pacer
        self._units_speed = units_speed
        self._acts: dict[int, Callable[[Any], str]] = {
            Control.OPERATION_READ: lambda _: "",
            Control.OPERATION_SPEED: self._set_speed,
            Control.OPERATION_SAVE: self._save,
            Control.OPERATION_LOAD: self._load,
            Control.OPERATION_RESET: self._reset,
            Control.OPERATION_SUMMARY: self._write_summary,
            Control.OPERATION_ADD_UNIT: self._add_unit,
            Control.OPERATION_REMOVE_UNIT: self._remove_unit,
        }

    def control(self, request: Any, response: Any) -> None:
        """Do what a request asks, and fill in the response."""
        response.error_code, response.error_msg = Done.ERROR_NONE, ""
        act = self._acts.get(request.operation)
        try:
            if act is None:
                text = f"operation is {request.operation}, it must be 0 to {max(self._acts)}"
                raise _Wrong(text)
            response.note = act(request)
        except _Wrong as error:
            response.error_code, response.error_msg = Done.ERROR_OUT_OF_RANGE, str(error)
        except ConvertersOn as error:
            response.error_code, response.error_msg = Done.ERROR_CONVERTERS_ON, str(error)
        except ConfigError as error:
            response.error_code, response.error_msg = _code_of(request), _one_line(error)
        except OSError as error:
            response.error_code = Done.ERROR_FILE
            response.error_msg = f"{request.file}: {error.strerror or error}"
        response.unit_ids = list(self._emulation.plant.units)
        response.active_faults = self._active_faults()
        response.speed = self._pacer.speed
        response.elapsed_s = self._emulation.clock_s

    def inject(self, request: Any, response: Any) -> None:
        """Break or repair something, and fill in the response."""
        response.error_code, response.error_msg = Injected.ERROR_NONE, ""
        try:
            if request.kind == Inject.KIND_REPAIR:
                self._emulation.repair(request.fault_id)
            else:
                response.fault_id = self._emulation.inject(_fault(request)).id
        except ConfigError as error:
            response.error_code, response.error_msg = Injected.ERROR_OUT_OF_RANGE, _one_line(error)
        except ValidationError as error:
            problems = problems_from_pydantic(error, "fault", InjectedFault.model_json_schema())
            response.error_code = Injected.ERROR_OUT_OF_RANGE
            response.error_msg = "; ".join(map(str, problems))
        response.active_faults = self._active_faults()

    def _active_faults(self) -> list[str]:
        return [str(injection) for injection in self._emulation.active_faults]

    def _set_speed(self, request: Any) -> str:
        low, high = SPEEDS
        if not low <= request.speed <= high:
            raise _Wrong(f"speed is {request.speed:g}, it must be from {low:g} to {high:g}")
        self._pacer.speed = request.speed
        if request.speed <= self._units_speed:
            return ""
        return (
            f"the units were started for a speed of {self._units_speed:g}: beyond, they may "
            "take the network for too slow and end deals; it is safe, and slower is always fine"
        )

    def _save(self, request: Any) -> str:
        file = _file(request)
        self._emulation.save(file)
        return f"saved to {file}"

    def _load(self, request: Any) -> str:
        file = _file(request)
        self._emulation.load(file)
        return f"loaded from {file}"

    def _reset(self, _request: Any) -> str:
        self._emulation.reset()
        return "back at the start"

    def _write_summary(self, request: Any) -> str:
        file = _file(request)
        self._emulation.accounts.write(file)
        return f"written to {file}"

    def _add_unit(self, request: Any) -> str:
        if not request.unit:
            raise _Wrong("unit is missing")
        return f"added {self._emulation.add_unit(request.unit).id}"

    def _remove_unit(self, request: Any) -> str:
        self._emulation.remove_unit(request.unit_id)
        return f"removed {request.unit_id}"


class _Wrong(Exception):
    """A value of a request makes no sense."""


def _file(request: Any) -> Path:
    if not request.file:
        raise _Wrong("file is missing")
    return Path(request.file)


def _code_of(request: Any) -> int:
    by_file = (Control.OPERATION_LOAD, Control.OPERATION_SUMMARY)
    return int(Done.ERROR_FILE if request.operation in by_file else Done.ERROR_OUT_OF_RANGE)


def _one_line(error: ConfigError) -> str:
    return "; ".join(map(str, error.problems))


def _fault(request: Any) -> InjectedFault:
    kind = _KINDS.get(request.kind)
    return InjectedFault.model_validate(
        {
            "kind": str(request.kind) if kind is None else kind,
            "unit": request.unit_id,
            "other_unit": request.other_unit_id or None,
            "quantity": request.quantity or None,
            "value": None if kind != "sensor_offset" else _known(request.value),
            "for_s": _known(request.duration_s),
        }
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
