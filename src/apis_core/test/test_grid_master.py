"""The grid master's office: submissions, statuses, faults and time in, effects out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from office import NOW_NS, RUN, Office, Op, S, deal, fault, status

from apis_core.deal import Phase
from apis_core.messages import IS_STOPPING, ControlReply, ConverterReading
from apis_core.types import (
    ControlError,
    ConverterMode,
    DealState,
    FaultExtent,
    FaultLevel,
    OperationMode,
    SubmitError,
)
from apis_core.units import NEVER_NS


@pytest.fixture
def office(policy) -> Office:
    return Office(policy)


@pytest.mark.parametrize(
    ("submitted", "mode", "error", "message"),
    [
        (deal(giver="E009"), RUN, SubmitError.INVALID, "E009 is not a member"),
        (deal(taker=""), RUN, SubmitError.INVALID, "an unnamed unit is not a member"),
        (deal(taker="E001"), RUN, SubmitError.INVALID, "requester and accepter must be"),
        (deal(request_unit_id="E003"), RUN, SubmitError.INVALID, "requester and accepter must"),
        (deal(deal_id=""), RUN, SubmitError.INVALID, "deal_id is missing"),
        (deal(energy_wh=0.0), RUN, SubmitError.INVALID, "energy_wh is 0, must be above 0 and at"),
        (
            deal(energy_wh=float("nan")),
            RUN,
            SubmitError.INVALID,
            "energy_wh is nan, must be above",
        ),
        (
            deal(energy_wh=float("inf")),
            RUN,
            SubmitError.INVALID,
            "energy_wh is inf, must be above",
        ),
        (
            deal(energy_wh=1e18),
            RUN,
            SubmitError.INVALID,
            "energy_wh is 1e+18, must be above 0 and",
        ),
        (
            deal(current_a=-1.0),
            RUN,
            SubmitError.INVALID,
            "current_a is -1, must be above 0 and at",
        ),
        (deal(current_a=1e6), RUN, SubmitError.INVALID, "current_a is 1e+06, must be above 0 and"),
        (
            deal(price_point_per_wh=float("inf")),
            RUN,
            SubmitError.INVALID,
            "price_point_per_wh is inf, must be from",
        ),
        (deal(), OperationMode.FORCE_STOP, SubmitError.NOT_DEALING, "the cluster is in force st"),
        (deal(), OperationMode.MANUAL, SubmitError.NOT_DEALING, "the cluster is in manual"),
        (deal(current_a=101.0), RUN, SubmitError.CURRENT_LIMIT, "the bus carries at most 100 A"),
    ],
)
def test_w33_a_deal_is_checked_before_it_is_taken(office, submitted, mode, error, message):
    reply = office.submit(submitted, mode)
    assert reply.error is error
    assert reply.message.startswith(message)
    assert office.calls == []


def test_without_a_limit_of_the_bus_any_current_is_taken(policy):
    office = Office(replace(policy, total_deal_current_max_a=None))
    assert office.submit(deal(current_a=101.0)) is None  # on its way


def test_5_3_a_deal_is_answered_when_both_units_have_locked_a_slot(office):
    assert office.submit(deal()) is None
    office.answer_all()
    assert "c" not in office.replies
    office.answer_all()
    assert office.replies["c"].error is SubmitError.NONE
    assert [record.state for record in office.published["d"]] == [
        DealState.QUEUED,
        DealState.ACTIVATING,
    ]
    assert {record.term for record in office.published["d"]} == {7}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ControlError.NO_SLOT, SubmitError.UNIT_REFUSED),
        (ControlError.NO_ANSWER, SubmitError.TIMEOUT),
    ],
)
def test_5_4_a_unit_that_gives_no_slot_is_told_to_the_submitter_and_nobody_else(
    office, error, expected
):
    office.submit(deal())
    office.answer_all(error=error, message="no")
    office.end()
    assert office.replies["c"].error is expected
    assert office.replies["c"].message == "E001: no"
    assert office.published == {}
    assert office.master.can_hand_off


def test_a_deal_that_is_sent_twice_is_taken_once(office):
    office.locked(deal())
    calls = list(office.calls)
    assert office.submit(deal(), call_id="again").error is SubmitError.NONE
    assert office.calls == calls


def test_while_the_bus_comes_up_for_one_deal_the_next_one_waits(office):
    office.locked(deal())
    office.locked(deal("e", "E004", "E003"))
    assert office.state("e") is DealState.QUEUED
    office.take(office.master.hear_status(status("E001", effective=OperationMode.MANUAL), NOW_NS))
    while office.state("d") is not DealState.ABORTED:
        office.answer_all()
    assert office.published["d"][-1].reason == "E001: is in manual"
    assert DealState.ACTIVATING in [record.state for record in office.published["e"]]


def test_7_1_a_unit_that_asks_for_the_end_of_a_deal_gets_it(office):
    office.locked(deal())
    asks = replace(status("E002"), ending_deal_ids=("d",), ending_reason="too warm")
    office.take(office.master.hear_status(asks, office.now_ns))
    assert office.published["d"][-1].reason == "E002: too warm"


def test_10_2_a_deal_that_the_bus_cannot_carry_beside_the_others_waits(policy):
    office = Office(replace(policy, total_deal_current_max_a=3.0))
    assert office.submit(deal("big", current_a=3.5)).error is SubmitError.CURRENT_LIMIT
    office.locked(deal())
    office.locked(deal("e", "E004", "E003"))
    machines = office.master._machines
    machines["d"].phase = Phase.RUNNING
    assert office.master._first_that_fits() is None
    machines["d"].phase = Phase.LEAVING
    assert office.master._first_that_fits() is machines["e"]


@pytest.mark.parametrize(
    ("told", "ended", "blocks"),
    [
        (fault("E001"), ["d"], False),
        (fault("E004"), ["e"], False),
        (fault("E001", level=FaultLevel.WARN), [], False),
        (fault("E001", FaultExtent.GLOBAL), ["d", "e"], True),
        (fault("E009", FaultExtent.UNKNOWN), ["d", "e"], True),
    ],
)
def test_11_3_which_deals_a_fault_ends(office, told, ended, blocks):
    office.locked(deal())
    office.locked(deal("e", "E004", "E003"))
    office.take(office.master.hear_fault(told, office.now_ns))
    by_fault = [key for key, all_ in office.published.items() if "trip:" in all_[-1].reason]
    assert by_fault == ended
    reply = office.submit(deal("f"), call_id="f")
    assert (reply is not None and reply.error is SubmitError.NOT_DEALING) is blocks
    office.calls.clear()
    office.now_ns += 10**6 * S
    assert office.submit(deal("g"), call_id="g") is None


def test_a_global_fault_is_a_scram(office):
    office.locked(deal())
    office.take(office.master.hear_fault(fault("E001", FaultExtent.GLOBAL), office.now_ns))
    office.end()
    assert office.state() is DealState.SCRAMMED


def test_w32_all_deals_can_be_ended_orderly(office):
    office.locked(deal())
    office.locked(deal("e", "E004", "E003"))
    office.take(office.master.step_down("E003 is stopping", office.now_ns))
    office.end()
    assert {office.state("d"), office.state("e")} == {DealState.ABORTED}
    assert office.master.can_hand_off


@pytest.mark.parametrize(
    ("who_stops", "booked"), [("", ["E001"]), ("E001", []), ("E002", ["E001"]), ("E003", [])]
)
def test_11_2_a_unit_that_has_left_in_order_owes_no_answer(office, who_stops, booked):
    """Who has said that it is stopping may be gone; so may all others when the grid stops."""
    office.locked(deal())
    if who_stops == "E003":
        office.take(office.master.step_down("E003 is stopping", office.now_ns))
    elif who_stops:
        stops = replace(
            status(who_stops),
            not_dealing_reason=IS_STOPPING,
            ending_deal_ids=("d",),
            ending_reason="the process is stopping",
        )
        office.take(office.master.hear_status(stops, office.now_ns))
    else:
        office.take(office.master.hear_fault(fault("E002"), office.now_ns))
    while not office.state().is_over:
        for call in office.calls:
            if call.to == "E001" and call.request.operation is Op.RELEASE:
                office.calls.remove(call)
                office.take(office.master.answered(call.call_id, None, office.now_ns))
                break
        else:
            office.answer_all()
    assert [raised.unit_id for raised in office.raised] == booked


@pytest.mark.parametrize("reason", ["did not become free", "did not reach its voltage"])
def test_11_4_a_bus_that_does_not_start_is_a_fault_of_all(office, reason):
    office.locked(deal())
    refuses = reason == "did not become free"
    while not office.raised:
        if not office.calls:
            office.now_ns = max(office.now_ns, office.master.wake_ns)
            office.take(office.master.tick(office.now_ns))
        calls, office.calls = office.calls, []
        for call in calls:
            is_start = call.request.operation is Op.VOLTAGE_REFERENCE
            error = ControlError.BUS_ENERGISED if is_start and refuses else ControlError.NONE
            mode = ConverterMode.VOLTAGE_REFERENCE if call.to == "E002" else ConverterMode.WAIT
            reading = ConverterReading(mode=mode, grid_voltage_v=200.0)
            answer = ControlReply(error=error, reading=reading)
            office.take(office.master.answered(call.call_id, answer, office.now_ns))
        assert office.now_ns < NOW_NS + 1_000 * S
    (raised,) = office.raised
    assert (raised.extent, raised.unit_id, raised.deal_id) == (FaultExtent.GLOBAL, "E002", "d")
    assert reason in raised.message


def test_9_6_a_unit_that_turned_off_is_looked_at_at_once(office):
    office.locked(deal())
    machine = office.master._machines["d"]
    machine.start("E002", office.now_ns)
    machine._orders._pending.clear()
    office.calls.clear()
    discharge = ConverterMode.DISCHARGE
    office.take(office.master.hear_status(status("E001", discharge), office.now_ns))
    assert office.calls == []  # the first word of a unit is no change
    office.take(office.master.hear_status(status("E001"), office.now_ns))
    assert "E001" in [call.to for call in office.calls]
    office.calls.clear()
    office.take(office.master.hear_status(status("E004"), office.now_ns))
    assert office.calls == []  # has no part in it


# --- what an older grid master left --------------------------------------------------------------


def test_leftovers_are_released_and_not_asked_again_at_once(office):
    left = status("E001", ConverterMode.DISCHARGE, ["old"])
    (call,) = office.take(office.master.hear_status(left, office.now_ns))
    assert (call.to, call.request.operation) == ("E001", Op.RELEASE)
    assert (call.request.deal_id, call.request.term) == ("old", 7)
    assert office.master.hear_status(left, office.now_ns + 1) == []
    assert office.master.answered(call.call_id, ControlReply(), office.now_ns) == []
    assert len(office.master.hear_status(left, office.now_ns + 60 * S)) == 1


def test_a_left_over_reference_waits_for_the_currents(office):
    office.take(
        office.master.hear_status(status("E001", ConverterMode.DISCHARGE, ["old"]), NOW_NS)
    )
    reference = status("E002", ConverterMode.VOLTAGE_REFERENCE, ["old"])
    assert office.master.hear_status(reference, NOW_NS) == []
    office.take(office.master.hear_status(status("E001"), NOW_NS))
    (call,) = office.master.hear_status(reference, NOW_NS)
    assert call.to == "E002"


def test_our_own_deals_are_no_leftovers(office):
    office.locked(deal())
    office.calls.clear()
    assert office.master.hear_status(status("E001", deal_ids=["d"]), office.now_ns) == []


def test_w5_inherited_deals_are_closed_once_no_unit_has_them(policy):
    old = deal("old", state=DealState.RUNNING, term=6, sequence=9, grid_master_id="E004")
    over = deal("over", state=DealState.COMPLETED, term=6)
    office = Office(policy, [old, over])
    assert NOW_NS < office.master.wake_ns < NEVER_NS
    assert office.master.tick(NOW_NS) == []
    office.take(office.master.hear_status(status("E001", deal_ids=["old"]), NOW_NS))
    office.take(office.master.hear_status(status("E002"), NOW_NS))
    assert office.published == {}
    office.take(office.master.hear_status(status("E001"), NOW_NS))
    assert office.published == {}
    while not office.published:
        office.wait()
    (closed,) = office.published["old"]
    assert (closed.state, closed.term, closed.sequence) == (DealState.ABORTED, 7, 1)
    assert closed.reason == "its grid master E004 was lost"
    assert office.master.wake_ns == NEVER_NS


def test_w5_how_an_inherited_deal_ended_may_be_under_way(policy):
    """Its master was cut off when it said so; no other word follows that one."""
    old = deal("old", state=DealState.RUNNING, term=6, sequence=9, grid_master_id="E004")
    office = Office(policy, [old])
    for unit_id in ("E001", "E002"):
        office.take(office.master.hear_status(status(unit_id), office.now_ns))
    assert office.published == {}
    office.master.hear_deal(replace(old, state=DealState.COMPLETED, sequence=10))
    assert office.master.wake_ns == NEVER_NS
    office.now_ns += 3600 * S
    assert office.master.tick(office.now_ns) == []


def test_w5_a_deal_of_an_older_grid_master_that_is_heard_of_late_is_closed_too(policy):
    """Found by partition seed 7: the record had been held up, and nobody ever closed it."""
    office = Office(policy)
    assert office.master.wake_ns == NEVER_NS
    old = deal("old", state=DealState.QUEUED, term=6, sequence=1, grid_master_id="E004")
    office.master.hear_deal(old)
    for unit_id in ("E001", "E002"):
        office.take(office.master.hear_status(status(unit_id), office.now_ns))
    while not office.published:
        office.wait()
    assert office.state("old") is DealState.ABORTED
    office.master.hear_deal(replace(old, sequence=2))  # and a later word does not revive it
    assert office.master.wake_ns == NEVER_NS


def test_w5_what_we_have_closed_in_this_term_is_not_closed_again(policy):
    """Found by seed 164: the office is opened anew when another policy holds."""
    old = deal("old", state=DealState.QUEUED, term=6, sequence=1, grid_master_id="E004")
    office = Office(policy, [old])
    office.master.hear_deal(replace(old, state=DealState.ABORTED, term=7, sequence=1))
    assert office.master.wake_ns == NEVER_NS


def test_w5_inherited_deals_of_silent_units_are_closed_in_the_end(policy):
    office = Office(policy, [deal("old", state=DealState.RUNNING)])
    office.take(office.master.hear_status(status("E001", deal_ids=["old"]), NOW_NS))
    for _ in range(100):
        office.wait()
    assert office.published == {}  # E001 still says that it has it
    office.take(office.master.hear_status(status("E001"), office.now_ns))
    office.wait()
    assert office.state("old") is DealState.ABORTED
