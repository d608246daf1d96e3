"""The grid master: submissions, statuses, faults and time in, effects out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from grid_master_bench import NOW_NS, RUN, GridMasterBench, Op, S, deal, fault, status

from apis_core.grid_master.deal.transitions import Phase
from apis_core.model.messages import IS_STOPPING, ControlReply, ConverterReading
from apis_core.model.types import (
    ControlError,
    ConverterMode,
    DealState,
    FaultExtent,
    FaultLevel,
    OperationMode,
    SubmitError,
)
from apis_core.model.units import NEVER_NS


@pytest.fixture
def bench(policy) -> GridMasterBench:
    return GridMasterBench(policy)


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
def test_w33_a_deal_is_checked_before_it_is_taken(bench, submitted, mode, error, message):
    reply = bench.submit(submitted, mode)
    assert reply.error is error
    assert reply.message.startswith(message)
    assert bench.calls == []


def test_without_a_limit_of_the_bus_any_current_is_taken(policy):
    bench = GridMasterBench(replace(policy, total_deal_current_max_a=None))
    assert bench.submit(deal(current_a=101.0)) is None  # on its way


def test_5_3_a_deal_is_answered_when_both_units_have_locked_a_slot(bench):
    assert bench.submit(deal()) is None
    bench.answer_all()
    assert "c" not in bench.replies
    bench.answer_all()
    assert bench.replies["c"].error is SubmitError.NONE
    assert [record.state for record in bench.published["d"]] == [
        DealState.QUEUED,
        DealState.ACTIVATING,
    ]
    assert {record.term for record in bench.published["d"]} == {7}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ControlError.NO_SLOT, SubmitError.UNIT_REFUSED),
        (ControlError.NO_ANSWER, SubmitError.TIMEOUT),
    ],
)
def test_5_4_a_unit_that_gives_no_slot_is_told_to_the_submitter_and_nobody_else(
    bench, error, expected
):
    bench.submit(deal())
    bench.answer_all(error=error, message="no")
    bench.end()
    assert bench.replies["c"].error is expected
    assert bench.replies["c"].message == "E001: no"
    assert bench.published == {}
    assert bench.master.can_hand_off


def test_a_deal_that_is_sent_twice_is_taken_once(bench):
    bench.locked(deal())
    calls = list(bench.calls)
    assert bench.submit(deal(), requester="again").error is SubmitError.NONE
    assert bench.calls == calls


def test_while_the_bus_comes_up_for_one_deal_the_next_one_waits(bench):
    bench.locked(deal())
    bench.locked(deal("e", "E004", "E003"))
    assert bench.state("e") is DealState.QUEUED
    bench.take(bench.master.hear_status(status("E001", effective=OperationMode.MANUAL), NOW_NS))
    while bench.state("d") is not DealState.ABORTED:
        bench.answer_all()
    assert bench.published["d"][-1].reason == "E001: is in manual"
    assert DealState.ACTIVATING in [record.state for record in bench.published["e"]]


def test_7_1_a_unit_that_asks_for_the_end_of_a_deal_gets_it(bench):
    bench.locked(deal())
    asks = replace(status("E002"), ending_deal_ids=("d",), ending_reason="too warm")
    bench.take(bench.master.hear_status(asks, bench.now_ns))
    assert bench.published["d"][-1].reason == "E002: too warm"


def test_10_2_a_deal_that_the_bus_cannot_carry_beside_the_others_waits(policy):
    bench = GridMasterBench(replace(policy, total_deal_current_max_a=3.0))
    assert bench.submit(deal("big", current_a=3.5)).error is SubmitError.CURRENT_LIMIT
    bench.locked(deal())
    bench.locked(deal("e", "E004", "E003"))
    machines = bench.master._deals.machines
    machines["d"]._progress.phase = Phase.RUNNING
    assert bench.master._scheduler._first_that_fits() is None
    machines["d"]._progress.phase = Phase.LEAVING
    assert bench.master._scheduler._first_that_fits() is machines["e"]


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
def test_11_3_which_deals_a_fault_ends(bench, told, ended, blocks):
    bench.locked(deal())
    bench.locked(deal("e", "E004", "E003"))
    bench.take(bench.master.hear_fault(told, bench.now_ns))
    by_fault = [key for key, all_ in bench.published.items() if "trip:" in all_[-1].reason]
    assert by_fault == ended
    reply = bench.submit(deal("f"), requester="f")
    assert (reply is not None and reply.error is SubmitError.NOT_DEALING) is blocks
    bench.calls.clear()
    bench.now_ns += 10**6 * S
    assert bench.submit(deal("g"), requester="g") is None


def test_a_global_fault_is_a_scram(bench):
    bench.locked(deal())
    bench.take(bench.master.hear_fault(fault("E001", FaultExtent.GLOBAL), bench.now_ns))
    bench.end()
    assert bench.state() is DealState.SCRAMMED


def test_w32_all_deals_can_be_ended_orderly(bench):
    bench.locked(deal())
    bench.locked(deal("e", "E004", "E003"))
    bench.take(bench.master.step_down("E003 is stopping", bench.now_ns))
    bench.end()
    assert {bench.state("d"), bench.state("e")} == {DealState.ABORTED}
    assert bench.master.can_hand_off


@pytest.mark.parametrize(
    ("who_stops", "booked"), [("", ["E001"]), ("E001", []), ("E002", ["E001"]), ("E003", [])]
)
def test_11_2_a_unit_that_has_left_in_order_owes_no_answer(bench, who_stops, booked):
    """Who has said that it is stopping may be gone; so may all others when the grid stops."""
    bench.locked(deal())
    if who_stops == "E003":
        bench.take(bench.master.step_down("E003 is stopping", bench.now_ns))
    elif who_stops:
        stops = replace(
            status(who_stops),
            not_dealing_reason=IS_STOPPING,
            ending_deal_ids=("d",),
            ending_reason="the process is stopping",
        )
        bench.take(bench.master.hear_status(stops, bench.now_ns))
    else:
        bench.take(bench.master.hear_fault(fault("E002"), bench.now_ns))
    while not bench.state().is_over:
        for call in bench.calls:
            if call.to == "E001" and call.request.operation is Op.RELEASE:
                bench.calls.remove(call)
                bench.take(bench.master.answered(call.origin, None, bench.now_ns))
                break
        else:
            bench.answer_all()
    assert [raised.unit_id for raised in bench.raised] == booked


@pytest.mark.parametrize("reason", ["did not become free", "did not reach its voltage"])
def test_11_4_a_bus_that_does_not_start_is_a_fault_of_all(bench, reason):
    bench.locked(deal())
    refuses = reason == "did not become free"
    while not bench.raised:
        if not bench.calls:
            bench.now_ns = max(bench.now_ns, bench.master.wake_ns)
            bench.take(bench.master.tick(bench.now_ns))
        calls, bench.calls = bench.calls, []
        for call in calls:
            is_start = call.request.operation is Op.VOLTAGE_REFERENCE
            error = ControlError.BUS_ENERGISED if is_start and refuses else ControlError.NONE
            mode = ConverterMode.VOLTAGE_REFERENCE if call.to == "E002" else ConverterMode.WAIT
            reading = ConverterReading(mode=mode, grid_voltage_v=200.0)
            answer = ControlReply(error=error, reading=reading)
            bench.take(bench.master.answered(call.origin, answer, bench.now_ns))
        assert bench.now_ns < NOW_NS + 1_000 * S
    (raised,) = bench.raised
    assert (raised.extent, raised.unit_id, raised.deal_id) == (FaultExtent.GLOBAL, "E002", "d")
    assert reason in raised.message


def test_9_6_a_unit_that_turned_off_is_looked_at_at_once(bench):
    bench.locked(deal())
    machine = bench.master._deals.machines["d"]
    machine.start("E002", bench.now_ns)
    machine._progress.orders._pending.clear()
    bench.calls.clear()
    discharge = ConverterMode.DISCHARGE
    bench.take(bench.master.hear_status(status("E001", discharge), bench.now_ns))
    assert bench.calls == []  # the first word of a unit is no change
    bench.take(bench.master.hear_status(status("E001"), bench.now_ns))
    assert "E001" in [call.to for call in bench.calls]
    bench.calls.clear()
    bench.take(bench.master.hear_status(status("E004"), bench.now_ns))
    assert bench.calls == []  # has no part in it


# --- what an older grid master left --------------------------------------------------------------


def test_leftovers_are_released_and_not_asked_again_at_once(bench):
    left = status("E001", ConverterMode.DISCHARGE, ["old"])
    (call,) = bench.take(bench.master.hear_status(left, bench.now_ns))
    assert (call.to, call.request.operation) == ("E001", Op.RELEASE)
    assert (call.request.deal_id, call.request.term) == ("old", 7)
    assert bench.master.hear_status(left, bench.now_ns + 1) == []
    assert bench.master.answered(call.origin, ControlReply(), bench.now_ns) == []
    assert len(bench.master.hear_status(left, bench.now_ns + 60 * S)) == 1


def test_a_left_over_reference_waits_for_the_currents(bench):
    bench.take(bench.master.hear_status(status("E001", ConverterMode.DISCHARGE, ["old"]), NOW_NS))
    reference = status("E002", ConverterMode.VOLTAGE_REFERENCE, ["old"])
    assert bench.master.hear_status(reference, NOW_NS) == []
    bench.take(bench.master.hear_status(status("E001"), NOW_NS))
    (call,) = bench.master.hear_status(reference, NOW_NS)
    assert call.to == "E002"


def test_our_own_deals_are_no_leftovers(bench):
    bench.locked(deal())
    bench.calls.clear()
    assert bench.master.hear_status(status("E001", deal_ids=["d"]), bench.now_ns) == []


def test_w5_inherited_deals_are_closed_once_no_unit_has_them(policy):
    old = deal("old", state=DealState.RUNNING, term=6, sequence=9, grid_master_id="E004")
    over = deal("over", state=DealState.COMPLETED, term=6)
    bench = GridMasterBench(policy, [old, over])
    assert NOW_NS < bench.master.wake_ns < NEVER_NS
    assert bench.master.tick(NOW_NS) == []
    bench.take(bench.master.hear_status(status("E001", deal_ids=["old"]), NOW_NS))
    bench.take(bench.master.hear_status(status("E002"), NOW_NS))
    assert bench.published == {}
    bench.take(bench.master.hear_status(status("E001"), NOW_NS))
    assert bench.published == {}
    while not bench.published:
        bench.wait()
    (closed,) = bench.published["old"]
    assert (closed.state, closed.term, closed.sequence) == (DealState.ABORTED, 7, 1)
    assert closed.reason == "its grid master E004 was lost"
    assert bench.master.wake_ns == NEVER_NS


def test_w5_how_an_inherited_deal_ended_may_be_under_way(policy):
    """Its master was cut off when it said so; no other word follows that one."""
    old = deal("old", state=DealState.RUNNING, term=6, sequence=9, grid_master_id="E004")
    bench = GridMasterBench(policy, [old])
    for unit_id in ("E001", "E002"):
        bench.take(bench.master.hear_status(status(unit_id), bench.now_ns))
    assert bench.published == {}
    bench.master.hear_deal(replace(old, state=DealState.COMPLETED, sequence=10))
    assert bench.master.wake_ns == NEVER_NS
    bench.now_ns += 3600 * S
    assert bench.master.tick(bench.now_ns) == []


def test_w5_a_deal_of_an_older_grid_master_that_is_heard_of_late_is_closed_too(policy):
    """Found by partition seed 7: the record had been held up, and nobody ever closed it."""
    bench = GridMasterBench(policy)
    assert bench.master.wake_ns == NEVER_NS
    old = deal("old", state=DealState.QUEUED, term=6, sequence=1, grid_master_id="E004")
    bench.master.hear_deal(old)
    for unit_id in ("E001", "E002"):
        bench.take(bench.master.hear_status(status(unit_id), bench.now_ns))
    while not bench.published:
        bench.wait()
    assert bench.state("old") is DealState.ABORTED
    bench.master.hear_deal(replace(old, sequence=2))  # and a later word does not revive it
    assert bench.master.wake_ns == NEVER_NS


def test_w5_what_we_have_closed_in_this_term_is_not_closed_again(policy):
    """Found by seed 164: the grid master begins anew when another policy holds."""
    old = deal("old", state=DealState.QUEUED, term=6, sequence=1, grid_master_id="E004")
    bench = GridMasterBench(policy, [old])
    bench.master.hear_deal(replace(old, state=DealState.ABORTED, term=7, sequence=1))
    assert bench.master.wake_ns == NEVER_NS


def test_w5_inherited_deals_of_silent_units_are_closed_in_the_end(policy):
    bench = GridMasterBench(policy, [deal("old", state=DealState.RUNNING)])
    bench.take(bench.master.hear_status(status("E001", deal_ids=["old"]), NOW_NS))
    for _ in range(100):
        bench.wait()
    assert bench.published == {}  # E001 still says that it has it
    bench.take(bench.master.hear_status(status("E001"), bench.now_ns))
    bench.wait()
    assert bench.state("old") is DealState.ABORTED
