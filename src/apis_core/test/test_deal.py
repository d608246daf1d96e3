"""One deal as the grid master runs it: answers and time in, orders out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apis_core.deal import DealMachine, DealTiming, Phase
from apis_core.events import Call
from apis_core.messages import ControlReply, ConverterReading, Deal
from apis_core.types import (
    ControlError,
    ControlOperation,
    ConverterMode,
    DealState,
    Meter,
    Side,
    StopCause,
)
from apis_core.units import NEVER_NS, SECOND_NS

S = SECOND_NS
TIMING = DealTiming(poll_ns=5 * S, quick_poll_ns=1 * S, answer_ns=2 * S, hold_ns=15 * S)
GIVER, TAKER = "E001", "E002"
WAIT = ConverterMode.WAIT
Op = ControlOperation


class Run:
    """A machine, the time, and the orders that it has given and nobody has answered."""

    def __init__(self, policy, **changes) -> None:
        self.now_ns = 1_000 * S
        deal = Deal(
            deal_id="d",
            request_unit_id=TAKER,
            accept_unit_id=GIVER,
            discharge_unit_id=GIVER,
            charge_unit_id=TAKER,
            energy_wh=50.0,
            current_a=2.0,
            term=1,
            grid_master_id="E003",
        )
        self.machine = DealMachine(replace(deal, **changes), policy, TIMING, self.now_ns)
        self.open: list[Call] = []
        self.modes = {GIVER: WAIT, TAKER: WAIT}
        self.volts = 0.0

    @property
    def orders(self) -> list[tuple[str, ControlOperation]]:
        return [(call.to, call.request.operation) for call in self.open]

    def take(self, effects) -> None:
        self.open += effects

    def answer(self, operation=None, unit_id=None, **reply) -> None:
        """Answer the first open order (of that kind) as a healthy unit does, but for ``reply``."""
        call = next(
            c
            for c in self.open
            if operation in (None, c.request.operation) and unit_id in (None, c.to)
        )
        self.open.remove(call)
        modes = {
            Op.VOLTAGE_REFERENCE: ConverterMode.VOLTAGE_REFERENCE,
            Op.DISCHARGE: ConverterMode.DISCHARGE,
            Op.CHARGE: ConverterMode.CHARGE,
            Op.WAIT: WAIT,
        }
        if "error" not in reply:
            mode = modes.get(call.request.operation, self.modes[call.to])
            self.modes[call.to] = reply.pop("mode", mode)
        reading = ConverterReading(
            mode=self.modes[call.to],
            grid_voltage_v=self.volts,
            grid_current_a=reply.pop("current_a", 0.0),
            stop_cause=reply.pop("cause", StopCause.NONE),
            stop_detail=reply.pop("detail", ""),
        )
        self.now_ns += S // 100
        answer = ControlReply(reading=reading, **reply)
        self.take(self.machine.answered(call.call_id, answer, self.now_ns))

    def wait(self) -> None:
        """Let time pass until the machine wants to be called."""
        self.now_ns = max(self.now_ns, self.machine.wake_ns)
        self.take(self.machine.tick(self.now_ns))
        calls = self.machine._calls
        self.open = [call for call in self.open if call.call_id in calls]  # given up

    def to(self, phase: Phase) -> Run:
        """A healthy deal, up to a phase."""
        steps = {
            Phase.ACQUIRING: lambda: self.take(self.machine.acquire(self.now_ns)),
            Phase.QUEUED: lambda: (self.answer(), self.answer()),
            Phase.ACTIVATING: lambda: self.take(self.machine.begin(self.now_ns)),
            Phase.RAMPING_UP: self.answer,
            Phase.STARTING: self.bus_up,
            Phase.RUNNING: lambda: self.answer(self.start),
            Phase.STOPPING_CURRENT: lambda: self.abort("enough"),
            Phase.STOPPING_REFERENCE: lambda: self.answer(Op.WAIT),
            Phase.RELEASING: lambda: self.answer(Op.WAIT),
            Phase.OVER: lambda: (self.answer(Op.RELEASE), self.answer(Op.RELEASE)),
        }
        for name, step in steps.items():
            step()
            assert self.machine.phase is name
            if name is phase:
                break
        return self

    @property
    def start(self) -> ControlOperation:
        gives = self.machine.current_id == GIVER
        return Op.DISCHARGE if gives else Op.CHARGE

    def bus_up(self) -> None:
        self.volts = 350.0
        while self.machine.phase is Phase.RAMPING_UP:
            self.wait()
            while self.orders and self.machine.phase is Phase.RAMPING_UP:
                self.answer()
        self.open = [c for c in self.open if c.request.operation is not Op.HOLD]

    def abort(self, reason: str) -> None:
        self.take(self.machine.abort(reason, self.now_ns))

    def end(self) -> Deal:
        """Answer everything until it is over."""
        while self.machine.phase is not Phase.OVER:
            if self.open:
                self.answer()
            else:
                self.wait()
        return self.machine.record()


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
    run.take(run.machine.begin(run.now_ns))
    assert run.orders == [(TAKER, Op.VOLTAGE_REFERENCE)]
    run.answer()
    run.bus_up()
    assert run.orders[-1] == (GIVER, Op.DISCHARGE)
    run.answer(Op.DISCHARGE)
    assert run.machine.record().state is DealState.RUNNING
    run.wait()
    run.answer(unit_id=TAKER, battery_moved_wh=50.0, grid_moved_wh=51.0)
    assert run.machine.phase is Phase.STOPPING_CURRENT
    deal = run.end()
    assert (deal.state, deal.moved_wh, deal.received_wh) == (DealState.COMPLETED, 50.0, 50.0)
    assert deal.created_ns <= deal.started_ns < deal.stopped_ns < deal.ended_ns
    assert run.machine.wake_ns == NEVER_NS


@pytest.mark.parametrize(
    ("side", "reference", "current", "start"),
    [
        (Side.CHARGE, TAKER, GIVER, Op.DISCHARGE),
        (Side.DISCHARGE, GIVER, TAKER, Op.CHARGE),
    ],
)
def test_7_2_the_policy_says_which_side_holds_the_voltage(policy, side, reference, current, start):
    run = Run(replace(policy, voltage_reference_side=side)).to(Phase.STARTING)
    assert run.machine.deal.voltage_reference_id == reference
    assert run.machine.current_id == current
    assert run.orders[-1] == (current, start)


def test_5_4_a_unit_that_gives_no_slot_ends_the_deal_with_its_words(run):
    run.to(Phase.ACQUIRING)
    run.answer(error=ControlError.NO_SLOT, message="all 1 slots are taken")
    assert run.orders == [(GIVER, Op.RELEASE)]  # it may have locked one nevertheless
    assert run.end().state is DealState.ABORTED
    assert run.machine.refusal.message == "E001: all 1 slots are taken"


@pytest.mark.parametrize("phase", list(Phase)[1:6])
def test_w4_an_abort_in_any_phase_ends_with_both_slots_released(run, phase):
    run.to(phase)
    run.abort("no longer wanted")
    run.abort("a second reason")  # does not count
    deal = run.end()
    assert (deal.state, deal.reason) == (DealState.ABORTED, "no longer wanted")
    assert run.machine._released == {GIVER, TAKER}
    assert run.modes == {GIVER: WAIT, TAKER: WAIT}


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
    run.open.clear()
    run.abort("no longer wanted")
    assert run.orders == [(TAKER, Op.WAIT)]


def test_a_scram_is_told_from_an_abort(run):
    run.to(Phase.RUNNING)
    run.take(run.machine.abort("leak", run.now_ns, scram=True))
    assert run.end().state is DealState.SCRAMMED


@pytest.mark.parametrize("phase", [Phase.STOPPING_CURRENT, Phase.RELEASING, Phase.OVER])
def test_what_is_ending_is_not_aborted(run, phase):
    run.to(phase)
    assert run.machine.abort("too late", run.now_ns) == []
    assert run.machine.deal.reason == "enough"


@pytest.mark.parametrize("phase", [Phase.ACQUIRING, Phase.RUNNING])
def test_only_a_queued_deal_begins(run, phase):
    run.to(phase)
    assert run.machine.begin(run.now_ns) == []


def test_7_2_a_bus_that_is_up_is_tried_until_it_is_free(run):
    run.to(Phase.ACTIVATING)
    for _ in range(3):
        run.answer(
            Op.VOLTAGE_REFERENCE, error=ControlError.BUS_ENERGISED, message="the bus is at 340 V"
        )
        assert run.machine.phase is Phase.ACTIVATING
        while (TAKER, Op.VOLTAGE_REFERENCE) not in run.orders:
            run.wait()
    run.answer(Op.VOLTAGE_REFERENCE)
    assert run.machine.phase is Phase.RAMPING_UP


@pytest.mark.parametrize(
    ("phase", "error", "reason"),
    [
        (Phase.ACTIVATING, ControlError.CONVERTER, "E002: tripped"),
        (Phase.STARTING, ControlError.NOT_DEALING, "E001: tripped"),
    ],
)
def test_7_8_a_unit_that_refuses_ends_the_deal(run, phase, error, reason):
    run.to(phase)
    run.answer(error=error, message="tripped")
    assert run.machine.deal.reason == reason
    assert run.end().state is DealState.ABORTED


@pytest.mark.parametrize(
    ("phase", "reason"),
    [
        (Phase.ACTIVATING, "the bus did not become free"),
        (Phase.RAMPING_UP, "the bus did not reach its voltage within 180 s"),
        (Phase.STARTING, "E001 did not start"),
        (Phase.RUNNING, "it took more than twice the time that its current promised"),
    ],
)
def test_w16_no_phase_lasts_for_ever(run, phase, reason):
    run.to(phase)
    began_ns = run.now_ns
    while run.machine.phase is phase:
        if run.open and run.open[0].request.operation not in (Op.DISCHARGE,):
            busy = run.open[0].request.operation is Op.VOLTAGE_REFERENCE
            run.answer(**({"error": ControlError.BUS_ENERGISED} if busy else {}))
        elif run.open:
            # the order to start is never answered, and is not asked again; polls are
            run.machine._calls.pop(run.open.pop(0).call_id)
        else:
            run.volts = 0.0 if phase is Phase.RAMPING_UP else 350.0
            run.wait()
        assert run.now_ns - began_ns < 1_000 * S
    assert run.machine.deal.reason == reason
    assert run.end().state is DealState.ABORTED


def test_7_4_silence_shorter_than_the_hold_time_is_forgiven_and_longer_is_not(run):
    run.to(Phase.RUNNING)
    began_ns = run.now_ns
    while run.machine.phase is Phase.RUNNING:
        run.wait()  # nobody answers
    assert 15 * S <= run.now_ns - began_ns < 25 * S
    assert "does not answer" in run.machine.deal.reason


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
        (GIVER, {"soc_ratio": 0.19}, "E001 is down to 19.0% of charge"),
        (TAKER, {"soc_ratio": 0.96}, "E002 is up to 96.0% of charge"),
        (TAKER, {"soc_ratio": 0.19}, ""),
        (GIVER, {"soc_ratio": 0.96}, ""),
        (GIVER, {"error": ControlError.OLD_TERM, "message": "term 2 has begun"}, "E001: term 2"),
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
    assert run.machine.phase is Phase.STARTING
    (call,) = [call for call in run.open if call.request.operation is Op.DISCHARGE]
    assert call.request.energy_limit_wh == pytest.approx(49.0 + 1.5 * 49.0 / 48.5)


def test_7_4_less_than_agreed_is_not_completed(run):
    run.to(Phase.RUNNING)
    run.machine._outcome = DealState.COMPLETED
    run.take(run.machine._stop_current(run.now_ns))
    deal = run.end()
    assert (deal.state, deal.reason) == (DealState.ABORTED, "less than agreed was counted")


@pytest.mark.parametrize(
    ("side", "meter", "moved_wh"),
    [
        (Side.CHARGE, Meter.BATTERY, 8.0),
        (Side.CHARGE, Meter.GRID, 9.0),
        (Side.DISCHARGE, Meter.BATTERY, 11.0),
        (Side.DISCHARGE, Meter.GRID, 10.0),
    ],
)
def test_7_4_which_meter_counts(policy, side, meter, moved_wh):
    run = Run(replace(policy, reference_side=side), meter=meter).to(Phase.RUNNING)
    run.wait()
    run.answer(unit_id=GIVER, grid_moved_wh=10.0, battery_moved_wh=11.0)
    run.answer(unit_id=TAKER, grid_moved_wh=9.0, battery_moved_wh=8.0)
    assert run.machine.deal.moved_wh == moved_wh
    assert run.machine.deal.sent_wh == 10.0
    run.wait()
    run.answer(unit_id=GIVER, grid_moved_wh=0.0, battery_moved_wh=0.0)
    run.answer(unit_id=TAKER, grid_moved_wh=0.0, battery_moved_wh=0.0)
    assert run.machine.deal.moved_wh == moved_wh  # never less


def test_a_unit_that_still_carries_current_is_not_off_yet(run):
    run.to(Phase.RUNNING)
    run.abort("enough")
    run.answer(Op.WAIT, current_a=1.0)  # ramping down
    assert run.machine.phase is Phase.STOPPING_CURRENT
    while (GIVER, Op.WAIT) not in run.orders:
        run.wait()
    run.answer(Op.WAIT)
    assert run.machine.phase is Phase.STOPPING_REFERENCE


def test_a_silent_current_side_is_off_when_the_reference_sees_no_current(run):
    run.to(Phase.STOPPING_CURRENT)
    while (TAKER, Op.HOLD) not in run.orders:
        run.wait()
    run.answer(Op.HOLD, TAKER, current_a=1.5)
    assert run.machine.phase is Phase.STOPPING_CURRENT
    while (TAKER, Op.HOLD) not in run.orders:
        run.wait()
    run.answer(Op.HOLD, TAKER, current_a=0.0)
    assert run.machine.phase is Phase.STOPPING_REFERENCE


@pytest.mark.parametrize("phase", [Phase.STOPPING_CURRENT, Phase.STOPPING_REFERENCE])
def test_w1_units_that_stay_silent_are_waited_out_until_their_own_dead_man_has_acted(run, phase):
    run.to(phase)
    began_ns = run.now_ns
    while run.machine.phase is not Phase.OVER:
        run.wait()
    assert run.now_ns - began_ns >= 2 * TIMING.hold_ns
    assert run.machine.record().state is DealState.ABORTED


@pytest.mark.parametrize("error", [ControlError.NONE, ControlError.UNKNOWN_DEAL])
def test_a_slot_that_is_gone_is_as_good_as_released(run, error):
    run.to(Phase.RELEASING)
    run.answer(Op.RELEASE, error=error)
    run.answer(Op.RELEASE, error=error)
    assert run.machine.phase is Phase.OVER


def test_a_release_that_fails_is_tried_three_times(run):
    run.to(Phase.RELEASING)
    tries = 0
    while run.machine.phase is not Phase.OVER:
        tries += 1
        while run.open:
            run.answer(Op.RELEASE, error=ControlError.CONVERTER)
    assert tries == 1  # each answer asked again, at once
    assert run.machine._release_tries == 3


def test_a_late_answer_changes_nothing(run):
    run.to(Phase.RUNNING)
    run.wait()
    late = run.open[0]
    run.answer()
    before = run.machine.record()
    assert run.machine.answered(late.call_id, ControlReply(), run.now_ns) == []
    assert run.machine.record() == before


@pytest.mark.parametrize(
    ("phase", "looks"), [(Phase.QUEUED, False), (Phase.RUNNING, True), (Phase.RELEASING, False)]
)
def test_news_of_a_unit_makes_a_deal_on_the_bus_look_at_once(run, phase, looks):
    run.to(phase)
    run.open.clear()
    run.machine._calls.clear()
    assert bool(run.machine.look_now(run.now_ns)) is looks


def test_a_unit_is_not_asked_again_before_it_has_answered(run):
    run.to(Phase.RUNNING)
    run.wait()
    assert len(run.open) == 2
    assert run.machine.look_now(run.now_ns) == []


def test_an_answer_out_of_turn_moves_nothing_on(run):
    run.to(Phase.ACQUIRING)
    run.abort("no longer wanted")  # while the slot is being asked for
    run.answer(Op.ACQUIRE)
    assert run.machine.phase is Phase.RELEASING
