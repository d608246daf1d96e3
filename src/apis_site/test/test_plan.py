"""How the bus runs, and what flows along it."""

from __future__ import annotations

from pathlib import Path

import pytest

from apis_core.config.policy import parse_policy
from apis_site.plan import GridPlan, Place

CONFIG = Path(__file__).resolve().parents[3] / "config"


def street(*ids: str) -> list[Place]:
    """Every 20 m on alternate sides, as generated grids have it."""
    return [Place(id_, 20.0 * (i // 2), 24.0 * (i % 2)) for i, id_ in enumerate(ids)]


def test_a_street_is_a_row_up_one_side_and_down_the_other() -> None:
    plan = GridPlan.of(street("E001", "E002", "E003", "E004", "E005", "E006"))
    assert plan.order in (
        ("E005", "E003", "E001", "E002", "E004", "E006"),
        ("E006", "E004", "E002", "E001", "E003", "E005"),
    )
    assert len(plan.lines) == 5


def test_every_line_carries_what_is_taken_beyond_it() -> None:
    plan = GridPlan.of([Place(id_, 10.0 * i, 0.0) for i, id_ in enumerate("ABC")])
    assert [line.id for line in plan.lines] == ["A–B", "B–C"]
    taken_a = {"A": -3.0, "B": 1.0, "C": 2.0}
    assert [line.net(taken_a) for line in plan.lines] == [3.0, 2.0]
    assert plan.lines[1].net({"A": 1.0, "C": None}) is None


def test_branches_of_the_policy_say_who_is_joined_to_whom_and_how_much_it_may_carry() -> None:
    text = (CONFIG / "grid19_policy.json").read_text(encoding="utf-8")
    branches = parse_policy(text, "grid19_policy.json").topology
    assert branches is not None
    ids = sorted({*branches[0].forward_unit_ids, *branches[0].backward_unit_ids})
    # all in one place: only the branches can tell
    plan = GridPlan.of([Place(unit_id, 0.0, 0.0) for unit_id in ids], branches)
    joined = {frozenset((line.from_id, line.to_id)) for line in plan.lines}
    assert joined == {frozenset(branch.id.split("-")) for branch in branches}
    assert plan.order == ()
    assert all(line.capacity_a for line in plan.lines)


def test_cables_of_the_grid_file_say_it_first() -> None:
    places = [Place(id_, 10.0 * i, 0.0) for i, id_ in enumerate("ABC")]
    plan = GridPlan.of(places, (), [("A", "C"), ("C", "B")])
    assert plan.order == ("A", "C", "B")
    ring = [("A", "B"), ("B", "C"), ("C", "A")]
    assert GridPlan.of(places, (), ring).order == ("A", "B", "C")


@pytest.mark.parametrize("ids", [[], ["E001"]])
def test_the_smallest_grids_have_no_line(ids: list[str]) -> None:
    plan = GridPlan.of(street(*ids))
    assert (len(plan.places), plan.lines) == (len(ids), ())
