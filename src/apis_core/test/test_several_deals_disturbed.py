"""Several deals on a network that loses words, among units that come and go; from a seed."""

from __future__ import annotations

import pytest
from market import CAPACITY_A, Market

from apis_core.types import ConverterMode, DealState

UNITS = {"E001": 0.9, "E002": 0.5, "E003": 0.5, "E004": 0.9, "E005": 0.7, "E006": 0.6}
GIVERS, TAKERS = ("E001", "E004", "E005"), ("E002", "E003", "E006")


def wants_some(market: Market, count: int) -> None:
    for _ in range(count):
        giver, taker = market.random.choice(GIVERS), market.random.choice(TAKERS)
        energy_wh = market.random.uniform(5.0, 25.0)
        market.want(giver, taker, energy_wh, after_s=market.random.uniform(0.0, 60.0))


@pytest.mark.parametrize("seed", range(4))
def test_7_whatever_comes_together_gets_what_was_agreed(seed):
    market = Market(UNITS, seed=seed, large_capacity_unit_ids=("E005",) * (seed % 2))
    wants_some(market, 10)
    # each deal that starts takes up to 2 A s from a reference before its giver gives
    market.must_balance(stray_wh=0.2 * (len(market.deals) - 1))
    assert len(market.deals) >= 4  # for the rest there was no slot


@pytest.mark.parametrize("seed", range(4))
def test_7_on_a_bad_network_deals_end_and_nothing_stays_on(seed):
    market = Market(UNITS, seed=seed)
    random = market.random
    market.lost = lambda _sender, _to: random.random() < 0.1
    wants_some(market, 10)
    market.lost = lambda _sender, _to: False
    for deal in market.finish().values():
        assert deal.state is not DealState.COMPLETED or deal.moved_wh >= 0.999 * deal.energy_wh
        assert deal.state is DealState.COMPLETED or deal.reason
        assert deal.moved_wh <= 1.02 * deal.energy_wh
    assert market.worst_reference_a <= CAPACITY_A + 2.0  # beside a side that has just died


@pytest.mark.parametrize("seed", range(4))
def test_w1_units_that_come_and_go_leave_nothing_on_and_no_slot_held(seed):
    market = Market(UNITS, seed=seed)
    for _ in range(8):
        wants_some(market, 2)
        unit_id = market.random.choice(list(UNITS))
        if unit_id in market.agents:
            market.kill(unit_id)
        else:
            market.start(unit_id)
    for unit_id in UNITS:
        if unit_id not in market.agents:
            market.start(unit_id)
    market.run_for(120.0)
    market.finish()
    again = market.want("E001", "E002", 10.0)  # and the next one goes as if nothing had been
    assert market.finish()[again].state is DealState.COMPLETED
    assert market.modes() == {ConverterMode.WAIT}
