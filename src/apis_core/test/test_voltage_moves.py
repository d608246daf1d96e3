"""The bus moves to where the converters lose least, in the cluster (the protocol, 12)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from deal_bench import DealBench

from apis_core.model.messages import ConverterOperation
from apis_core.model.units import s_from_ns

# the cluster's batteries are at 52 V, its converters like 6.5 times that
BEST_V = 6.5 * 52.0


def moves(bench: DealBench) -> list[float]:
    """Voltages that references were told, once the bus was up."""
    return [
        order.grid_voltage_v
        for _, order in bench.orders
        if order.operation is ConverterOperation.VOLTAGE and order.grid_voltage_v is not None
    ]


def enabled() -> DealBench:
    return DealBench(voltage_optimization_enabled=True, authorization_trials=0)


def test_12_the_bus_moves_once_and_the_deals_go_on():
    bench = enabled()
    bench.want("E001", "E002", 40.0, after_s=60.0)
    assert moves(bench)[-1] == pytest.approx(BEST_V)
    assert bench.bus_v == pytest.approx(BEST_V)
    count = len(moves(bench))
    bench.must_balance()
    assert len(moves(bench)) == count  # not again for the same deals


def test_12_the_voltage_is_chosen_anew_when_other_deals_flow():
    bench = enabled()
    bench.want("E001", "E002", 40.0, after_s=60.0)
    plant = bench.plants["E004"]
    plant.reading = replace(plant.reading, battery_voltage_v=54.0)
    bench.want("E004", "E003", 40.0, after_s=60.0)
    assert BEST_V < moves(bench)[-1] < 6.5 * 54.0
    bench.must_balance()


def test_12_nothing_moves_unless_the_policy_wants_it():
    bench = DealBench(authorization_trials=0)
    bench.want("E001", "E002", 20.0, after_s=60.0)
    assert set(moves(bench)) == {bench.policy.grid_voltage_v}
    bench.must_balance()


def test_12_the_bus_stays_while_a_deal_starts():
    bench = enabled()
    bench.want("E001", "E002", 40.0, after_s=60.0)
    before = len(moves(bench))
    began_ns = bench.now_ns
    bench.want("E004", "E003", 40.0, after_s=0.0)
    bench.run_until(lambda: len(moves(bench)) > before, 5.0)
    assert s_from_ns(bench.now_ns - began_ns) >= 5.0
    bench.must_balance()
