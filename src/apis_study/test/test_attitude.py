"""Between two edges the core's rules have one answer; the table has found all edges."""

from __future__ import annotations

from pathlib import Path

import pytest

from apis_core.config.policy import parse_policy
from apis_core.config.scenario import parse_scenario
from apis_core.model.messages import InterchangeRequest
from apis_core.model.types import Direction
from apis_core.trading.negotiation import Offer, evaluate_accept, evaluate_request
from apis_study.attitude import AttitudeTable

CONFIG = Path(__file__).resolve().parents[3] / "config"
POLICY = parse_policy((CONFIG / "policy.json").read_text(), "policy")


@pytest.mark.parametrize(
    "name", ["scenario.json", "scenario_day_night.json", "scenario_reserve.json"]
)
def test_the_table_says_what_the_core_says(name):
    scenario = parse_scenario((CONFIG / name).read_text(), name)
    for section in scenario.sections:
        table = AttitudeTable(section, POLICY, "E001")
        for energy in range(0, 48_000, 37):
            energy_wh = energy / 10.0 + 0.013
            attitude = table.at(energy_wh)
            assert attitude.low_wh <= energy_wh < attitude.high_wh
            offer = evaluate_request(section, energy_wh)
            asks = offer is not None and offer.energy_wh >= POLICY.deal_energy_min_wh
            assert attitude.wish is (offer.direction if offer and asks else None)
            for direction in Direction:
                request = InterchangeRequest(
                    request_id="",
                    unit_id="E002",
                    type=direction.opposite,
                    energy_wh=50.0,
                    current_a=1.0,
                    window_ns=0,
                )
                answer = evaluate_accept(section, energy_wh, request, "E001")
                accepts = isinstance(answer, Offer) and answer.energy_wh >= 50.0
                assert (direction in attitude.accepts) is accepts, (energy_wh, direction)
