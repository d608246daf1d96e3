"""From what a watt-hour is worth to what a unit asks for and gives."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from apis_core.config.policy import Policy, parse_policy
from apis_core.config.scenario import band_of, parse_scenario
from apis_core.model.messages import InterchangeRequest
from apis_core.model.types import Direction, Meter, SelectionStrategy
from apis_core.trading.energy_worth import CELLS, EnergyWorth
from apis_core.trading.negotiation import Offer, evaluate_accept, evaluate_request
from apis_core.trading.value_section import Transfer, transfer, value_section

CONFIG = Path(__file__).resolve().parents[3] / "config"
POLICY: Policy = parse_policy((CONFIG / "policy.json").read_text(), "policy")
RULE = parse_scenario(json.dumps({"rule": "value"}), "scenario").value
CELL = 4800.0 / CELLS
WAY = Transfer(given_ratio=1.15, taken_ratio=0.98)
# scarce below 40 %, half and half up to 70 %, then worthless
WORTH = EnergyWorth(CELL, (10.0,) * 16 + (5.0,) * 12 + (0.0,) * 12, 10.0)


def request(direction: Direction, price: float | None) -> InterchangeRequest:
    return InterchangeRequest(
        request_id="r",
        unit_id="E002",
        type=direction,
        energy_wh=300.0,
        current_a=2.0,
        price_point_per_wh=price,
        window_ns=0,
    )


def test_a_transfer_costs_both_converters():
    assert RULE is not None
    way = transfer(RULE, POLICY, 2.0)
    # 700 W: 30 + 7 + 3.92 W in each converter, 3.5 W in the line; the taker's battery is the meter
    assert way.given_ratio == pytest.approx((700 + 3.5 + 40.92) / 0.98 / (700 - 40.92))
    assert way.taken_ratio == pytest.approx(0.98)
    at_bus = transfer(RULE, replace(POLICY, meter=Meter.GRID), 2.0)
    assert at_bus.taken_ratio == pytest.approx((700 - 40.92) * 0.98 / 700)
    ratios = [w.given_ratio / w.taken_ratio for w in (way, at_bus)]
    assert ratios[0] == pytest.approx(ratios[1])  # the loss does not depend on who counts


def test_a_small_current_loses_more():
    assert RULE is not None
    small, large = (transfer(RULE, POLICY, current_a).given_ratio for current_a in (0.5, 2.3))
    assert small > 1.3 > large


def test_the_bands_cover_the_whole_battery():
    section = value_section(WORTH, WAY, POLICY)
    for energy_wh in range(0, 4800, 40):
        name = band_of(section, float(energy_wh))
        assert name is not None
        assert f"{WORTH.at(energy_wh):.2f}" in name.partition("worth")[2]
    assert section.selection is SelectionStrategy.VALUE


def test_a_needy_unit_asks_for_what_the_next_watt_hours_are_worth():
    section = value_section(WORTH, WAY, POLICY)
    offer = evaluate_request(section, 1000.0)
    assert offer is not None
    assert offer.direction is Direction.CHARGE
    assert offer.price_point_per_wh == pytest.approx(9.8)
    assert 1000.0 + offer.energy_wh == pytest.approx(1920.0)


def test_a_unit_that_will_overflow_offers_down_to_where_it_is_worth_more():
    section = value_section(WORTH, WAY, POLICY)
    offer = evaluate_request(section, 4700.0)
    assert offer is not None
    assert offer.direction is Direction.DISCHARGE
    assert offer.price_point_per_wh == pytest.approx(1.0)  # the least gain
    assert 4700.0 - offer.energy_wh == pytest.approx(3360.0)


def test_who_is_asked_declines_what_brings_less_than_it_loses():
    section = value_section(WORTH, WAY, POLICY)
    # in the middle a watt-hour is worth 5; to hand one over costs 1.15 of them
    right = evaluate_accept(section, 2800.0, request(Direction.CHARGE, 6.8), "E001")
    assert isinstance(right, Offer)
    assert right.price_point_per_wh == pytest.approx(6.75)
    wrong = evaluate_accept(section, 2800.0, request(Direction.CHARGE, 6.7), "E001")
    assert wrong == "gives for 6.75, not for 6.7"
    assert isinstance(
        evaluate_accept(section, 2800.0, request(Direction.DISCHARGE, 4.9), "E001"), Offer
    )
    wrong = evaluate_accept(section, 2800.0, request(Direction.DISCHARGE, 5.0), "E001")
    assert wrong == "pays 4.9, not 5"


def test_two_alike_never_deal():
    section = value_section(WORTH, WAY, POLICY)
    for asking in range(0, 4800, 60):
        offer = evaluate_request(section, float(asking))
        if offer is None:
            continue
        asked = request(offer.direction, offer.price_point_per_wh)
        assert not isinstance(evaluate_accept(section, float(asking), asked, "E001"), Offer)


def test_what_one_gives_the_other_gains_by():
    """Whatever two units agree on, together they have more than before."""
    section = value_section(WORTH, WAY, POLICY)
    for taking in range(0, 4800, 60):
        for giving in range(0, 4800, 60):
            wanted = evaluate_request(section, float(taking))
            if wanted is None or wanted.direction is not Direction.CHARGE:
                continue
            asked = request(wanted.direction, wanted.price_point_per_wh)
            answer = evaluate_accept(section, float(giving), asked, "E001")
            if isinstance(answer, Offer):
                lost = WORTH.at(giving - 1.15 * 50.0) * WAY.given_ratio
                assert WORTH.at(taking + 50.0) * WAY.taken_ratio > lost


def test_nobody_gives_or_takes_beyond_the_states_of_charge_of_the_policy():
    section = value_section(EnergyWorth(CELL, (10.0,) * CELLS, 10.0), WAY, POLICY)
    offer = evaluate_request(section, 1000.0)
    assert offer is not None
    assert 1000.0 + offer.energy_wh <= POLICY.charge_soc_max_ratio * 4800.0
    assert evaluate_request(section, 4700.0) is None
    worthless = value_section(EnergyWorth(CELL, (0.0,) * CELLS, 10.0), WAY, POLICY)
    offer = evaluate_request(worthless, 4700.0)
    assert offer is not None
    assert 4700.0 - offer.energy_wh >= POLICY.discharge_soc_min_ratio * 4800.0
    assert evaluate_request(worthless, 900.0) is None
