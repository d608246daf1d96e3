"""One deal as the grid master runs it: answers and time in, orders out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from deal_run import GIVER, TAKER, TIMING, WAIT, Op, Run, S

from apis_core.grid_master.deal.transitions import Phase
from apis_core.model.messages import ControlReply
from apis_core.model.types import (
    ControlError,
    ConverterMode,
    DealState,
    Direction,
    Meter,
    StopCause,
)
from apis_core.model.units import NEVER_NS


@pytest.fixture
def run(policy) -> Run:
    return Run(policy)


def test_7_the_whole_way_of_a_deal(run):
    run.to(Phase.ACQUIRING)
    assert run.orders == [(GIVER, Op.ACQUIRE)]
    run.answer()
    assert run.orders == [(TAKER, Op.ACQUIRE)]  # one after the other, in the order of their ids
    run.answer()
    assert run.machine.phase is Phase.QUEUED
    run.bus(Phase.ACTIVATING)
    run.bus(Phase.RAMPING_UP)
    assert run.machine.record().state is DealState.RAMPING_UP
    run.begin()
    assert run.orders == [(TAKER, Op.CHARGE)]  # the reference books it
    run.answer()
    assert run.orders == [(GIVER, Op.DISCHARGE)]
    run.answer()
    assert run.machine.phase is Phase.COMPENSATING
    run.settle()
    assert run.machine.record().state is DealState.RUNNING
    run.wait()
    run.answer(unit_id=TAKER, battery_moved_wh=50.0, grid_moved_wh=51.0)
    assert run.machine.phase is Phase.STOPPING
    deal = run.end()
    assert (deal.state, deal.moved_wh, deal.received_wh) == (DealState.COMPLETED, 50.0, 50.0)
    assert deal.created_ns <= deal.started_ns < deal.stopped_ns < deal.ended_ns
    assert run.machine.wake_ns == NEVER_NS


@pytest.mark.parametrize(
    ("reference", "stops_first", "started"),
    [
        (TAKER, Direction.DISCHARGE, [(TAKER, Op.CHARGE), (GIVER, Op.DISCHARGE)]),
        (GIVER, Direction.DISCHARGE, [(GIVER, Op.DISCHARGE), (TAKER, Op.CHARGE)]),
        ("E004", Direction.DISCHARGE, [(TAKER, Op.CHARGE), (GIVER, Op.DISCHARGE)]),
        ("E004", Direction.CHARGE, [(GIVER, Op.DISCHARGE), (TAKER, Op.CHARGE)]),
    ],
)
def test_7_3_the_units_start_in_the_order_that_relieves_the_reference(
    run, reference, stops_first, started
):
    run.to(Phase.QUEUED)
    run.reference = reference
    run.modes[reference] = ConverterMode.VOLTAGE_REFERENCE
    run.see(stops_first=stops_first)
    run.begin()
    seen = []
    while run.machine.phase is Phase.STARTING:
        if run.open:
            seen += run.orders
            run.answer()
        else:
            run.wait()
    assert [order for order in seen if order[1] is not Op.HOLD] == started
    run.machine.abort("enough", run.now_ns)
    running = [unit for unit, _ in reversed(started) if unit != reference]
    assert list(run.machine.current_ids) == running


def test_7_3_the_second_unit_waits_until_the_first_ones_current_flows(run):
    run.to(Phase.STARTING)
    run.answer(Op.CHARGE)
    run.answer(Op.DISCHARGE, current_a=-0.5)  # ramping up
    assert run.machine.phase is Phase.STARTING
    run.wait()
    run.answer(Op.HOLD, GIVER, current_a=2.0)  # a current of the wrong sign is no current
    assert run.machine.phase is Phase.STARTING
    run.wait()
    run.answer(Op.HOLD, GIVER)
    assert run.machine.phase is Phase.COMPENSATING


def test_7_5_the_current_is_corrected_until_the_reference_carries_what_it_should(run):
    run.to(Phase.COMPENSATING)
    run.hear_reference(2.1)
    assert run.open == []  # perhaps it has not settled yet
    run.hear_reference(2.1)
    (call,) = run.open
    assert (call.to, call.request.operation) == (GIVER, Op.CURRENT)
    assert call.request.grid_current_a == pytest.approx(1.9)
    run.answer()
    run.settle(2.02)
    assert run.machine.phase is Phase.RUNNING
    assert run.machine.share_a(GIVER) == pytest.approx(-1.9)


def test_7_5_a_current_that_passes_by_where_it_should_be_is_no_proof(run):
    """Read often, it is seen there on its way to somewhere else."""
    run.to(Phase.COMPENSATING)
    for current_a in (1.9, 1.98, 2.0, 2.02, 2.1):
        run.hear_reference(current_a)
        assert run.machine.phase is Phase.COMPENSATING
    run.hear_reference(2.1)
    assert run.orders == [(GIVER, Op.CURRENT)]


def test_7_5_out_of_trials_the_deal_is_aborted(run, policy):
    run.to(Phase.COMPENSATING)
    trials = 0
    while run.machine.phase is Phase.COMPENSATING:
        run.hear_reference(2.1)
        if run.open:
            trials += 1
            run.answer()
    assert trials - 1 == policy.compensation_trials  # the last is the first WAIT
    assert "corrections of E001" in run.machine.deal.reason


def test_7_5_an_error_that_no_meter_has_is_another_deals_current(run):
    run.to(Phase.COMPENSATING)
    run.hear_reference(1.0)
    run.hear_reference(1.0)
    assert run.machine.phase is Phase.RUNNING
    assert run.machine.share_a(GIVER) == -2.0


def test_7_5_a_current_that_counts_is_not_corrected(policy):
    run = Run(replace(policy, metering_side=Direction.DISCHARGE)).to(Phase.STARTING)
    run.start()
    assert run.machine.phase is Phase.RUNNING


def bring_up(run) -> None:
    for phase in (Phase.ACTIVATING, Phase.RAMPING_UP, Phase.AUTHORISING):
        run.bus(phase)


def test_7_8_a_reset_goes_back_into_the_queue_until_the_limit(policy):
    run = Run(replace(policy, deal_reset_limit=2)).to(Phase.QUEUED)
    for _ in range(2):
        bring_up(run)
        run.take(run.machine.reset("not alone", run.now_ns))
        assert run.machine.phase is Phase.QUEUED
        assert run.machine.deal.voltage_reference_id == ""
    bring_up(run)
    run.take(run.machine.reset("not alone", run.now_ns))
    assert run.end().reason == "not alone"


def test_5_4_a_unit_that_gives_no_slot_ends_the_deal_with_its_words(run):
    run.to(Phase.ACQUIRING)
    run.answer(error=ControlError.NO_SLOT, message="all 1 slots are taken")
    assert run.orders == [(GIVER, Op.RELEASE)]  # it may have locked one nevertheless
    assert run.end().state is DealState.ABORTED
    assert run.machine.refusal.message == "E001: all 1 slots are taken"


@pytest.mark.parametrize("phase", list(Phase)[1:8])
def test_w4_an_abort_in_any_phase_ends_with_both_slots_released(run, phase):
    run.to(phase)
    run.abort("no longer wanted")
    run.abort("a second reason")  # does not count
    deal = run.end()
    assert (deal.state, deal.reason) == (DealState.ABORTED, "no longer wanted")
    assert all(side.is_released for side in run.machine._progress.sides)
    assert set(run.modes.values()) == {WAIT} or phase is Phase.QUEUED


@pytest.mark.parametrize("phase", [Phase.ACQUIRING, Phase.QUEUED])
def test_w26_an_abort_before_the_bus_was_used_orders_no_converter(run, phase):
    run.to(phase)
    run.open.clear()
    run.abort("no longer wanted")
    while run.machine.phase is not Phase.OVER:
        assert {operation for _, operation in run.orders} <= {Op.RELEASE}
        run.answer() if run.open else run.wait()


@pytest.mark.parametrize("phase", [Phase.ACTIVATING, Phase.RAMPING_UP])
def test_an_abort_before_the_current_was_started_leaves_the_current_side_alone(run, phase):
    run.to(phase)
    run.abort("no longer wanted")
    assert run.machine.phase is Phase.LEAVING
    assert {unit_id for unit_id, _ in run.orders} == {TAKER}


def test_a_scram_is_told_from_an_abort(run):
    run.to(Phase.RUNNING)
    run.take(run.machine.abort("leak", run.now_ns, scram=True))
    assert run.end().state is DealState.SCRAMMED


@pytest.mark.parametrize("phase", [Phase.STOPPING, Phase.RELEASING, Phase.OVER])
def test_what_is_ending_is_not_aborted(run, phase):
    run.to(phase)
    assert run.machine.abort("too late", run.now_ns) == []
    assert run.machine.deal.reason == "enough"


@pytest.mark.parametrize(
    ("operation", "reason"), [(Op.CHARGE, "E002: tripped"), (Op.DISCHARGE, "E001: tripped")]
)
def test_7_8_a_unit_that_refuses_ends_the_deal(run, operation, reason):
    run.to(Phase.STARTING)
    while operation not in [ordered for _, ordered in run.orders]:
        run.answer()
    run.answer(operation, error=ControlError.CONVERTER, message="tripped")
    assert run.machine.deal.reason == reason
    assert run.end().state is DealState.ABORTED


@pytest.mark.parametrize(
    ("phase", "reason"),
    [
        (Phase.STARTING, "E001 did not start"),
        (Phase.COMPENSATING, "the current of E002 does not settle"),
        (Phase.RUNNING, "hardly anything flows: E002 has counted 0.00 Wh in 30 s"),
    ],
)
def test_w16_no_phase_lasts_for_ever(run, phase, reason):
    run.to(phase)
    run.see(is_alone=True)
    began_ns = run.now_ns
    while run.machine.phase is phase:
        if run.open:
            # the current never comes up
            run.answer(**({"current_a": 0.0} if phase is Phase.STARTING else {}))
        else:
            run.wait()
        assert run.now_ns - began_ns < 1_000 * S
    assert run.machine.deal.reason == reason
    assert run.end().state is DealState.ABORTED


@pytest.mark.parametrize("disturbed_by", ["another deal", "a hand-over"])
def test_w16_a_meter_that_others_disturb_does_not_end_a_deal_at_once(run, disturbed_by):
    run.to(Phase.RUNNING)
    run.see(is_alone=disturbed_by != "another deal")
    run.see(is_handed_over=disturbed_by == "a hand-over")
    began_ns = run.now_ns
    while run.now_ns - began_ns < 4 * TIMING.hold_ns:
        run.answer() if run.open else run.wait()
        assert run.machine.phase is Phase.RUNNING


def test_w16_a_deal_that_flows_slowly_ends_when_it_takes_too_long(run):
    run.to(Phase.RUNNING)
    run.see(is_alone=True)
    began_ns = run.now_ns
    while run.machine.phase is Phase.RUNNING:
        moved_wh = 0.03 * (run.now_ns - began_ns) / S
        if run.open:
            run.answer(grid_moved_wh=moved_wh, battery_moved_wh=moved_wh)
        else:
            run.wait()
    assert run.machine.deal.reason == "it took more than twice the time that its current promised"


def test_7_4_a_short_silence_is_forgiven_and_a_long_one_is_not(run):
    run.to(Phase.RUNNING)
    began_ns = run.now_ns
    while run.machine.phase is Phase.RUNNING:
        run.wait()  # nobody answers
    assert 6 * S <= run.now_ns - began_ns <= 9 * S
    assert "does not answer" in run.machine.deal.reason


def test_7_4_an_answer_that_is_missing_is_asked_for_again_at_once(run):
    run.to(Phase.RUNNING)
    while not run.open:
        run.wait()
    asked_ns = run.now_ns
    run.answer(unit_id=TAKER)
    while run.orders.count((GIVER, Op.HOLD)) < 2:
        run.wait()
    assert run.now_ns - asked_ns <= 2 * S
    assert (TAKER, Op.HOLD) not in run.orders


@pytest.mark.parametrize("silent", [GIVER, TAKER])
def test_w1_a_silent_unit_does_not_keep_its_partner_on(run, silent):
    """By 10 s after its last sign of life the other one, and the bus, need be on no more."""
    run.to(Phase.RUNNING)
    heard_ns = run.now_ns
    other = TAKER if silent == GIVER else GIVER
    while run.machine.phase in (Phase.RUNNING, Phase.STOPPING):
        if any(to == other for to, _ in run.orders):
            flows = {"current_a": 1.5} if other == TAKER else {}  # the silent giver still gives
            run.answer(unit_id=other, **flows)
        else:
            run.wait()
    assert run.machine.deal.reason == f"{silent}: does not answer"
    assert run.now_ns - heard_ns <= 10 * S


def test_w1_signs_of_life_are_more_than_answers(run):
    run.to(Phase.RUNNING)
    began_ns = run.now_ns
    while run.machine.phase is Phase.RUNNING:
        run.wait()
        for unit_id in (GIVER, TAKER):
            run.machine.hear_unit(unit_id, run.now_ns)
    assert run.now_ns - began_ns >= TIMING.hold_ns  # but who does not obey for so long is amiss


@pytest.mark.parametrize("scram", [False, True])
def test_nobody_renews_what_is_to_end(run, scram):
    run.to(Phase.RUNNING)
    while run.open:
        run.answer()
    run.take(run.machine.abort("enough", run.now_ns, scram=scram))
    said = set()
    began_ns = run.now_ns
    while run.machine.phase in (Phase.STOPPING, Phase.LEAVING) and run.now_ns < began_ns + 40 * S:
        said.update((to, operation) for to, operation in run.orders if to == GIVER)
        run.wait()
    assert said == {(GIVER, Op.WAIT)}


@pytest.mark.parametrize("error", [ControlError.NOT_MY_GRID_MASTER, ControlError.OLD_TERM])
def test_7_4_a_unit_that_follows_somebody_else_for_a_moment_is_waited_for(run, error):
    """It has not heard of the lease yet, or of a newer one that goes on with the deal."""
    run.to(Phase.RUNNING)
    began_ns = run.now_ns
    while run.machine.phase is Phase.RUNNING and run.now_ns < began_ns + 60 * S:
        if any(operation is Op.HOLD and to == GIVER for to, operation in run.orders):
            run.answer(Op.HOLD, GIVER, error=error, message="its grid master is nobody")
        elif run.open:
            run.answer()
        else:
            run.wait()
    assert run.now_ns - began_ns >= TIMING.hold_ns
    assert run.machine.phase is Phase.STOPPING
    assert run.machine.deal.reason == f"{GIVER}: its grid master is nobody"


def test_7_4_who_obeys_again_has_its_whole_hold_time_anew(run):
    run.to(Phase.RUNNING)
    refused = {"error": ControlError.NOT_MY_GRID_MASTER, "message": "its grid master is nobody"}
    for round_ in range(20):
        while not any(operation is Op.HOLD and to == GIVER for to, operation in run.orders):
            run.wait() if not run.open else run.answer(battery_moved_wh=0.5 * round_)
        run.answer(Op.HOLD, GIVER, **(refused if round_ % 2 else {}))
        assert run.machine.phase is Phase.RUNNING


@pytest.mark.parametrize(
    ("unit_id", "reply", "reason"),
    [
        (GIVER, {"mode": WAIT, "detail": "over-temperature"}, "E001: over-temperature"),
        (TAKER, {"mode": WAIT}, "E002: its converter went to WAIT by itself"),
        (
            TAKER,
            {"mode": WAIT, "cause": StopCause.ENERGY_REACHED},
            "E002: its converter went to WAIT by itself",
        ),
        (GIVER, {"share_a": 0.0}, "E001: its converter went to WAIT by itself"),
        (GIVER, {"soc_ratio": 0.19}, "E001 is down to 19.0% of charge"),
        (TAKER, {"soc_ratio": 0.96}, "E002 is up to 96.0% of charge"),
        (TAKER, {"soc_ratio": 0.19}, ""),
        (GIVER, {"soc_ratio": 0.96}, ""),
        (GIVER, {"error": ControlError.UNKNOWN_DEAL, "message": "no slot for d"}, "E001: no slot"),
    ],
)
def test_7_4_what_ends_a_running_deal(run, unit_id, reply, reason):
    run.to(Phase.RUNNING)
    run.wait()
    run.answer(unit_id=unit_id, **reply)
    ended = run.machine.phase is not Phase.RUNNING
    assert ended is bool(reason)
    assert run.machine.deal.reason.startswith(reason)


def test_7_4_a_limit_that_was_short_is_followed_by_a_second_run_once_both_meters_rest(run):
    run.to(Phase.RUNNING)
    run.wait()
    run.answer(unit_id=TAKER, battery_moved_wh=48.0, grid_moved_wh=49.0, current_a=2.0)
    run.answer(
        unit_id=GIVER, grid_moved_wh=49.0, mode=WAIT, cause=StopCause.ENERGY_REACHED, current_a=0.0
    )
    assert run.machine.phase is Phase.RUNNING  # the taker was read while current flowed
    while (TAKER, Op.HOLD) not in run.orders:
        run.wait()
    run.answer(unit_id=TAKER, battery_moved_wh=48.5, grid_moved_wh=49.5)
    (call,) = [call for call in run.open if call.request.operation is Op.DISCHARGE]
    assert call.request.energy_limit_wh == pytest.approx(49.0 + 1.5 * 49.0 / 48.5)


def test_7_4_beside_other_deals_the_reference_books_nothing_more_while_a_second_run_waits(run):
    run.to(Phase.RUNNING)
    run.see(is_alone=False)
    run.wait()
    run.answer(unit_id=TAKER, battery_moved_wh=48.5, grid_moved_wh=49.5, current_a=2.0)
    run.answer(unit_id=GIVER, grid_moved_wh=49.0, share_a=0.0, cause=StopCause.ENERGY_REACHED)
    assert run.orders == [(TAKER, Op.CURRENT)]
    assert run.open[0].request.grid_current_a == 0.0
    run.answer(battery_moved_wh=48.5, grid_moved_wh=49.5, current_a=2.0)
    started = [order for order in run.orders if order[1] is not Op.HOLD]
    assert started == [(TAKER, Op.CHARGE), (GIVER, Op.DISCHARGE)]


def test_7_4_more_than_agreed_wants_a_word(run):
    run.to(Phase.RUNNING)
    run.wait()
    run.answer(unit_id=TAKER, battery_moved_wh=50.2)
    deal = run.end()
    assert deal.state is DealState.COMPLETED
    assert deal.reason == "0.200 Wh more than agreed flowed before E002 stopped"


def test_7_4_less_than_agreed_is_not_completed(run):
    run.to(Phase.RUNNING)
    run.take(run.machine._shutdown.stop_currents(run.now_ns))
    deal = run.end()
    assert (deal.state, deal.reason) == (DealState.ABORTED, "less than agreed was counted")


@pytest.mark.parametrize(
    ("side", "meter", "moved_wh"),
    [
        (Direction.CHARGE, Meter.BATTERY, 8.0),
        (Direction.CHARGE, Meter.GRID, 9.0),
        (Direction.DISCHARGE, Meter.BATTERY, 11.0),
        (Direction.DISCHARGE, Meter.GRID, 10.0),
    ],
)
def test_7_4_which_meter_counts(policy, side, meter, moved_wh):
    run = Run(replace(policy, metering_side=side), meter=meter).to(Phase.RUNNING)
    while not run.open:
        run.wait()
    run.answer(unit_id=GIVER, grid_moved_wh=10.0, battery_moved_wh=11.0)
    run.answer(unit_id=TAKER, grid_moved_wh=9.0, battery_moved_wh=8.0)
    assert run.machine.deal.moved_wh == moved_wh
    assert run.machine.deal.sent_wh == 10.0
    while not run.open:
        run.wait()
    run.answer(unit_id=GIVER, grid_moved_wh=0.0, battery_moved_wh=0.0)
    run.answer(unit_id=TAKER, grid_moved_wh=0.0, battery_moved_wh=0.0)
    assert run.machine.deal.moved_wh == moved_wh  # never less


def test_a_unit_that_still_carries_current_is_not_off_yet(run):
    run.to(Phase.RUNNING)
    run.abort("enough")
    run.answer(Op.WAIT, mode=ConverterMode.DISCHARGE, current_a=-1.0)  # ramping down
    assert run.machine.phase is Phase.STOPPING
    while (GIVER, Op.WAIT) not in run.orders:
        run.wait()
    run.answer(Op.WAIT)
    assert run.machine.phase is Phase.LEAVING


def test_a_converter_that_goes_on_for_others_has_left_once_it_is_at_their_current(run):
    run.to(Phase.STOPPING)
    on = {"mode": ConverterMode.DISCHARGE, "share_a": 0.0, "setpoint_a": 1.0}
    run.answer(Op.WAIT, **on, current_a=-1.5)
    assert run.machine.phase is Phase.STOPPING
    while (GIVER, Op.WAIT) not in run.orders:
        run.wait()
    run.answer(Op.WAIT, **on, current_a=-1.05)
    assert run.machine.phase is Phase.LEAVING


def test_a_silent_current_side_is_off_when_the_reference_sees_no_current(run):
    run.to(Phase.STOPPING)
    while (TAKER, Op.HOLD) not in run.orders:
        run.wait()
    run.answer(Op.HOLD, TAKER, current_a=1.5)
    assert run.machine.phase is Phase.STOPPING
    while (TAKER, Op.HOLD) not in run.orders:
        run.wait()
    run.answer(Op.HOLD, TAKER, current_a=0.0)
    assert run.machine.phase is Phase.LEAVING


def test_w1_a_unit_that_falls_silent_while_it_stops_is_waited_for_but_not_for_long(run):
    run.to(Phase.STOPPING)
    began_ns = run.now_ns
    while run.machine.phase is Phase.STOPPING:
        run.wait()
    assert 6 * S <= run.now_ns - began_ns <= 10 * S
    assert run.end().state is DealState.ABORTED


def test_a_reference_that_stays_for_others_is_only_left(run):
    run.to(Phase.LEAVING)
    while run.open:
        run.answer()
    run.take(run.machine.leave_reference(run.now_ns))
    assert run.orders == [(TAKER, Op.WAIT)]
    run.answer(mode=ConverterMode.VOLTAGE_REFERENCE)
    assert run.machine.phase is Phase.RELEASING


@pytest.mark.parametrize("error", [ControlError.NONE, ControlError.UNKNOWN_DEAL])
def test_7_7_a_slot_that_is_gone_is_as_good_as_released(run, error):
    run.to(Phase.RELEASING)
    run.answer(Op.RELEASE, error=error)
    run.answer(Op.RELEASE, error=error)
    assert run.machine.phase is Phase.OVER


def test_7_7_a_release_that_fails_is_tried_three_times(run):
    run.to(Phase.RELEASING)
    run.open = [call for call in run.open if call.request.operation is Op.RELEASE]
    tries = 0
    while run.machine.phase is not Phase.OVER:
        tries += 1
        while run.open:
            run.answer(Op.RELEASE, error=ControlError.CONVERTER)
    assert tries == 1  # each answer asked again, at once
    assert run.machine._shutdown._release_tries == 3


def test_a_late_answer_changes_nothing(run):
    run.to(Phase.RUNNING)
    run.wait()
    late = run.open[0]
    run.answer()
    before = run.machine.record()
    assert run.machine.answered(late.origin, ControlReply(), run.now_ns) == []
    assert run.machine.record() == before


@pytest.mark.parametrize(
    ("phase", "looks"), [(Phase.QUEUED, False), (Phase.RUNNING, True), (Phase.RELEASING, False)]
)
def test_news_of_a_unit_makes_a_deal_on_the_bus_look_at_once(run, phase, looks):
    run.to(phase)
    run.open.clear()
    run.machine._progress.orders._pending.clear()
    assert bool(run.machine.look_now(run.now_ns)) is looks


def test_9_5_a_unit_is_not_asked_again_before_it_has_answered(run):
    run.to(Phase.RUNNING)
    run.wait()
    assert len(run.open) == 2
    assert run.machine.look_now(run.now_ns) == []


def test_9_5_a_unit_whose_answer_is_lost_is_asked_again_before_its_time_is_up(run):
    progress = run.machine._progress
    progress.timing = progress.orders._timing = replace(TIMING, answer_ns=20 * S)
    run.to(Phase.RUNNING)
    run.wait()
    lost = list(run.open)
    run.open.clear()
    while not run.open:
        run.wait()
    assert run.now_ns - progress.orders.find(lost[0].origin).asked_ns <= 10 * S
    assert run.orders == [(GIVER, Op.HOLD), (TAKER, Op.HOLD)]


def test_an_answer_out_of_turn_moves_nothing_on(run):
    run.to(Phase.ACQUIRING)
    run.abort("no longer wanted")  # while the slot is being asked for
    run.answer(Op.ACQUIRE)
    assert run.machine.phase is Phase.RELEASING
