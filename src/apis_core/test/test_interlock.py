import pytest

from apis_core.model.messages import Deal
from apis_core.model.types import ControlError, Direction
from apis_core.model.units import NEVER_NS
from apis_core.trading.interlock import Interlock, Slot

CHARGE, DISCHARGE = Direction.CHARGE, Direction.DISCHARGE
DONE = (ControlError.NONE, "")


def deal(deal_id="d", energy_wh=50.0):
    return Deal(
        deal_id=deal_id,
        request_unit_id="E001",
        accept_unit_id="E002",
        discharge_unit_id="E002",
        charge_unit_id="E001",
        energy_wh=energy_wh,
        current_a=1.0,
    )


def test_an_empty_interlock():
    lock = Interlock(2)
    assert lock.wake_ns == NEVER_NS
    assert lock.deals == ()
    assert lock.committed_wh == 0.0
    assert lock.why_not(CHARGE) == ""
    assert lock.held("d") is None
    assert lock.release("d") is None
    assert lock.expired(NEVER_NS) == []


def test_5_4_no_slot_is_left_when_the_set_is_full():
    lock = Interlock(2)
    assert lock.reserve("a", CHARGE, 50.0, 10) == ""
    assert lock.acquire(deal("b"), CHARGE, 10) == DONE
    assert lock.reserve("c", CHARGE, 50.0, 10) == "all 2 slots are taken"
    assert lock.acquire(deal("c"), CHARGE, 10) == (ControlError.NO_SLOT, "all 2 slots are taken")
    assert lock.release("a") == Slot(CHARGE, 50.0, 10)
    assert lock.acquire(deal("c"), CHARGE, 10) == DONE


def test_5_4_a_unit_that_can_carry_no_deal_has_no_slot():
    lock = Interlock(0)
    assert lock.reserve("a", CHARGE, 50.0, 10) == "all 0 slots are taken"
    assert lock.acquire(deal("a"), CHARGE, 10)[0] is ControlError.NO_SLOT


@pytest.mark.parametrize("first", ["reserve", "acquire"])
def test_a_unit_deals_in_one_direction_at_a_time(first):
    lock = Interlock(5)
    if first == "reserve":
        lock.reserve("a", CHARGE, 50.0, 10)
    else:
        lock.acquire(deal("a"), CHARGE, 10)
    reason = "has a deal or a reservation to charge"
    assert lock.why_not(DISCHARGE) == reason
    assert lock.reserve("b", DISCHARGE, 50.0, 10) == reason
    assert lock.acquire(deal("b"), DISCHARGE, 10) == (ControlError.OTHER_DIRECTION, reason)
    assert lock.why_not(CHARGE) == ""


def test_a_refusal_changes_nothing():
    lock = Interlock(1)
    lock.reserve("a", CHARGE, 50.0, 10)
    lock.reserve("b", CHARGE, 60.0, 5)
    lock.acquire(deal("c"), DISCHARGE, 5)
    assert lock.committed_wh == 50.0
    assert lock.wake_ns == 10
    assert lock.release("b") is None
    assert lock.release("c") is None


def test_a_reservation_becomes_the_slot_of_its_deal_even_when_all_are_taken():
    lock = Interlock(1)
    lock.reserve("d", CHARGE, 80.0, 10)
    assert lock.held("d") is None  # a reservation holds nothing
    assert lock.deals == ()
    assert lock.acquire(deal("d", 50.0), CHARGE, 20) == DONE
    assert lock.held("d") == Slot(CHARGE, 50.0, 20, deal("d", 50.0))
    assert lock.wake_ns == 20
    assert lock.committed_wh == 50.0


def test_a_reservation_turns_round_if_nothing_else_is_under_way():
    lock = Interlock(1)
    lock.reserve("d", CHARGE, 80.0, 10)
    assert lock.acquire(deal("d"), DISCHARGE, 20) == DONE
    assert lock.committed_wh == -50.0


def test_acquiring_twice_renews_the_slot():
    lock = Interlock(1)
    assert lock.acquire(deal(), CHARGE, 10) == DONE
    assert lock.acquire(deal(), CHARGE, 30) == DONE
    assert lock.deals == (deal(),)
    assert lock.wake_ns == 30


def test_deals_stand_in_the_order_in_which_they_took_their_slots():
    lock = Interlock(3)
    lock.acquire(deal("z"), CHARGE, 1)
    lock.reserve("m", CHARGE, 50.0, 1)
    lock.acquire(deal("a"), CHARGE, 1)
    assert [held.deal_id for held in lock.deals] == ["z", "a"]


@pytest.mark.parametrize(("direction", "expected_wh"), [(CHARGE, 75.0), (DISCHARGE, -75.0)])
def test_committed_energy_counts_reservations_and_deals(direction, expected_wh):
    lock = Interlock(2)
    lock.reserve("a", direction, 25.0, 10)
    lock.acquire(deal("b", 50.0), direction, 10)
    assert lock.committed_wh == expected_wh


@pytest.mark.parametrize(
    ("now_ns", "expected"), [(9, []), (10, ["a"]), (29, ["a"]), (30, ["a", "b"])]
)
def test_what_is_not_renewed_falls_back_at_its_time(now_ns, expected):
    lock = Interlock(3)
    lock.reserve("a", CHARGE, 50.0, 10)
    lock.acquire(deal("b"), CHARGE, 30)
    lock.acquire(deal("c"), CHARGE, NEVER_NS)
    assert lock.wake_ns == 10
    assert lock.expired(now_ns) == expected
    assert len(lock.deals) == 2  # the caller releases


def test_a_request_heard_twice_does_not_turn_its_deal_into_a_reservation():
    interlock = Interlock(2)
    interlock.acquire(deal("d"), Direction.CHARGE, 100)
    assert interlock.reserve("d", Direction.CHARGE, 10.0, 50) == "has heard this request before"
    assert interlock.held("d") is not None
