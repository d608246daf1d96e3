from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apis_core.converter.energy_ledger import EnergyLedger
from apis_core.model.messages import ConverterReading
from apis_core.model.types import Direction

growth = st.floats(0.0, 1e3)
currents = st.floats(0.01, 10.0)
deals = st.dictionaries(
    st.text(min_size=1, max_size=3),
    st.tuples(st.sampled_from(Direction), currents),
    min_size=1,
    max_size=5,
)


def readings_of(steps: list[tuple[float, float]]) -> list[ConverterReading]:
    """Readings whose counters begin at 0 and grow by these amounts (charged, discharged)."""
    charged = accumulate((step[0] for step in steps), initial=0.0)
    discharged = accumulate((step[1] for step in steps), initial=0.0)
    return [
        ConverterReading(
            grid_charged_wh=c,
            grid_discharged_wh=d,
            battery_charged_wh=0.9 * c,
            battery_discharged_wh=1.1 * d,
        )
        for c, d in zip(charged, discharged, strict=True)
    ]


def counted(open_deals: dict[str, tuple[Direction, float]], readings: list[ConverterReading]):
    ledger = EnergyLedger()
    for deal_id, (direction, current_a) in open_deals.items():
        ledger.open(deal_id, direction, current_a)
    for reading in readings:
        ledger.count(reading)
    return {deal_id: ledger.receipt(deal_id) for deal_id in open_deals}


@given(deals, st.lists(st.tuples(growth, growth), min_size=1, max_size=10))
def test_the_shares_of_a_direction_add_up_to_what_its_counter_grew_by(open_deals, steps):
    readings = readings_of(steps)
    receipts = counted(open_deals, readings)
    for direction, total_wh in (
        (Direction.CHARGE, readings[-1].grid_charged_wh),
        (Direction.DISCHARGE, readings[-1].grid_discharged_wh),
    ):
        shares = [
            receipts[key].grid_moved_wh for key in receipts if open_deals[key][0] is direction
        ]
        assert all(share >= 0.0 for share in shares)
        if shares:
            assert sum(shares) == pytest.approx(total_wh, abs=1e-6)


@given(deals, st.lists(st.tuples(growth, growth), min_size=2, max_size=10), st.data())
def test_it_does_not_matter_which_polls_arrived(open_deals, steps, data):
    readings = readings_of(steps)
    arrived = [r for r in readings[1:-1] if data.draw(st.booleans())]
    some = counted(open_deals, [readings[0], *arrived, readings[-1]])
    for deal_id, receipt in counted(open_deals, readings).items():
        assert some[deal_id].grid_moved_wh == pytest.approx(receipt.grid_moved_wh, abs=1e-6)
        assert some[deal_id].battery_moved_wh == pytest.approx(receipt.battery_moved_wh, abs=1e-6)


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=10))
def test_what_was_moved_never_decreases_whatever_the_counter_does(values):
    ledger = EnergyLedger()
    ledger.open("d", Direction.CHARGE, 1.0)
    before_wh = 0.0
    for value in values:
        ledger.count(ConverterReading(grid_charged_wh=value))
        receipt = ledger.receipt("d")
        assert receipt is not None
        assert receipt.grid_moved_wh >= before_wh
        before_wh = receipt.grid_moved_wh
