"""What is known of a grid before anybody speaks: its files, read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timezone, tzinfo
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apis_core.config.hardware import Hardware, parse_hardware
from apis_core.config.policy import Policy, parse_policy
from apis_core.config.scenario import Scenario, parse_scenario
from apis_core.model.errors import ConfigError
from apis_site.files import read_text
from apis_site.grid import GridDescription
from apis_site.plan import GridPlan, Place

__all__ = ["Site", "UnitSite", "read_site"]

_Content = TypeVar("_Content")


@dataclass(frozen=True)
class UnitSite:
    """A unit's own files; None = not readable here."""

    hardware: Hardware | None = None
    scenario: Scenario | None = None


@dataclass(frozen=True)
class Site:
    """A grid as its description and the files that it names say it is."""

    cluster: str
    zone: tzinfo
    plan: GridPlan
    policy: Policy | None = None
    units: Mapping[str, UnitSite] = field(default_factory=dict)
    is_simulated: bool = False  # an emulator is there, so faults may be made
    keys: str | None = None  # key folder of the grid; None = an open grid

    @property
    def unit_ids(self) -> tuple[str, ...]:
        """In the order of the description."""
        return tuple(place.unit_id for place in self.plan.places)


def read_site(grid: GridDescription, folder: Path, *, is_simulated: bool = False) -> Site:
    """Read what the description names.

    A file that cannot be read is left out and not complained of: the page shows less, and the
    units, which cannot do without, complain themselves.

    Args:
        grid: Resolved description, with absolute names.
        folder: Of the run: its policy is the one that the units share.
        is_simulated: Whether an emulator is there.
    """
    shared = folder / "policy.json"
    policy = _read(parse_policy, str(shared) if shared.is_file() else grid.policy)
    places = [Place(unit.id, *unit.position_m) for unit in grid.units]
    branches = policy.topology if policy and policy.topology else ()
    lines = grid.emulator.lines
    cables = [cable.units for cable in (lines.cables if lines else None) or ()]
    return Site(
        cluster=grid.cluster,
        zone=_zone(grid.emulator.place.timezone),
        plan=GridPlan.of(places, branches, cables),
        policy=policy,
        units={
            unit.id: UnitSite(
                _read(parse_hardware, unit.hardware), _read(parse_scenario, unit.scenario)
            )
            for unit in grid.units
        },
        is_simulated=is_simulated,
        keys=grid.keys,
    )


def _read(parse: Callable[[str, str], _Content], name: str) -> _Content | None:
    try:
        return parse(read_text(name), name)
    except ConfigError:
        return None


def _zone(name: str) -> tzinfo:
    """Find the timezone; without a timezone database on the machine, times are shown in UTC."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return timezone.utc
