"""``apisctl world``: what an operator may do to the emulated world of a running grid."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from apis_bringup import run_lock
from apis_bringup.errors import CommandError
from apis_bringup.graph import Graph
from apis_bringup.queries import GridSession
from apis_core.model.errors import ConfigError, Problem
from apis_interfaces.srv import EmulatorControl, InjectFault
from apis_ros.names import EMULATOR_CONTROL, EMULATOR_INJECT_FAULT
from apis_site.files import read_text
from apis_site.yaml_text import load_yaml

__all__ = ["KINDS", "add_unit", "control", "inject", "read_faults", "repair", "said"]

_HOUSE_FILES = ("solar_csv", "load_csv")
ANSWERS_WITHIN_S = 30.0  # wall; a unit that is added may have its sun and load modelled first
APPEARS_WITHIN_S = 10.0

Control, Inject = EmulatorControl.Request, InjectFault.Request
KINDS = {
    "sensor-offset": Inject.KIND_SENSOR_OFFSET,
    "stuck-converter": Inject.KIND_STUCK_CONVERTER,
    "lost-communication": Inject.KIND_LOST_COMMUNICATION,
    "battery-permit": Inject.KIND_BATTERY_PERMIT,
    "line-break": Inject.KIND_LINE_BREAK,
}


def control(grid: GridSession, operation: int, **fields: Any) -> EmulatorControl.Response:
    """Ask the emulator to do something.

    Raises:
        CommandError: It does not answer, or refuses.
    """
    request = Control(operation=operation, **fields)
    return _call(grid, EmulatorControl, EMULATOR_CONTROL, request)


def inject(grid: GridSession, kind: str, **fields: Any) -> InjectFault.Response:
    """Break something.

    Args:
        grid: Of which grid.
        kind: A key of :data:`KINDS`.
        fields: As in the service; what is left out is not known.

    Raises:
        CommandError: The emulator does not answer, or refuses.
    """
    request = Inject(kind=KINDS[kind], **{"value": math.nan, "duration_s": math.nan, **fields})
    return _call(grid, InjectFault, EMULATOR_INJECT_FAULT, request)


def repair(grid: GridSession, fault_id: str) -> InjectFault.Response:
    """Undo a fault, or all.

    Raises:
        CommandError: The emulator does not answer, or there is no such fault.
    """
    request = Inject(kind=Inject.KIND_REPAIR, fault_id=fault_id)
    return _call(grid, InjectFault, EMULATOR_INJECT_FAULT, request)


def add_unit(grid: GridSession, file: Path) -> EmulatorControl.Response:
    """Put up the hardware of one more unit.

    Args:
        grid: Of which grid.
        file: A unit as in the grid file's ``units`` (YAML); names in it are relative to its
            folder.

    Raises:
        ConfigError: The file cannot be read, or is no unit.
        CommandError: The emulator does not answer, or refuses.
    """
    source = str(file)
    content = load_yaml(read_text(file, source), source)
    if not isinstance(content, dict):
        right = "must be one unit, with keys such as id and hardware"
        raise ConfigError([Problem(source, "", "", right)])
    folder = file.resolve().parent
    for part, names in ((content, ("hardware", "scenario")), (content.get("house"), _HOUSE_FILES)):
        for name in names:
            if isinstance(part, dict) and isinstance(part.get(name), str):
                part[name] = str(folder / part[name])
    return control(grid, Control.OPERATION_ADD_UNIT, unit=json.dumps(content))


def read_faults(file: Path) -> list[Any]:
    """The faults of a scenario file: a YAML list, as ``emulator.faults`` of a grid file.

    Raises:
        ConfigError: The file cannot be read, or is no list.
    """
    source = str(file)
    content = load_yaml(read_text(file, source, what="--faults"), source)
    if not isinstance(content, list):
        raise ConfigError([Problem(source, "", "", "must be a list of faults")])
    return content


def said(response: Any) -> list[str]:
    """What a response says, for people."""
    lines = [response.note] if getattr(response, "note", "") else []
    if isinstance(response, EmulatorControl.Response):
        lines.append(
            f"{' '.join(response.unit_ids)}: {response.elapsed_s:.0f} s simulated, "
            f"speed {response.speed:g}"
        )
    return [*lines, *(response.active_faults or ["nothing is broken"])]


def _call(grid: GridSession, kind: Any, name: str, request: Any) -> Any:
    with Graph(grid.cluster, grid.authenticator) as graph:
        client: Any = graph.node.create_client(kind, name)
        try:
            # The graph does not tell of its changes: have the condition looked at now and then.
            graph.every(0.1, lambda: None)
            if not graph.wait_for(client.service_is_ready, within_s=APPEARS_WITHIN_S):
                raise CommandError(
                    f"no emulator of the cluster {grid.cluster!r} answers on ROS_DOMAIN_ID "
                    f"{run_lock.domain_id()}; `make run` starts a grid"
                )
            graph.authenticator.sign(request, client.service_name)
            future = client.call_async(request)
            if not graph.wait_for(future.done, within_s=ANSWERS_WITHIN_S):
                raise CommandError(f"the emulator has not answered in {ANSWERS_WITHIN_S:g} s")
            response: Any = future.result()
        finally:
            with graph.changed:
                graph.node.destroy_client(client)
    if response.error_code:
        raise CommandError(response.error_msg)
    return response
