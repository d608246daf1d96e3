"""What the lines can carry, on the tree of nineteen houses."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from apis_core.config.branches import Branch
from apis_core.grid_master.topology import overloaded, why_not_activate
from apis_core.model.messages import Deal

GRID = json.loads((Path(__file__).parent / "data" / "grid19.json").read_text())
TREE = {branch["from"]: [] for branch in GRID["branches"]}
for _branch in GRID["branches"]:
    TREE[_branch["from"]].append(_branch["to"])


def branches(capacity_a: float) -> tuple[Branch, ...]:
    return tuple(
        Branch(
            f"{line['from']}-{line['to']}",
            tuple(line["forward_units"]),
            tuple(line["backward_units"]),
            capacity_a,
        )
        for line in GRID["branches"]
    )


def deal(giver: str, taker: str, current_a: float = 1.0) -> Deal:
    return Deal(
        deal_id=f"{giver}{taker}",
        request_unit_id=taker,
        accept_unit_id=giver,
        discharge_unit_id=giver,
        charge_unit_id=taker,
        energy_wh=50.0,
        current_a=current_a,
    )


def beyond(unit_id: str) -> set[str]:
    """The units of the subtree that a branch leads to."""
    return {unit_id}.union(*(beyond(child) for child in TREE.get(unit_id, ())))


@pytest.fixture
def tree(policy):
    return lambda capacity_a: replace(
        policy,
        member_unit_ids=tuple(GRID["units"]),
        topology=branches(capacity_a),
        total_deal_current_max_a=None,
    )


@pytest.mark.parametrize("line", GRID["branches"], ids=lambda line: f"{line['from']}-{line['to']}")
def test_10_2_the_golden_tree_names_the_units_on_either_side(line):
    forward, backward = set(line["forward_units"]), set(line["backward_units"])
    assert forward == beyond(line["to"])
    assert forward | backward == set(GRID["units"])
    assert not forward & backward


@pytest.mark.parametrize("line", GRID["branches"], ids=lambda line: f"{line['from']}-{line['to']}")
@pytest.mark.parametrize("side", ["forward_units", "backward_units"])
@pytest.mark.parametrize("gives", [True, False])
def test_10_2_each_of_the_four_sums_of_a_branch_is_limited(tree, line, side, gives):
    """All deals have one side among these units, so that sum alone reaches the limit."""
    unit_id = line[side][0]
    policy = tree(2.0)
    # the other side is spread out, so that no other branch is the first to be full
    policy = replace(
        policy,
        topology=tuple(
            replace(
                branch, capacity_a=2.0 if branch.id == f"{line['from']}-{line['to']}" else 99.0
            )
            for branch in policy.topology
        ),
    )
    others = [other for other in GRID["units"] if other != unit_id][:3]
    deals = [deal(unit_id, other) if gives else deal(other, unit_id) for other in others]
    assert why_not_activate(deals[:1], deals[1], policy) == ""
    reason = why_not_activate(deals[:2], deals[2], policy)
    assert f"branch {line['from']}-{line['to']} carries at most 2 A" in reason
    assert "3 A" in reason


def test_10_2_currents_are_not_set_off_against_each_other(tree):
    """One gives and one takes beyond the branch; either may stop first."""
    policy = tree(1.0)
    inside = deal("F018", "F026")
    assert why_not_activate([inside], deal("F012", "F022"), policy)
    assert why_not_activate([], inside, policy) == ""


def test_10_2_without_branches_the_whole_bus_has_a_limit(policy):
    policy = replace(policy, topology=None, total_deal_current_max_a=2.0)
    assert why_not_activate([deal("E001", "E002")], deal("E003", "E004"), policy) == ""
    reason = why_not_activate([deal("E001", "E002", 1.5)], deal("E003", "E004"), policy)
    assert reason == "the bus carries at most 2 A, and with this deal 2.5 A"


def test_10_2_a_limit_of_the_whole_bus_holds_beside_those_of_its_branches(tree):
    policy = replace(tree(9.0), total_deal_current_max_a=2.0)
    assert why_not_activate([deal("F022", "F021")], deal("F011", "F010"), policy) == ""
    reason = why_not_activate([deal("F022", "F021")], deal("F011", "F010", 1.5), policy)
    assert reason == "the bus carries at most 2 A, and with this deal 2.5 A"
    policy = replace(tree(2.0), total_deal_current_max_a=9.0)
    assert why_not_activate([deal("F022", "F021")], deal("F011", "F010", 2.5), policy)


def test_10_2_a_sum_that_is_off_by_the_error_of_its_floats_is_not_too_much(tree):
    """Three times 0.1 is a little more than 0.3."""
    running, new = (
        [deal("F022", "F011", 0.1), deal("F022", "F012", 0.1)],
        deal("F022", "F004", 0.1),
    )
    assert why_not_activate(running, new, tree(0.3)) == ""
    total = replace(tree(9.0), topology=None, total_deal_current_max_a=0.3)
    assert why_not_activate(running, new, total) == ""


def test_10_1_the_net_current_of_a_branch_is_watched():
    currents_a = dict.fromkeys(GRID["units"], 0.0)
    currents_a |= {"F022": 2.0, "F021": 2.0, "F019": -1.0, "F012": -3.0}
    found = overloaded(currents_a, branches(3.5), assumed_a={})
    assert [branch.id for branch, _ in found] == ["F019-F020", "F020-F021"]
    assert overloaded(currents_a, branches(3.5), assumed_a={}, allowance_a=0.5) == []


def test_w39_a_unit_that_is_not_seen_counts_with_what_it_may_carry():
    currents_a: dict[str, float | None] = dict.fromkeys(GRID["units"], 0.0)
    currents_a["F022"] = None
    assert overloaded(currents_a, branches(1.5), assumed_a={}) == []
    found = overloaded(currents_a, branches(1.5), assumed_a={"F022": 2.0})
    assert len(found) == 6  # all branches between it and the hub
    assert found[0][1] == "2.00 A on branch F012-F026, which carries 1.5 A; F022 not seen"


def test_w39_what_is_not_seen_comes_on_top_of_what_is():
    """It may flow in either direction; the worse one counts."""
    for seen_a in (1.0, -1.0):
        currents_a = {**dict.fromkeys(GRID["units"], 0.0), "F020": seen_a, "F022": None}
        found = overloaded(currents_a, branches(2.5), assumed_a={"F022": 2.0})
        assert [branch.id for branch, _ in found] == [
            "F012-F026",
            "F026-F018",
            "F018-F019",
            "F019-F020",
        ]


@pytest.mark.parametrize("is_missing", [True, False])
def test_w39_where_nothing_is_known_of_a_unit_its_branches_are_taken_for_overloaded(is_missing):
    currents_a: dict[str, float | None] = dict.fromkeys(GRID["units"], 0.0)
    assert overloaded(currents_a, branches(1.0), assumed_a=None) == []
    if is_missing:
        del currents_a["F004"]
    else:
        currents_a["F004"] = None
    found = overloaded(currents_a, branches(1.0), assumed_a=None)
    assert [branch.id for branch, _ in found] == [
        "F012-F013",
        "F013-F014",
        "F014-F015",
        "F015-F004",
    ]
    assert found[0][1] == "inf A on branch F012-F013, which carries 1 A; F004 not seen"


def test_w39_a_current_that_is_no_number_is_too_much():
    currents_a = {**dict.fromkeys(GRID["units"], 0.0), "F017": math.nan}
    found = overloaded(currents_a, branches(9.0), assumed_a={})
    assert [branch.id for branch, _ in found] == [
        "F012-F013",
        "F013-F014",
        "F014-F015",
        "F015-F017",
    ]
