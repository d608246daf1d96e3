"""What must hold in a grid beyond the form of its files."""

from __future__ import annotations

import json
import zoneinfo
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from apis_bringup.named_files import NamedFiles
from apis_core.config.policy import Policy
from apis_core.model.errors import ConfigError, Problem
from apis_core.model.units import FIRST_TIME_S, LAST_TIME_S
from apis_site.grid import GridDescription, RealHardware

__all__ = [
    "access_problems",
    "member_problems",
    "port_problems",
    "resolved_driver",
    "time_problems",
    "timezone_problems",
    "world_problems",
]


def time_problems(source: str, grid: GridDescription) -> list[Problem]:
    """What is wrong with the time zone, or with a start that no message could tell."""
    name = grid.emulator.place.timezone
    if problems := timezone_problems(source, name):
        return problems
    zone = zoneinfo.ZoneInfo(name)
    first, last = (
        datetime.fromtimestamp(limit_s, zone).replace(tzinfo=None)
        for limit_s in (FIRST_TIME_S, LAST_TIME_S)
    )
    if first <= grid.emulator.start <= last:
        return []
    right = f"must be from {first} to {last} there; messages of ROS know no other times"
    return [Problem(source, "emulator.start", str(grid.emulator.start), right)]


def timezone_problems(source: str, name: str) -> list[Problem]:
    """What is wrong with the name of a time zone."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        right = "must be an IANA time zone such as Asia/Tokyo"
        return [Problem(source, "emulator.place.timezone", name, right)]
    return []


def port_problems(source: str, grid: GridDescription) -> list[Problem]:
    """HTTP ports that two want."""
    taken = {grid.web.port: "the dashboard"}
    problems = []
    for index, unit in enumerate(grid.units):
        port = unit.device.http_port
        if unit.device.kind != "http" or port is None:
            continue
        if port in taken:
            key = f"units[{index}].device.http_port"
            right = f"is the port of {taken[port]} already"
            problems.append(Problem(source, key, str(port), right))
        taken[port] = unit.id
    return problems


def world_problems(description: GridDescription, files: NamedFiles) -> Iterator[Problem]:
    """What the emulator itself says of the files, lines and faults that only it reads."""
    from apis_emulator.houses import check_world  # needs numpy

    try:
        check_world(description)
    except ConfigError as error:
        for problem in error.problems:
            source = files.grid_source if problem.source == "grid" else problem.source
            yield replace(problem, source=files.named(source))


def member_problems(policy: Policy, grid: GridDescription, source: str) -> list[Problem]:
    """Units of a grid that its policy does not know."""
    strangers = [unit.id for unit in grid.units if unit.id not in policy.member_unit_ids]
    if not strangers:
        return []
    right = f"must also name these units of the grid: {', '.join(strangers)}"
    return [Problem(source, "memberUnitIds", json.dumps(policy.member_unit_ids), right)]


def access_problems(file: Path, source: str) -> list[Problem]:
    """What the dashboard says of the file of those who may log in."""
    from apis_dashboard.access import AccessError, read_users

    try:
        read_users(file)
    except AccessError as error:
        return [Problem(source, "web.access_file", "", str(error))]
    return []


def resolved_driver(driver: RealHardware, key: str, files: NamedFiles) -> RealHardware:
    """Real devices, checked by the drivers themselves, which know their settings."""
    from apis_driver.registry import check_settings, with_files_in  # only if there is a driver

    parts = with_files_in(files.folder, driver.model_dump(mode="json", exclude_none=True))
    files.problems += check_settings(parts, files.grid_source, key)
    return RealHardware.model_validate(parts)
