"""The value rule at work: from what a unit has seen to the section that holds now."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from apis_core.config.policy import parse_policy
from apis_core.config.scenario import parse_scenario
from apis_core.model.messages import Deal, InterchangeAccept, InterchangeRequest
from apis_core.model.types import SelectionStrategy
from apis_core.trading.energy_history import DAY_H, EnergyHistory
from apis_core.trading.negotiation import (
    Negotiation,
    Offer,
    evaluate_accept,
    evaluate_request,
)
from apis_core.trading.valuation import Valuation

CONFIG = Path(__file__).resolve().parents[3] / "config"
POLICY = parse_policy((CONFIG / "policy.json").read_text(), "policy")
RULE = parse_scenario('{"rule": "value"}', "scenario").value
assert RULE is not None


def valuation(**keys: object) -> Valuation:
    rule = parse_scenario(json.dumps({"rule": "value", **keys}), "scenario").value
    assert rule is not None
    return Valuation(rule, POLICY, 4800.0, EnergyHistory())


def sunny_days(history: EnergyHistory, days: int) -> None:
    for hour in range(days * DAY_H):
        sun_wh = 3000.0 if 8 <= hour % DAY_H < 16 else 0.0
        history.add(hour, sun_wh, 100.0, is_curtailed=False)


def test_it_reckons_anew_when_an_hour_is_known():
    unit = valuation()
    before = unit.section
    assert unit.section is before
    sunny_days(unit.history, 2)
    assert unit.section is not before
    assert unit.worth.at(4500.0) == 0.0  # it overflows tomorrow


def test_without_forecast_nothing_that_it_has_seen_counts():
    unit = valuation(forecast="none")
    before = unit.section
    sunny_days(unit.history, 2)
    assert unit.section is before


def test_the_worked_example_of_the_documentation():
    """docs/trading.md: two houses at 9 in the morning."""
    policy = replace(POLICY, deal_current_a=2.3)
    suns_w = (300.0, 1000.0, 1500.0, 600.0, 2000.0, 500.0, 1200.0)
    roof, none = (Valuation(RULE, policy, 4800.0, EnergyHistory()) for _ in range(2))
    for hour in range(7 * DAY_H + 9):
        sun_w = suns_w[hour // DAY_H % 7] if 8 <= hour % DAY_H < 16 else 0.0
        roof.history.add(hour, sun_w, 150.0, is_curtailed=False)
        none.history.add(hour, 0.0, 400.0, is_curtailed=False)
    assert roof.worth.at(2880.0) == pytest.approx(3.80, abs=0.005)
    assert none.worth.at(1500.0) == pytest.approx(9.87, abs=0.005)
    asked = evaluate_request(none.section, 1500.0)
    assert asked is not None
    assert asked.price_point_per_wh == pytest.approx(9.67, abs=0.005)
    request = InterchangeRequest(
        request_id="r",
        unit_id="E002",
        type=asked.direction,
        energy_wh=asked.energy_wh,
        current_a=2.3,
        price_point_per_wh=asked.price_point_per_wh,
        window_ns=0,
    )
    answer = evaluate_accept(roof.section, 2880.0, request, "E001")
    assert isinstance(answer, Offer)
    assert answer.price_point_per_wh == pytest.approx(5.22, abs=0.005)
    accept = InterchangeAccept(
        request_id="r",
        unit_id="E001",
        type=answer.direction,
        energy_wh=answer.energy_wh,
        current_a=2.3,
        price_point_per_wh=answer.price_point_per_wh,
    )
    negotiation = Negotiation(request, 0, {"E001"}, [accept])
    deal = negotiation.conclude(SelectionStrategy.VALUE, policy)
    assert isinstance(deal, Deal)
    assert deal.price_point_per_wh == pytest.approx(7.45, abs=0.005)
