"""One deal while others are on the bus: whose answers count, when, and for how much."""

from __future__ import annotations

import pytest
from deal_run import GIVER, TAKER, TIMING, WAIT, Op, Run, S

from apis_core.converter.energy_limit import Sample
from apis_core.grid_master.deal.transitions import Phase
from apis_core.model.messages import ControlReply, ConverterReading
from apis_core.model.types import ControlError, ConverterMode, DealState, Direction, StopCause

OTHER = "E004"  # holds the bus, and has no part in the deal


@pytest.fixture
def run(policy) -> Run:
    return Run(policy)


def beside(run: Run, phase: Phase = Phase.RUNNING) -> Run:
    """A pair that both hold a current, up to a phase."""
    run.to(Phase.QUEUED)
    run.reference = OTHER
    run.modes[OTHER] = ConverterMode.VOLTAGE_REFERENCE
    run.begin()
    run.see(is_alone=False)
    run.start()
    if phase is Phase.RUNNING:
        run.settle(0.0, 0.0)
    assert run.machine.phase is phase
    return run


def heard(run: Run, current_a: float | None, *, ago_ns: int = 0) -> list:
    """The reference's current is heard; what the deal wants then."""
    reading = ConverterReading(mode=ConverterMode.VOLTAGE_REFERENCE, grid_current_a=current_a)
    asked_ns = run.now_ns - ago_ns
    sample = Sample(ControlReply(reading=reading), asked_ns, run.now_ns)
    return run.machine.hear_reference(sample, 0.0, run.now_ns)


# --- starting and compensating -------------------------------------------------------------------


def test_7_3_a_pair_beside_the_reference_asks_it_nothing(run):
    beside(run)
    run.wait()
    assert {unit_id for unit_id, _ in run.orders} == {GIVER, TAKER}
    run.abort("enough")
    assert run.end().state is DealState.ABORTED
    assert set(run.modes) - {OTHER} == {GIVER, TAKER}
    assert run.modes[GIVER] is run.modes[TAKER] is WAIT


@pytest.mark.parametrize(
    ("error_a", "adjusted_a"), [(0.1, 1.9), (-0.1, 2.1), (0.25, 1.75), (-0.031, 2.031)]
)
def test_7_5_what_the_reference_gets_too_much_the_giver_gives_less(run, error_a, adjusted_a):
    beside(run, Phase.COMPENSATING)
    run.hear_reference(error_a, 0.0)
    run.hear_reference(error_a, 0.0)
    (call,) = run.open
    assert (call.to, call.request.operation) == (GIVER, Op.CURRENT)
    assert call.request.grid_current_a == pytest.approx(adjusted_a)


def test_7_5_a_current_that_still_moves_is_not_corrected(run):
    beside(run, Phase.COMPENSATING)
    for current_a in (0.2, 0.15, 0.11, 0.08):
        run.hear_reference(current_a, 0.0)
        assert run.open == []
    run.hear_reference(0.08, 0.0)
    assert run.orders == [(GIVER, Op.CURRENT)]


@pytest.mark.parametrize("what", ["asked before the last order", "asked at once again", "unread"])
def test_7_5_what_says_nothing_about_the_present_current_is_not_used(run, what):
    beside(run, Phase.COMPENSATING)
    run.now_ns += S
    if what == "asked before the last order":
        assert heard(run, 0.1, ago_ns=5 * S) == []
        assert heard(run, 0.1) == []  # it is the first one, and the next one shows that it lasts
        run.now_ns += S
        assert heard(run, 0.1) != []
    elif what == "asked at once again":
        assert heard(run, 0.1) == []
        run.now_ns += S // 10
        assert heard(run, 0.1) == []  # the same moment twice is no proof that it is steady
        run.now_ns += S
        assert heard(run, 0.1) != []
    else:
        assert heard(run, None) == []
        assert run.machine.phase is Phase.COMPENSATING


def test_7_5_a_deal_that_runs_is_corrected_no_more(run):
    beside(run)
    run.now_ns += S
    assert heard(run, 0.2) == []
    run.now_ns += S
    assert heard(run, 0.2) == []


def test_7_6_when_the_bus_moves_answers_from_before_say_nothing(run):
    """An old reference was read before it went back to its current: its mode is no fault."""
    run.to(Phase.RUNNING)
    run.wait()
    before = [call for call in run.open if call.to == TAKER]
    run.machine.reference_moved(OTHER, run.now_ns + 1)
    assert run.machine.current_ids == (GIVER, TAKER)
    assert before
    run.answer(unit_id=TAKER, mode=WAIT)  # asked before
    assert run.machine.phase is Phase.RUNNING
    run.forget()
    while (TAKER, Op.HOLD) not in run.orders:
        run.wait()
    run.answer(unit_id=TAKER, mode=WAIT)  # asked since
    assert run.machine.phase is not Phase.RUNNING


# --- the end -------------------------------------------------------------------------------------


def test_7_4_the_giver_that_is_done_first_waits_for_the_taker_that_counts(run):
    beside(run)
    run.wait()
    run.answer(unit_id=GIVER, share_a=0.0, cause=StopCause.ENERGY_REACHED, grid_moved_wh=49.0)
    assert run.machine.phase is Phase.RUNNING
    assert not [order for order in run.orders if order[1] is Op.DISCHARGE]
    run.answer(unit_id=TAKER, battery_moved_wh=50.0, grid_moved_wh=50.0)
    assert run.machine.phase is Phase.STOPPING


