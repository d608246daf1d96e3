"""Branches of the DC line, each with a current limit and the units on either side of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from apis_core.config.error_messages import problems_from_pydantic, suggestion
from apis_core.config.validation import Flag, Positive
from apis_core.model.errors import Problem
from apis_core.model.types import UnitId

__all__ = ["TOPOLOGY_KEY", "Branch", "branches_part", "read_branches", "restrict_branches"]

TOPOLOGY_KEY = "safety.gridTopologyBasedEvaluation"


@dataclass(frozen=True, slots=True)
class Branch:
    """One piece of line.

    Attributes:
        id: Its name.
        forward_unit_ids: Units on one side.
        backward_unit_ids: Units on the other side.
        capacity_a: Largest current in either direction, > 0. [A]
    """

    id: str
    forward_unit_ids: tuple[UnitId, ...]
    backward_unit_ids: tuple[UnitId, ...]
    capacity_a: float


class _Sides(BaseModel):
    model_config = ConfigDict(extra="forbid")
    forward: tuple[str, ...] = Field(validation_alias="forwardUnitIds")
    backward: tuple[str, ...] = Field(validation_alias="backwardUnitIds")


class _Topology(BaseModel):
    model_config = ConfigDict(extra="forbid")
    enabled: Flag = False
    ids: tuple[str, ...] = Field((), validation_alias="branchIds")
    sides: dict[str, _Sides] = Field({}, validation_alias="branchAssociation")
    capacity_a: dict[str, Positive] = Field({}, validation_alias="branchCurrentCapacityA")


def read_branches(
    data: Mapping[str, Any], source: str, member_unit_ids: Sequence[UnitId] | None
) -> tuple[tuple[Branch, ...] | None, list[Problem], list[Problem]]:
    """Read the branches of a policy.

    Args:
        data: The whole policy file.
        source: Its name.
        member_unit_ids: The units that there are; None = not known, so unchecked.

    Returns:
        The branches (None = not switched on), problems, and warnings.
    """
    safety = data.get("safety")
    part = safety.get("gridTopologyBasedEvaluation") if isinstance(safety, Mapping) else None
    try:
        topology = _Topology.model_validate({} if part is None else _without_empty_names(part))
    except ValidationError as error:
        schema = _Topology.model_json_schema()
        return None, problems_from_pydantic(error, source, schema, prefix=(TOPOLOGY_KEY,)), []
    if not topology.enabled:
        return None, [], []
    found = list(_inconsistencies(topology, member_unit_ids))
    if found:
        return (
            None,
            [Problem(source, f"{TOPOLOGY_KEY}.{key}", "", right) for key, right in found],
            [],
        )
    branches = tuple(
        Branch(name, topology.sides[name].forward, topology.sides[name].backward, capacity_a)
        for name in topology.ids
        for capacity_a in [topology.capacity_a[name]]
    )
    warnings = [
        Problem(
            source,
            f"{TOPOLOGY_KEY}.branchAssociation.{branch.id}",
            "",
            f"leaves out {', '.join(out)}",
        )
        for branch in branches
        if (out := _left_out(branch, member_unit_ids or ()))
    ]
    return branches, [], warnings


def branches_part(branches: Sequence[Branch] | None) -> dict[str, Any]:
    """What a policy file says of these branches, at :data:`TOPOLOGY_KEY`."""
    if branches is None:
        return {"enabled": False}
    return {
        "enabled": True,
        "branchIds": [branch.id for branch in branches],
        "branchAssociation": {
            branch.id: {
                "forwardUnitIds": list(branch.forward_unit_ids),
                "backwardUnitIds": list(branch.backward_unit_ids),
            }
            for branch in branches
        },
        "branchCurrentCapacityA": {branch.id: branch.capacity_a for branch in branches},
    }


def _without_empty_names(part: object) -> object:
    """The original's samples fill empty tables with ``"" : ""``."""
    if not isinstance(part, Mapping):
        return part
    return {key: _without_empty_names(value) for key, value in part.items() if key}


def _inconsistencies(
    topology: _Topology, members: Sequence[UnitId] | None
) -> Iterator[tuple[str, str]]:
    """Keys below the topology, and what would be right there."""
    if not topology.ids:
        yield "branchIds", "must name at least one branch"
    for name, times in Counter(topology.ids).items():
        if times > 1:
            yield "branchIds", f"names {name} {times} times; once is right"
        if name not in topology.sides:
            yield f"branchAssociation.{name}", "required: { forwardUnitIds, backwardUnitIds }"
        if name not in topology.capacity_a:
            yield f"branchCurrentCapacityA.{name}", "required: a number greater than 0"
    for table, names in (
        ("branchAssociation", topology.sides),
        ("branchCurrentCapacityA", topology.capacity_a),
    ):
        for name in names:
            if name not in topology.ids:
                yield (
                    f"{table}.{name}",
                    f"must be one of branchIds{suggestion(name, topology.ids)}",
                )
    for name, sides in topology.sides.items():
        units = Counter((*sides.forward, *sides.backward))
        for unit_id, times in units.items():
            if times > 1:
                yield f"branchAssociation.{name}", f"names {unit_id} {times} times; once is right"
            if members is not None and unit_id not in members:
                right = f"names {unit_id}, which is not one of memberUnitIds"
                yield f"branchAssociation.{name}", right + suggestion(unit_id, members)


def _left_out(branch: Branch, unit_ids: Sequence[UnitId]) -> list[UnitId]:
    placed = {*branch.forward_unit_ids, *branch.backward_unit_ids}
    return [unit_id for unit_id in unit_ids if unit_id not in placed]


def restrict_branches(
    branches: Sequence[Branch], unit_ids: Sequence[UnitId]
) -> tuple[Branch, ...] | None:
    """The branches as they concern `unit_ids` only.

    Returns:
        None if nothing is left, or if a unit stands on neither side: its current would go unseen.
    """
    if any(_left_out(branch, unit_ids) for branch in branches):
        return None
    kept = (
        Branch(
            branch.id,
            tuple(u for u in branch.forward_unit_ids if u in unit_ids),
            tuple(u for u in branch.backward_unit_ids if u in unit_ids),
            branch.capacity_a,
        )
        for branch in branches
    )
    return tuple(b for b in kept if b.forward_unit_ids and b.backward_unit_ids) or None
