"""The bus moves to where the converters lose least, in the village (the protocol, 12)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from market import Market

from apis_core.messages import ConverterOperation
from apis_core.units import s_from_ns

# the village's batteries are at 52 V, its converters like 6.5 times that
BEST_V = 6.5 * 52.0


def moves(market: Market) -> list[float]:
    """Voltages that references were told, once the bus was up."""
    return [
        order.grid_voltage_v
        for _, order in market.orders
        if order.operation is ConverterOperation.VOLTAGE and order.grid_voltage_v is not None
    ]


def enabled() -> Market:
    return Market(voltage_optimization_enabled=True, authorization_trials=0)


def test_12_the_bus_moves_once_and_the_deals_go_on():
    market = enabled()
    market.want("E001", "E002", 40.0, after_s=60.0)
    assert moves(market)[-1] == pytest.approx(BEST_V)
    assert market.bus_v == pytest.approx(BEST_V)
    count = len(moves(market))
    market.must_balance()
    assert len(moves(market)) == count  # not again for the same deals


def test_12_the_voltage_is_chosen_anew_when_other_deals_flow():
    market = enabled()
    market.want("E001", "E002", 40.0, after_s=60.0)
    plant = market.plants["E004"]
    plant.reading = replace(plant.reading, battery_voltage_v=54.0)
    market.want("E004", "E003", 40.0, after_s=60.0)
    assert BEST_V < moves(market)[-1] < 6.5 * 54.0
    market.must_balance()


def test_12_nothing_moves_unless_the_policy_wants_it():
    market = Market(authorization_trials=0)
    market.want("E001", "E002", 20.0, after_s=60.0)
    assert set(moves(market)) == {market.policy.grid_voltage_v}
    market.must_balance()


def test_12_the_bus_stays_while_a_deal_starts():
    market = enabled()
    market.want("E001", "E002", 40.0, after_s=60.0)
    before = len(moves(market))
    began_ns = market.now_ns
    market.want("E004", "E003", 40.0, after_s=0.0)
    market.run_until(lambda: len(moves(market)) > before, 5.0)
    assert s_from_ns(market.now_ns - began_ns) >= 5.0
    market.must_balance()
