"""The wires of a grid's bus, from what its description says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from apis_core.model.errors import ConfigError, Problem
from apis_core.model.types import UnitId
from apis_site.grid import Cable, Lines, UnitEntry

__all__ = ["Wire", "wires"]

Wire = tuple[UnitId, UnitId, float]  # between which units, and its resistance [ohm]

SHORTEST_M = 1.0  # between units that stand on the same spot


def wires(units: Sequence[UnitEntry], lines: Lines) -> list[Wire]:
    """Which units are joined, and the resistance there and back. [ohm]

    ``R = 2 * length * resistance of a conductor * (1 + rise * (T - 20 degC))``

    Raises:
        ConfigError: A cable names a unit that does not exist, or joins one with itself, or the
            lines would have no resistance.
    """
    place = {unit.id: unit.position_m for unit in units}
    cables = lines.cables
    if cables is None:
        cables = shortest_tree(units)
    known = [c for c in cables if c.units[0] != c.units[1] and place.keys() >= set(c.units)]
    if len(known) < len(cables):
        wrong = next(c for c in cables if c not in known)
        right = "must be the ids of two units of this grid"
        raise ConfigError(
            [Problem("grid", "emulator.lines.cables.units", " ".join(wrong.units), right)]
        )
    warmth = 1.0 + lines.resistance_per_k * (lines.temp_degc - 20.0)
    if warmth <= 0.0:
        found, right = (
            f"{lines.resistance_per_k:g}",
            "must leave a resistance above 0 at temp_degc",
        )
        raise ConfigError([Problem("grid", "emulator.lines.resistance_per_k", found, right)])
    return [
        (
            *cable.units,
            2.0
            * (cable.length_m or max(math.dist(*(place[i] for i in cable.units)), SHORTEST_M))
            * (cable.conductor_ohm_per_m or lines.conductor_ohm_per_m)
            * warmth,
        )
        for cable in known
    ]


def shortest_tree(units: Sequence[UnitEntry]) -> tuple[Cable, ...]:
    """The least cable that joins all units (Prim's algorithm)."""
    place = {unit.id: unit.position_m for unit in units}
    first, *others = place
    nearest = {i: (math.dist(place[i], place[first]), first) for i in others}
    cables = []
    while nearest:
        new = min(nearest, key=lambda i: nearest[i][0])
        cables.append(Cable(units=(nearest.pop(new)[1], new)))
        for i, (far_m, _) in nearest.items():
            if (new_m := math.dist(place[i], place[new])) < far_m:
                nearest[i] = (new_m, new)
    return tuple(cables)
