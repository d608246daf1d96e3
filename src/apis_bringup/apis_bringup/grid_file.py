"""Reads a grid file with every file that it names, and writes the run folder.

Nothing starts from a description that is wrong anywhere: all problems of all files are reported at
once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from apis_bringup.grid_rules import (
    access_problems,
    member_problems,
    port_problems,
    resolved_driver,
    time_problems,
    timezone_problems,
    world_problems,
)
from apis_bringup.named_files import NamedFiles
from apis_bringup.overrides import NO_OVERRIDES, Overrides
from apis_bringup.processes import NO_EXTRAS, Extras, Replay, node_parameters
from apis_bringup.run_folder import RunFolder
from apis_core.config.hardware import Hardware, parse_hardware
from apis_core.config.jsonc import parse_object
from apis_core.config.policy import Policy, parse_policy, replace_members
from apis_core.config.scenario import parse_scenario
from apis_core.model.errors import ConfigError, Problem
from apis_site.files import read_text
from apis_site.grid import (
    GridDescription,
    House,
    Physics,
    UnitEntry,
    parse_grid,
    parse_physics,
    with_devices,
    with_http_ports,
    with_unit_count,
)
from apis_site.keys import Role, read_keys
from apis_site.yaml_text import load_yaml, quoted_yaml

__all__ = ["ResolvedGrid", "resolve", "write_run_folder"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ResolvedGrid:
    """A grid whose files have all been read and found right.

    Attributes:
        description: With absolute paths, and with the battery capacities of the hardware files.
        policy_text: Content of the policy file that its units share.
        is_adapted: Whether that is for other members than the file which the grid names.
        warnings: What is allowed, but perhaps not meant.
    """

    description: GridDescription
    policy_text: str
    is_adapted: bool = False
    warnings: tuple[Problem, ...] = ()


def resolve(path: Path, overrides: Overrides = NO_OVERRIDES) -> ResolvedGrid:
    """Read a grid file, with everything that it refers to.

    Args:
        path: The grid file (YAML); names in it are relative to its folder.
        overrides: What the command line changes.

    Raises:
        ConfigError: Lists every problem of every file.
    """
    source = str(path)
    text = read_text(path, source, what="the grid file")
    data = _with_faults(load_yaml(text, source), overrides)
    files = NamedFiles(source, path.resolve().parent)
    data = _with_physics(data, files)
    try:
        grid = _overridden(parse_grid(data, source), overrides)
    except ConfigError as error:
        _read_all_named(data, files)  # their problems are wanted now, too
        zone = _named_timezone(data)
        files.problems += timezone_problems(source, zone) if zone else []
        raise ConfigError([*error.problems, *files.problems]) from None
    files.problems += time_problems(source, grid)
    policy = files.parse(grid.policy, "policy", parse_policy)
    web = grid.web
    if web.access_file is not None and files.exists(web.access_file, "web.access_file"):
        access_file = files.absolute(web.access_file)
        files.problems += access_problems(access_file, source)
        web = web.model_copy(update={"access_file": str(access_file)})
    keys = _resolved_keys(grid, overrides, files)
    policy_text = files.text(grid.policy)
    if policy and overrides.units is not None:
        policy_text = _with_members(policy_text, policy, [unit.id for unit in grid.units])
    elif policy:
        files.problems += member_problems(policy, grid, grid.policy)
    units = tuple(
        _resolved_unit(unit, f"units[{index}]", files) for index, unit in enumerate(grid.units)
    )
    if grid.emulator.speed != 1.0 and any(unit.driver for unit in grid.units):
        found, right = f"{grid.emulator.speed:g}", "must be 1: real devices know no other time"
        files.problems.append(Problem(source, "emulator.speed", found, right))
    files.problems += port_problems(source, grid)
    description = grid.model_copy(
        update={
            "policy": str(files.absolute(grid.policy)),
            "units": units,
            "web": web,
            "keys": keys,
        }
    )
    files.problems += world_problems(description, files)
    if files.problems:
        raise ConfigError(files.problems)
    description = with_http_ports(description)
    is_adapted = policy_text != files.text(grid.policy)
    return ResolvedGrid(description, policy_text, is_adapted, files.warnings())


def write_run_folder(
    resolved: ResolvedGrid,
    run: RunFolder,
    *,
    keep_journal: bool = False,
    use_sim_time: bool = True,
    extras: Extras = NO_EXTRAS,
    replay: Replay | None = None,
) -> None:
    """Write the files from which the nodes start.

    Args:
        resolved: The grid.
        run: Where to; made if needed.
        keep_journal: Whether units remember what they did in an earlier run in this folder.
        use_sim_time: Whether the nodes live by `/clock`.
        extras: What else looks at the grid.
        replay: The recording that is shown instead of a grid.
    """
    grid = resolved.description
    for unit in grid.units:
        journal = run.journal_file(unit.id)
        journal.parent.mkdir(parents=True, exist_ok=True)
        if not keep_journal:
            for stale in journal.parent.glob(f"{journal.name}*"):  # SQLite's -wal and -shm too
                stale.unlink()
    run.grid_file.write_text(grid.model_dump_json(indent=1) + "\n", encoding="utf-8")
    run.policy_file.write_text(resolved.policy_text, encoding="utf-8")
    # the file itself, so that what its author changes while the grid runs is noticed
    policy_file = run.policy_file if resolved.is_adapted else Path(grid.policy)
    parameters = node_parameters(grid, run, policy_file, use_sim_time=use_sim_time, extras=extras)
    parameters |= replay.parameters(grid, run) if replay else {}
    nodes = {node: {"ros__parameters": values} for node, values in parameters.items()}
    run.params_file.write_text(quoted_yaml(nodes), encoding="utf-8")


def _read_all_named(data: Any, files: NamedFiles) -> None:
    """Read what is named in a grid file that is itself too wrong for a grid description."""
    if not isinstance(data, Mapping):
        return
    parsers = {"policy": parse_policy, "hardware": parse_hardware, "scenario": parse_scenario}
    for place, part in _parts_with_names(data):
        for key, parser in parsers.items():
            value = part.get(key)
            for name in value if isinstance(value, list) else [value]:
                if isinstance(name, str) and name:
                    files.parse(name, f"{place}{key}", parser)


def _parts_with_names(data: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "", data
    units = data.get("units")
    if isinstance(units, Mapping) and isinstance(units.get("template"), Mapping):
        yield "units.template.", units["template"]
    elif isinstance(units, list):
        for index, unit in enumerate(units):
            if isinstance(unit, Mapping):
                yield f"units[{index}].", unit


def _overridden(grid: GridDescription, overrides: Overrides) -> GridDescription:
    if overrides.units is not None:
        grid = with_unit_count(grid, overrides.units)
    if overrides.device is not None:
        grid = with_devices(grid, overrides.device)
    emulator = {"speed": overrides.speed, "seed": overrides.seed}
    parts = {
        "emulator": grid.emulator.model_copy(update=_given(emulator)),
        "web": grid.web.model_copy(update=_given({"port": overrides.port})),
        "composition": overrides.composition,
    }
    grid = grid.model_copy(update=_given(parts))
    # A copy is made without a check; the file was right, so what is wrong now was asked for.
    return parse_grid(grid.model_dump(mode="json"), "command line")


def _with_faults(data: Any, overrides: Overrides) -> Any:
    emulator = (data.get("emulator") or {}) if isinstance(data, Mapping) else None
    if overrides.faults is None or not isinstance(emulator, Mapping):
        return data
    return {**data, "emulator": {**emulator, "faults": list(overrides.faults)}}


def _physics(text: str, source: str) -> Physics:
    return parse_physics(load_yaml(text, source), source)


def _with_physics(data: Any, files: NamedFiles) -> Any:
    """The grid with the values of its physics file, where it says nothing else itself."""
    emulator = data.get("emulator") if isinstance(data, Mapping) else None
    if not isinstance(emulator, Mapping):
        return data
    name = emulator.get("physics")
    if not isinstance(name, str) or not name:
        return data
    physics = files.parse(name, "emulator.physics", _physics)
    if physics is None:
        return data
    merged = {**emulator, "physics": str(files.absolute(name))}
    for section, values in physics.model_dump(mode="json").items():
        own = emulator.get(section, {})
        merged[section] = {**values, **own} if isinstance(own, Mapping) else own
    return {**data, "emulator": merged}


def _resolved_keys(grid: GridDescription, overrides: Overrides, files: NamedFiles) -> str | None:
    """The grid's key folder, absolute; what stands in it is checked by whoever speaks."""
    if overrides.keys is not None:
        folder = overrides.keys.resolve()
    elif grid.keys is not None:
        folder = files.absolute(grid.keys)
    else:
        return None
    try:
        roles = read_keys(folder).roles
    except ConfigError as error:
        files.problems += error.problems
        return None
    keyless = [unit.id for unit in grid.units if roles.get(unit.id) is not Role.UNIT]
    if keyless:
        right = (
            f"must also have keys of the units {', '.join(keyless)}; `apisctl keys new` adds them"
        )
        files.problems.append(Problem(files.grid_source, "keys", str(folder), right))
    return str(folder)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _named_timezone(data: Any) -> str:
    """The timezone in a grid file that is too wrong for a grid description; empty = none."""
    for key in ("emulator", "place", "timezone"):
        data = data.get(key) if isinstance(data, Mapping) else None
    return data if isinstance(data, str) else ""


