"""Several deals on a network that loses words, among units that come and go; from a seed."""

from __future__ import annotations

import pytest
from deal_bench import CAPACITY_A, DealBench

from apis_core.model.types import ConverterMode, DealState

UNITS = {"E001": 0.9, "E002": 0.5, "E003": 0.5, "E004": 0.9, "E005": 0.7, "E006": 0.6}
GIVERS, TAKERS = ("E001", "E004", "E005"), ("E002", "E003", "E006")


def wants_some(bench: DealBench, count: int) -> None:
    for _ in range(count):
        giver, taker = bench.random.choice(GIVERS), bench.random.choice(TAKERS)
        energy_wh = bench.random.uniform(5.0, 25.0)
        bench.want(giver, taker, energy_wh, after_s=bench.random.uniform(0.0, 60.0))


@pytest.mark.parametrize("seed", range(4))
def test_7_whatever_comes_together_gets_what_was_agreed(seed):
    bench = DealBench(UNITS, seed=seed, large_capacity_unit_ids=("E005",) * (seed % 2))
    wants_some(bench, 10)
    # each deal that starts takes up to 2 A s from a reference before its giver gives
    bench.must_balance(stray_wh=0.2 * (len(bench.deals) - 1))
    assert len(bench.deals) >= 4  # for the rest there was no slot


@pytest.mark.parametrize("seed", range(4))
def test_7_on_a_bad_network_deals_end_and_nothing_stays_on(seed):
    bench = DealBench(UNITS, seed=seed)
    random = bench.random
    bench.lost = lambda _sender, _to: random.random() < 0.1
    wants_some(bench, 10)
    bench.lost = lambda _sender, _to: False
    for deal in bench.finish().values():
        assert deal.state is not DealState.COMPLETED or deal.moved_wh >= 0.999 * deal.energy_wh
        assert deal.state is DealState.COMPLETED or deal.reason
        assert deal.moved_wh <= 1.02 * deal.energy_wh
    assert bench.worst_reference_a <= CAPACITY_A + 2.0  # beside a side that has just died


@pytest.mark.parametrize("seed", range(4))
def test_w1_units_that_come_and_go_leave_nothing_on_and_no_slot_held(seed):
    bench = DealBench(UNITS, seed=seed)
    for _ in range(8):
        wants_some(bench, 2)
        unit_id = bench.random.choice(list(UNITS))
        if unit_id in bench.agents:
            bench.kill(unit_id)
        else:
            bench.start(unit_id)
    for unit_id in UNITS:
        if unit_id not in bench.agents:
            bench.start(unit_id)
    bench.run_for(120.0)
    bench.finish()
    again = bench.want("E001", "E002", 10.0)  # and the next one goes as if nothing had been
    assert bench.finish()[again].state is DealState.COMPLETED
    assert bench.modes() == {ConverterMode.WAIT}
