"""How the bus runs from house to house, and what flows along each piece of it. Pure.

The lines are the grid file's cables where it has some. Else they come from the policy's branches:
two houses are neighbours if exactly one branch lies between them. Otherwise the bus takes the
shortest way that joins all houses where they stand (a minimum spanning tree), which is how one
would lay it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot

from apis_core.config.branches import Branch

__all__ = ["GridPlan", "Line", "Place"]


@dataclass(frozen=True)
class Place:
    """Where a house stands, metres east and north of the grid's origin."""

    unit_id: str
    east_m: float
    north_m: float


@dataclass(frozen=True)
class Line:
    """A piece of the bus between two houses.

    Attributes:
        from_id: The house nearer to the first one of the grid.
        to_id: The one farther away.
        beyond: All houses that hang on its far end, ``to_id`` included.
        capacity_a: Largest current that the policy allows; None = it sets no limit. [A]
    """

    from_id: str
    to_id: str
    beyond: frozenset[str]
    capacity_a: float | None = None

    @property
    def id(self) -> str:
        """Its name."""
        return f"{self.from_id}–{self.to_id}"

    def net(self, values: Mapping[str, float | None]) -> float | None:
        """What flows from ``from_id`` to ``to_id``: all that the houses beyond it take.

        Args:
            values: By house, + = from the bus into the house. [A or W]

        Returns:
            None if no house beyond has a value.
        """
        known = [value for unit in self.beyond if (value := values.get(unit)) is not None]
        return sum(known) if known else None


@dataclass(frozen=True)
class GridPlan:
    """Houses and the lines between them, a tree.

    Attributes:
        places: In the order of the grid description.
        lines: One fewer than there are houses.
        order: The houses in a row along the bus, if no house has more than two neighbours.
    """

    places: tuple[Place, ...]
    lines: tuple[Line, ...]
    order: tuple[str, ...] = field(default=())

    @classmethod
    def of(
        cls,
        places: Sequence[Place],
        branches: Sequence[Branch] = (),
        cables: Sequence[tuple[str, str]] = (),
    ) -> GridPlan:
        """Work out the lines.

        Args:
            places: The houses; ids are unique.
            branches: Of the policy, if it has some.
            cables: Pairs of houses, if the grid file names them; a ring is not drawn as one.
        """
        ids = [place.unit_id for place in places]
        edges = (
            list(cables)
            if _is_tree(ids, cables)
            else _edges_by_branches(ids, branches) or _edges_by_distance(places)
        )
        row = _row(ids, edges)
        root = row[0] if row else (ids[0] if ids else "")
        lines = tuple(_lines(root, edges))
        by_cut = {
            frozenset(side): branch.capacity_a
            for branch in branches
            for side in (branch.forward_unit_ids, branch.backward_unit_ids)
        }
        return cls(
            tuple(places),
            tuple(Line(a, b, beyond, by_cut.get(beyond)) for a, b, beyond in lines),
            tuple(row),
        )


def _edges_by_branches(
    ids: Sequence[str], branches: Sequence[Branch]
) -> list[tuple[str, str]] | None:
    """Neighbours have exactly one branch between them; None if that makes no tree."""
    if len(branches) != len(ids) - 1:
        return None
    side = dict.fromkeys(ids, 0)  # one bit per branch
    for bit, branch in enumerate(branches):
        for unit_id in branch.forward_unit_ids:
            if unit_id in side:
                side[unit_id] |= 1 << bit
    edges = [
        (a, b)
        for index, a in enumerate(ids)
        for b in ids[index + 1 :]
        if bin(side[a] ^ side[b]).count("1") == 1
    ]
    return edges if _is_tree(ids, edges) else None


def _is_tree(ids: Sequence[str], edges: Sequence[tuple[str, str]]) -> bool:
    """Whether these edges join all houses, each pair in one way."""
    if not edges or len(edges) != len(ids) - 1:
        return False
    return len(_lines(ids[0], edges)) == len(edges) and {*ids} >= {
        u for edge in edges for u in edge
    }


def _edges_by_distance(places: Sequence[Place]) -> list[tuple[str, str]]:
    """Prim's algorithm for the minimum spanning tree."""
    edges: list[tuple[str, str]] = []
    rest = list(places[1:])
    nearest = {place.unit_id: (_distance_m(place, places[0]), places[0]) for place in rest}
    while rest:
        new = min(rest, key=lambda place: nearest[place.unit_id][0])
        rest.remove(new)
        edges.append((nearest[new.unit_id][1].unit_id, new.unit_id))
        for place in rest:
            far_m = _distance_m(place, new)
            if far_m < nearest[place.unit_id][0]:
                nearest[place.unit_id] = (far_m, new)
    return edges


def _distance_m(a: Place, b: Place) -> float:
    return hypot(a.east_m - b.east_m, a.north_m - b.north_m)


def _neighbours(edges: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for a, b in edges:
        found.setdefault(a, []).append(b)
        found.setdefault(b, []).append(a)
    return found


def _row(ids: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[str]:
    """The houses from one end to the other; empty if the bus branches."""
    neighbours = _neighbours(edges)
    if any(len(others) > 2 for others in neighbours.values()):
        return []
    ends = [unit_id for unit_id in ids if len(neighbours.get(unit_id, ())) < 2]
    row = [ends[0]] if ends else []
    while row and len(row) < len(ids):
        row.append(next(other for other in neighbours[row[-1]] if other not in row[-2:]))
    return row


def _lines(
    root: str, edges: Sequence[tuple[str, str]]
) -> Sequence[tuple[str, str, frozenset[str]]]:
    """Direct the lines away from the root, the nearest first."""
    neighbours = _neighbours(edges)
    order: list[tuple[str, str]] = []
    seen, queue = {root}, [root]
    for at in queue:
        for other in neighbours.get(at, ()):
            if other not in seen:
                seen.add(other)
                queue.append(other)
                order.append((at, other))
    beyond: dict[str, set[str]] = {unit_id: {unit_id} for unit_id in seen}
    for at, other in reversed(order):
        beyond[at] |= beyond[other]
    return [(at, other, frozenset(beyond[other])) for at, other in order]
