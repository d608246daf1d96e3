import math

import pytest

from apis_core.errors import ProtocolMisuse
from apis_core.ledger import Ledger, Receipt
from apis_core.messages import ConverterReading
from apis_core.types import DealType

CHARGE, DISCHARGE = DealType.CHARGE, DealType.DISCHARGE


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
    ("type_", "grid_wh", "battery_wh"), [(CHARGE, 10.0, 9.0), (DISCHARGE, 4.0, 5.0)]
)
def test_a_deal_gets_what_the_counters_of_its_direction_grew_by(type_, grid_wh, battery_wh):
    ledger = Ledger()
    ledger.count(counters(100.0, 200.0, 90.0, 210.0))
    ledger.open("d", type_, 2.0)
    ledger.count(counters(110.0, 204.0, 99.0, 215.0))
    assert moved(ledger, "d") == (grid_wh, battery_wh)


def test_the_first_reading_is_where_counting_begins():
    ledger = Ledger()
    ledger.open("d", CHARGE, 2.0)
    ledger.count(counters(1000.0, 0.0, 900.0))
    assert moved(ledger, "d") == (0.0, 0.0)


def test_deals_in_one_direction_share_by_their_currents():
    ledger = Ledger()
    ledger.open("small", CHARGE, 0.5)
    ledger.open("large", CHARGE, 1.5)
    ledger.open("other way", DISCHARGE, 1.0)
    ledger.count(counters())
    ledger.count(counters(charged=8.0, battery_charged=4.0))
    assert moved(ledger, "small") == (2.0, 1.0)
    assert moved(ledger, "large") == (6.0, 3.0)
    assert moved(ledger, "other way") == (0.0, 0.0)


def test_a_changed_current_counts_from_then_on():
    ledger = Ledger()
    ledger.open("a", CHARGE, 1.0)
    ledger.open("b", CHARGE, 1.0)
    ledger.count(counters())
    ledger.count(counters(charged=10.0))
    ledger.open("b", CHARGE, 3.0)
    ledger.count(counters(charged=18.0))
    assert moved(ledger, "a") == (5.0 + 2.0, 0.0)
    assert moved(ledger, "b") == (5.0 + 6.0, 0.0)


def test_polls_that_were_lost_lose_no_energy():
    ledger = Ledger()
    ledger.open("d", DISCHARGE, 2.0)
    ledger.count(counters())
    ledger.count(ConverterReading())  # nothing could be read
    ledger.count(counters(discharged=30.0, battery_discharged=33.0))
    assert moved(ledger, "d") == (30.0, 33.0)


def test_a_counter_that_went_back_counts_from_zero():
    ledger = Ledger()
    ledger.open("d", CHARGE, 2.0)
    ledger.count(counters(charged=100.0, battery_charged=95.0))
    ledger.count(counters(charged=105.0, battery_charged=99.0))
    ledger.count(counters(charged=2.0, battery_charged=1.0))  # the driver was restarted
    ledger.count(counters(charged=3.0, battery_charged=1.5))
    assert moved(ledger, "d") == (5.0 + 2.0 + 1.0, 4.0 + 1.0 + 0.5)


def test_a_closed_deal_counts_no_more_and_leaves_its_share_to_the_others():
    ledger = Ledger()
    ledger.open("a", CHARGE, 1.0)
    ledger.open("b", CHARGE, 1.0)
    ledger.count(counters())
    ledger.count(counters(charged=4.0, battery_charged=2.0))
    assert ledger.close("a", "was enough") == Receipt("a", 2.0, 1.0, "was enough")
    assert ledger.receipt("a") is None
    ledger.count(counters(charged=10.0, battery_charged=6.0))
    assert moved(ledger, "b") == (8.0, 5.0)


def test_an_unopened_deal_has_no_receipt_and_closes_with_nothing():
    ledger = Ledger()
    assert ledger.receipt("d") is None
    assert ledger.close("d", "restarted") == Receipt("d", 0.0, 0.0, "restarted")


def test_a_receipt_is_a_copy():
    ledger = Ledger()
    ledger.open("d", CHARGE, 2.0)
    before = ledger.receipt("d", "so far")
    ledger.count(counters())
    ledger.count(counters(charged=1.0))
    assert before == Receipt("d", 0.0, 0.0, "so far")


@pytest.mark.parametrize("current_a", [0.0, -0.0, -1.0, math.nan])
def test_a_share_needs_a_current(current_a):
    with pytest.raises(ProtocolMisuse, match="deal d: a share needs a current above 0 A"):
        Ledger().open("d", CHARGE, current_a)