def _resolved_unit(unit: UnitEntry, key: str, files: NamedFiles) -> UnitEntry:
    hardware = files.parse(unit.hardware, f"{key}.hardware", parse_hardware)
    files.parse(unit.scenario, f"{key}.scenario", parse_scenario)
    driver = unit.driver and resolved_driver(unit.driver, f"{key}.driver", files)
    return unit.model_copy(
        update={
            "driver": driver,
            "hardware": str(files.absolute(unit.hardware)),
            "scenario": str(files.absolute(unit.scenario)),
            "house": _resolved_house(unit.house, f"{key}.house", files, hardware),
        }
    )


def _resolved_house(house: House, key: str, files: NamedFiles, hardware: Hardware | None) -> House:
    update: dict[str, Any] = {}
    for name in ("solar_csv", "load_csv"):
        csv: str | None = getattr(house, name)
        if csv is not None:
            is_there = files.exists(csv, f"{key}.{name}")
            update[name] = str(files.absolute(csv)) if is_there else None
    if house.battery_capacity_wh is None and hardware is not None:
        update["battery_capacity_wh"] = hardware.battery_capacity_wh
    return house.model_copy(update=update)


def _with_members(text: str, policy: Policy, unit_ids: Sequence[str]) -> str:
    """A policy file for other members, for another number of units than the file's."""
    if set(unit_ids) == set(policy.member_unit_ids):
        return text
    adapted = replace_members(policy, unit_ids)
    data, _ = parse_object(text, "policy")
    data["memberUnitIds"] = list(unit_ids)
    data["largeCapacityUnitIds"] = list(adapted.large_capacity_unit_ids)
    selection = data.get("gridMaster", {}).get("gridMasterSelection", {})
    if selection and adapted.fixed_unit_id is None:
        selection.pop("fixedUnitId", None)
    if policy.topology:
        # Branches of a grid of another size say nothing of this one: the weakest limits them all.
        data["safety"]["gridTopologyBasedEvaluation"]["enabled"] = False
        data["safety"]["sumOfDealGridCurrentMaxA"] = min(
            branch.capacity_a for branch in policy.topology
        )
    return json.dumps(data, indent=1) + "\n"