def test_7_4_a_taker_that_is_left_alone_by_the_giver_does_not_draw_on_the_reference_for_long(run):
    beside(run)
    run.wait()
    began_ns = run.now_ns
    ended = {"share_a": 0.0, "cause": StopCause.ENERGY_REACHED, "mode": WAIT}
    run.answer(unit_id=GIVER, grid_moved_wh=40.0, **ended)
    while run.machine.phase is Phase.RUNNING:
        if run.open:
            unit_id = run.open[0].to
            run.answer(unit_id=unit_id, **(ended if unit_id == GIVER else {}))
        else:
            run.wait()
    assert run.now_ns - began_ns <= TIMING.hold_ns + TIMING.poll_ns
    deal = run.end()
    assert deal.state is DealState.ABORTED
    assert "twice the time" not in deal.reason


@pytest.mark.parametrize(
    ("stops_first", "stopped"),
    [(Direction.DISCHARGE, [GIVER, TAKER]), (Direction.CHARGE, [TAKER, GIVER])],
)
def test_7_4_whose_current_goes_first_relieves_the_reference(run, stops_first, stopped):
    beside(run)
    run.forget()
    run.see(stops_first=stops_first)
    run.abort("enough")
    seen = []
    while run.machine.phase is Phase.STOPPING:
        seen += [unit_id for unit_id, operation in run.orders if operation is Op.WAIT]
        run.answer(Op.WAIT)
    assert seen == stopped


def test_a_silent_side_of_a_pair_is_waited_out_whatever_the_reference_carries(run):
    """What the reference carries belongs to others."""
    beside(run)
    run.forget()
    run.abort("enough")
    began_ns = run.now_ns
    while run.machine.phase is Phase.STOPPING:
        run.wait()
    assert 6 * S <= run.now_ns - began_ns <= 10 * S
    assert run.end().state is DealState.ABORTED


def test_a_silent_current_side_is_not_off_because_others_balance_the_reference(run):
    run.to(Phase.STOPPING)
    run.see(is_alone=False)
    while (TAKER, Op.HOLD) not in run.orders:
        run.wait()
    run.answer(Op.HOLD, TAKER, current_a=0.0)
    assert run.machine.phase is Phase.STOPPING


# --- going on under the next grid master ---------------------------------------------------------


def adopted(policy, reference=TAKER, **changes) -> Run:
    fields = {"voltage_reference_id": reference, "moved_wh": 40.0, "started_ns": 5, **changes}
    run = Run(policy, **fields)
    run.modes = {GIVER: ConverterMode.DISCHARGE, TAKER: ConverterMode.CHARGE}
    run.modes[reference] = ConverterMode.VOLTAGE_REFERENCE
    run.shares = {GIVER: 2.0, TAKER: 2.0}
    run.take(run.machine.adopt(run.now_ns, {}))
    return run


def test_w5_both_units_are_told_at_once(policy):
    run = adopted(policy)
    assert run.orders == [(GIVER, Op.ADOPT), (TAKER, Op.ADOPT)]
    assert {call.request.deal.deal_id for call in run.open} == {"d"}
    assert run.machine.record().state is DealState.RUNNING


def test_w5_an_adopted_deal_ends_like_any_other(policy):
    run = adopted(policy)
    run.answer(unit_id=TAKER, battery_moved_wh=41.0, grid_moved_wh=42.0)
    run.answer(unit_id=GIVER, grid_moved_wh=43.0)
    run.wait()
    (hold,) = [call for call in run.open if call.to == GIVER]
    assert hold.request.energy_limit_wh > 43.0
    run.answer(unit_id=TAKER, battery_moved_wh=50.0)
    deal = run.end()
    assert (deal.state, deal.started_ns, deal.moved_wh) == (DealState.COMPLETED, 5, 50.0)


def test_w5_before_a_unit_has_said_what_it_moved_its_limit_is_not_touched(policy):
    """The word of adoption was lost: nothing is known that could be told."""
    run = adopted(policy)
    run.open.clear()
    while not run.open:
        run.wait()
    limits_wh = [call.request.energy_limit_wh for call in run.open if call.to == GIVER]
    assert all(limit_wh is None or limit_wh > 40.0 for limit_wh in limits_wh)


def test_w5_before_the_meter_is_heard_the_limit_that_the_giver_has_is_not_raised(policy):
    """What the record says was so long ago; a generous limit would let too much flow."""
    run = adopted(policy)
    run.answer(unit_id=GIVER, grid_moved_wh=48.0)
    while GIVER not in [call.to for call in run.open]:
        run.wait()
    (hold,) = [call for call in run.open if call.to == GIVER]
    assert hold.request.energy_limit_wh is None


@pytest.mark.parametrize("unit_id", [GIVER, TAKER])
def test_w5_a_unit_that_will_not_go_on_ends_the_deal(policy, unit_id):
    run = adopted(policy)
    run.answer(unit_id=unit_id, error=ControlError.UNKNOWN_DEAL, message="holds no slot for d")
    assert run.machine.deal.reason == f"{unit_id}: holds no slot for d"
    assert run.end().state is DealState.ABORTED


def test_w5_what_was_counted_before_is_never_taken_back(policy):
    run = adopted(policy)
    run.answer(unit_id=TAKER, battery_moved_wh=0.0, grid_moved_wh=0.0)
    assert run.machine.deal.moved_wh == 40.0
