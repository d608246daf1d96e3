"""Which unit holds the bus voltage, first and next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apis_core.grid_master.reference_selection import (
    better_reference,
    first_reference,
    next_reference,
)
from apis_core.model.messages import Deal
from apis_core.model.types import Direction


def deal(giver: str, taker: str, started_ns: int = 1) -> Deal:
    return Deal(
        deal_id=f"{giver}{taker}",
        request_unit_id=giver,
        accept_unit_id=taker,
        discharge_unit_id=giver,
        charge_unit_id=taker,
        energy_wh=50.0,
        current_a=1.0,
        started_ns=started_ns,
    )


@pytest.mark.parametrize(
    ("side", "large", "expected"),
    [
        (Direction.CHARGE, (), "B"),
        (Direction.DISCHARGE, (), "A"),
        (Direction.CHARGE, ("A",), "A"),
        (Direction.CHARGE, ("B",), "B"),
        (Direction.DISCHARGE, ("B",), "B"),
        (Direction.CHARGE, ("A", "B"), "B"),
        (Direction.DISCHARGE, ("A", "B"), "A"),
        (Direction.CHARGE, ("C",), "B"),
    ],
)
def test_7_2_who_brings_the_bus_up(policy, side, large, expected):
    policy = replace(policy, voltage_reference_side=side, large_capacity_unit_ids=large)
    assert first_reference(deal("A", "B"), policy) == expected


@pytest.mark.parametrize(
    ("present", "large", "expected"),
    [
        ("C", (), ""),
        ("C", ("A",), "A"),
        ("C", ("B",), "B"),
        ("C", ("C", "A"), ""),  # it is large itself
        ("A", ("B",), "B"),
        ("C", ("D",), ""),
    ],
)
def test_7_2_a_large_unit_that_joins_takes_the_bus_over(policy, present, large, expected):
    policy = replace(policy, large_capacity_unit_ids=large)
    assert better_reference(deal("A", "B"), present, policy) == expected


def test_7_6_first_class_the_unit_that_holds_the_bus_already(policy):
    policy = replace(policy, large_capacity_unit_ids=("A",))
    deals = [deal("A", "B", 9), deal("C", "R", 1)]
    assert next_reference(deals, "R", policy) == ("R", "CR")


def test_7_6_second_class_a_large_unit(policy):
    policy = replace(policy, large_capacity_unit_ids=("A",))
    assert next_reference([deal("C", "D", 9), deal("A", "B", 1)], "R", policy) == ("A", "AB")


@pytest.mark.parametrize(
    ("side", "expected"), [(Direction.CHARGE, "D"), (Direction.DISCHARGE, "C")]
)
def test_7_6_third_class_the_policys_side_of_the_newest_deal(policy, side, expected):
    policy = replace(policy, large_capacity_unit_ids=(), voltage_reference_side=side)
    assert next_reference([deal("C", "D", 9), deal("A", "B", 1)], "R", policy) == (expected, "CD")


def test_7_6_who_would_not_is_not_asked_again(policy):
    policy = replace(policy, large_capacity_unit_ids=())
    deals = [deal("C", "D", 9), deal("A", "B", 1)]
    assert next_reference(deals, "R", policy, {"D"}) == ("C", "CD")
    assert next_reference(deals, "R", policy, {"C", "D"}) == ("B", "AB")
    assert next_reference(deals, "R", policy, {"A", "B", "C", "D"}) is None
    assert next_reference([], "R", policy) is None
