from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apis_core.converter.energy_ledger import EnergyLedger
from apis_core.model.errors import ProtocolMisuse
from apis_core.model.messages import ConverterReading
from apis_core.model.receipt import Receipt
from apis_core.model.types import ConverterMode, Direction
from apis_core.model.units import SECOND_NS

CHARGE, DISCHARGE = Direction.CHARGE, Direction.DISCHARGE


def counters(charged=0.0, discharged=0.0, battery_charged=0.0, battery_discharged=0.0):
    """A reading with these counters. [Wh]"""
    return ConverterReading(
        grid_charged_wh=charged,
        grid_discharged_wh=discharged,
        battery_charged_wh=battery_charged,
        battery_discharged_wh=battery_discharged,
    )


def moved(ledger, deal_id):
    receipt = ledger.receipt(deal_id)
    return receipt.grid_moved_wh, receipt.battery_moved_wh


@pytest.mark.parametrize(
    ("direction", "grid_wh", "battery_wh"), [(CHARGE, 10.0, 9.0), (DISCHARGE, 4.0, 5.0)]
)
def test_a_deal_gets_what_the_counters_of_its_direction_grew_by(direction, grid_wh, battery_wh):
    ledger = EnergyLedger()
    ledger.count(counters(100.0, 200.0, 90.0, 210.0))
    ledger.open("d", direction, 2.0)
    ledger.count(counters(110.0, 204.0, 99.0, 215.0))
    assert moved(ledger, "d") == (grid_wh, battery_wh)


def test_the_first_reading_is_where_counting_begins():
    ledger = EnergyLedger()
    ledger.open("d", CHARGE, 2.0)
    ledger.count(counters(1000.0, 0.0, 900.0))
    assert moved(ledger, "d") == (0.0, 0.0)


def test_deals_in_one_direction_share_by_their_currents():
    ledger = EnergyLedger()
    ledger.open("small", CHARGE, 0.5)
    ledger.open("large", CHARGE, 1.5)
    ledger.open("other way", DISCHARGE, 1.0)
    ledger.count(counters())
    ledger.count(counters(charged=8.0, battery_charged=4.0))
    assert moved(ledger, "small") == (2.0, 1.0)
    assert moved(ledger, "large") == (6.0, 3.0)
    assert moved(ledger, "other way") == (0.0, 0.0)


def test_a_changed_current_counts_from_then_on():
    ledger = EnergyLedger()
    ledger.open("a", CHARGE, 1.0)
    ledger.open("b", CHARGE, 1.0)
    ledger.count(counters())
    ledger.count(counters(charged=10.0))
    ledger.open("b", CHARGE, 3.0)
    ledger.count(counters(charged=18.0))
    assert moved(ledger, "a") == (5.0 + 2.0, 0.0)
    assert moved(ledger, "b") == (5.0 + 6.0, 0.0)


def test_polls_that_were_lost_lose_no_energy():
    ledger = EnergyLedger()
    ledger.open("d", DISCHARGE, 2.0)
    ledger.count(counters())
    ledger.count(ConverterReading())  # nothing could be read
    ledger.count(counters(discharged=30.0, battery_discharged=33.0))
    assert moved(ledger, "d") == (30.0, 33.0)


def test_a_counter_that_went_back_goes_on_from_there():
    ledger = EnergyLedger()
    ledger.open("d", CHARGE, 2.0)
    ledger.count(counters(charged=100.0, battery_charged=95.0))
    ledger.count(counters(charged=105.0, battery_charged=99.0))
    ledger.count(counters(charged=2.0, battery_charged=1.0))  # the driver was restarted
    ledger.count(counters(charged=3.0, battery_charged=1.5))
    assert moved(ledger, "d") == (5.0 + 1.0, 4.0 + 0.5)


def test_a_closed_deal_counts_no_more_and_leaves_its_share_to_the_others():
    ledger = EnergyLedger()
    ledger.open("a", CHARGE, 1.0)
    ledger.open("b", CHARGE, 1.0)
    ledger.count(counters())
    ledger.count(counters(charged=4.0, battery_charged=2.0))
    assert ledger.close("a", "was enough") == Receipt("a", 2.0, 1.0, "was enough")
    assert ledger.receipt("a") is None
    ledger.count(counters(charged=10.0, battery_charged=6.0))
    assert moved(ledger, "b") == (8.0, 5.0)


def test_an_unopened_deal_has_no_receipt_and_closes_with_nothing():
    ledger = EnergyLedger()
    assert ledger.receipt("d") is None
    assert ledger.close("d", "restarted") == Receipt("d", 0.0, 0.0, "restarted")


def test_a_receipt_is_a_copy():
    ledger = EnergyLedger()
    ledger.open("d", CHARGE, 2.0)
    before = ledger.receipt("d", "so far")
    ledger.count(counters())
    ledger.count(counters(charged=1.0))
    assert before == Receipt("d", 0.0, 0.0, "so far")


@pytest.mark.parametrize("current_a", [-1.0, float("nan")])
def test_a_share_needs_a_current(current_a):
    with pytest.raises(ProtocolMisuse, match="deal d: a share needs a current of at least 0 A"):
        EnergyLedger().open("d", Direction.CHARGE, current_a)


def test_a_frozen_account_keeps_what_it_has_and_gets_no_more():
    ledger = EnergyLedger()
    ledger.open("d", Direction.CHARGE, 1.0)
    ledger.open("e", Direction.CHARGE, 1.0)
    ledger.count(ConverterReading(grid_charged_wh=0.0, battery_charged_wh=0.0))
    ledger.count(ConverterReading(grid_charged_wh=2.0, battery_charged_wh=1.8))
    ledger.freeze("d")
    ledger.freeze("unheard of")
    ledger.count(ConverterReading(grid_charged_wh=5.0, battery_charged_wh=4.5))
    assert ledger.moved_wh("d") == 1.0
    assert ledger.moved_wh("e") == 4.0


@given(
    currents_a=st.lists(st.floats(0.1, 3.0), min_size=1, max_size=4),
    limits_wh=st.lists(st.none() | st.floats(0.0, 20.0), min_size=4, max_size=4),
    growths_wh=st.lists(st.floats(0.0, 10.0), min_size=1, max_size=10),
)
def test_w15_all_that_flows_is_booked_once_and_not_beyond_a_limit(
    currents_a, limits_wh, growths_wh
):
    ledger = EnergyLedger()
    for index, current_a in enumerate(currents_a):
        ledger.open(str(index), Direction.DISCHARGE, current_a)
        ledger.limit(str(index), limits_wh[index])
    total_wh = 0.0
    ledger.count(ConverterReading(grid_charged_wh=0.0, grid_discharged_wh=0.0))
    for growth_wh in growths_wh:
        total_wh += growth_wh
        ledger.count(ConverterReading(grid_charged_wh=0.0, grid_discharged_wh=total_wh))
    moved_wh = [ledger.moved_wh(str(index)) for index in range(len(currents_a))]
    assert sum(moved_wh) == pytest.approx(total_wh)
    over = [
        index
        for index, limit_wh in enumerate(limits_wh[: len(currents_a)])
        if limit_wh is not None and moved_wh[index] > limit_wh + 1e-6
    ]
    if over:  # only what nobody else can take
        assert all(
            limits_wh[index] is not None and moved_wh[index] >= limits_wh[index] - 1e-6
            for index in range(len(currents_a))
        )


def test_a_strangers_current_in_the_place_of_a_deal_that_has_ended_is_nobodys():
    def after(seconds, charged_wh):
        return ConverterReading(
            stamp_ns=seconds * SECOND_NS,
            mode=ConverterMode.VOLTAGE_REFERENCE,
            grid_voltage_v=360.0,
            grid_current_a=2.0,  # what both deals together should bring
            grid_charged_wh=charged_wh,
            battery_charged_wh=charged_wh,
        )

    ledger = EnergyLedger()
    ledger.open("ended", CHARGE, 1.0)
    ledger.open("goes on", CHARGE, 1.0)
    ledger.limit("ended", 1.0)
    ledger.count(after(0, 0.0))
    ledger.count(after(10, 2.0))
    assert moved(ledger, "ended") == (1.0, 1.0)

    for seconds in range(20, 110, 10):
        ledger.count(after(seconds, seconds / 5.0))

    assert moved(ledger, "ended") == (1.0, 1.0)
    assert moved(ledger, "goes on")[0] == pytest.approx(10.0, rel=0.1)  # 18.0 without this rule


def working(seconds, charged):
    """A reading of a converter that charges at 350 V, so long after the start. [s, Wh]"""
    return replace(
        counters(charged, battery_charged=0.9 * charged),
        stamp_ns=round(seconds * SECOND_NS),
        mode=ConverterMode.CHARGE,
        grid_voltage_v=350.0,
    )


def test_a_counter_that_jumps_is_told_and_moves_no_energy():
    ledger = EnergyLedger()
    ledger.open("d", CHARGE, 2.0)
    ledger.count(working(1, 100.0), 2.3)
    ledger.count(working(6, 101.0), 2.3)
    assert ledger.take_amiss() == ""
    ledger.count(working(11, 161.9), 2.3)
    assert "grid_charged_wh jumped from 101.00 to 161.90 Wh within 5.0 s" in ledger.take_amiss()
    assert ledger.take_amiss() == ""  # once
    ledger.count(working(16, 162.8), 2.3)
    assert moved(ledger, "d") == pytest.approx((1.9, 1.71))


def test_a_counter_that_goes_back_at_work_is_told_and_one_of_a_new_driver_is_not():
    ledger = EnergyLedger()
    ledger.count(working(1, 100.0), 2.3)
    ledger.count(working(6, 99.0), 2.3)
    assert ledger.take_amiss() == "grid_charged_wh went back from 100.00 to 99.00 Wh"
    ledger.count(replace(working(11, 0.0), mode=ConverterMode.WAIT), 2.3)
    assert ledger.take_amiss() == ""


@pytest.mark.parametrize("seconds", [5, 30, 59])
def test_a_late_reading_at_full_current_is_plausible(seconds):
    ledger = EnergyLedger()
    ledger.count(working(1, 0.0), 2.3)
    ledger.count(working(1 + seconds, 2.3 * 350.0 * seconds / 3600.0), 2.3)
    assert ledger.take_amiss() == ""


def test_under_a_fast_clock_readings_may_be_minutes_apart():
    """At 600 times the pace two readings lie easily a hundred seconds apart."""
    slow, fast = EnergyLedger(), EnergyLedger()
    for ledger, longest_ns in ((slow, 60 * SECOND_NS), (fast, 2_400 * SECOND_NS)):
        ledger.count(working(1, 0.0), 2.3, longest_ns)
        ledger.count(working(101, 2.3 * 350.0 * 100.0 / 3600.0), 2.3, longest_ns)
    assert "jumped from 0.00 to 22.36 Wh" in slow.take_amiss()
    assert fast.take_amiss() == ""
