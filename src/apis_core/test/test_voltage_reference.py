"""Who holds the bus: answers and time in, orders out."""

from __future__ import annotations

import itertools
from dataclasses import replace
from random import Random

import pytest

from apis_core.config.timing import DealTiming
from apis_core.events import Call
from apis_core.grid_master.bus_state import FailureKind, Stage
from apis_core.grid_master.pending_orders import PendingOrders
from apis_core.grid_master.voltage_proof import trial_voltages_v
from apis_core.grid_master.voltage_reference import VoltageReference
from apis_core.model.errors import ProtocolMisuse
from apis_core.model.messages import ControlReply, ConverterReading
from apis_core.model.origin import Asker
from apis_core.model.types import ControlError, ControlOperation, ConverterMode
from apis_core.model.units import NEVER_NS, SECOND_NS

S = SECOND_NS
TIMING = DealTiming(
    poll_ns=5 * S,
    quick_poll_ns=1 * S,
    fresh_poll_ns=S // 20,
    dwell_ns=S // 4,
    answer_ns=2 * S,
    hold_ns=15 * S,
)
# an answer that takes 0.1 s of wall time, with simulated time 600 times as fast
FAST = DealTiming(
    poll_ns=60 * S,
    quick_poll_ns=60 * S,
    fresh_poll_ns=60 * S,
    dwell_ns=S // 4,
    answer_ns=960 * S,
    hold_ns=2100 * S,
)
Op = ControlOperation


class Bus:
    """The machine, the time, and the orders that nobody has answered yet."""

    def __init__(self, policy, seed=1, timing=TIMING) -> None:
        self.now_ns = 1_000 * S
        self.answer_takes_ns = S // 100
        orders = PendingOrders(Asker.VOLTAGE_REFERENCE, "E009", 3, timing)
        self.machine = VoltageReference(orders, policy, timing, Random(seed))
        self.open: list[Call] = []
        self.bus_v = 0.0
        self.follows = True
        self.tried: list[float] = []

    def take(self, effects) -> None:
        self.open += effects

    @property
    def failure(self) -> str:
        return self.machine.failure.reason if self.machine.failure else ""

    @property
    def failure_kind(self) -> FailureKind | None:
        return self.machine.failure.kind if self.machine.failure else None

    @property
    def orders(self) -> list[tuple[str, str, ControlOperation]]:
        return [(call.to, call.request.deal_id, call.request.operation) for call in self.open]

    def answer(self, **reply) -> None:
        call = self.open.pop(0)
        voltage_v = call.request.grid_voltage_v
        if call.request.operation is Op.VOLTAGE:
            self.tried.append(voltage_v)
        if voltage_v is not None and self.follows and "error" not in reply:
            self.bus_v = voltage_v
        is_off = call.request.operation in (Op.WAIT,)
        mode = ConverterMode.WAIT if is_off else ConverterMode.VOLTAGE_REFERENCE
        reading = ConverterReading(
            mode=reply.pop("mode", mode),
            grid_voltage_v=self.bus_v,
            grid_voltage_setpoint_v=reply.pop("setpoint_v", None),
        )
        self.now_ns += self.answer_takes_ns
        answer = ControlReply(reading=reading, **reply)
        self.take(self.machine.answered(call.origin, answer, self.now_ns))

    def wait(self) -> None:
        self.now_ns = max(self.now_ns, self.machine.wake_ns)
        self.take(self.machine.tick(self.now_ns))

    def until(self, *stages: Stage) -> Bus:
        for _ in range(10_000):
            if self.machine.stage in stages or self.failure:
                return self
            self.answer() if self.open else self.wait()
        raise AssertionError(f"stays {self.machine.stage}")

    def up(self) -> Bus:
        self.take(self.machine.start("E002", "d", self.now_ns))
        return self.until(Stage.UP)


@pytest.fixture
def bus(policy) -> Bus:
    return Bus(policy)


@pytest.mark.parametrize("seed", range(20))
def test_8_6_the_voltages_to_try_differ_and_prove_something(policy, seed):
    """W12: neither the same twice, nor one that is there already."""
    trials = trial_voltages_v(policy, Random(seed))
    assert trials[-1] == policy.grid_voltage_v
    assert len(set(trials[:-1])) == policy.authorization_trials
    assert all(330.0 <= voltage_v <= 370.0 for voltage_v in trials)
    path = [policy.grid_voltage_v, *trials]
    least_v = policy.grid_voltage_allowance_v
    assert all(abs(b - a) > least_v for a, b in itertools.pairwise(path))


def test_8_6_what_is_tried_is_drawn(policy):
    assert len({tuple(trial_voltages_v(policy, Random(seed))) for seed in range(100)}) > 30


@pytest.mark.parametrize("seed", range(20))
def test_8_6_the_way_to_all_of_them_is_short(policy, seed):
    """A converter that ramps at 30 V/s is to be through in little more than a second."""
    path = [policy.grid_voltage_v, *trial_voltages_v(policy, Random(seed))]
    assert sum(abs(b - a) for a, b in itertools.pairwise(path)) <= 33.0 + 1e-9


def test_8_6_with_few_voltages_to_try_all_are_tried(policy):
    narrow = replace(policy, grid_voltage_min_v=320.0, authorization_trials=9)
    *trials, last = trial_voltages_v(narrow, Random(1))
    assert last == 350.0
    assert len(trials) == 3
    assert all(350.0 < voltage_v <= 370.0 for voltage_v in trials)


def test_8_6_there_is_always_a_voltage_to_try(policy):
    """Also if the allowance is as large as the range has room for."""
    narrow = replace(
        policy, grid_voltage_min_v=330.0, grid_voltage_v=365.0, grid_voltage_allowance_v=9.0
    )
    trials = trial_voltages_v(narrow, Random(1))
    assert len(trials) > 1
    assert trials[-1] == 365.0 != trials[0]


def test_7_3_the_bus_comes_up_and_is_proven(policy):
    bus = Bus(replace(policy, grid_voltage_step_v=100.0)).up()
    assert bus.failure == ""
    assert len(bus.tried) == 4
    assert bus.tried[-1] == bus.bus_v == 350.0
    assert bus.machine.wake_ns == NEVER_NS  # nothing to do until somebody wants something


@pytest.mark.parametrize("step_v", [10.0, 7.5, 3.0])
def test_8_3_w31_the_voltage_goes_in_steps_to_where_it_is_to_be(policy, step_v):
    bus = Bus(replace(policy, grid_voltage_step_v=step_v)).up()
    path = [policy.grid_voltage_v, *bus.tried]
    assert all(abs(b - a) <= step_v for a, b in itertools.pairwise(path))
    assert path[-1] == policy.grid_voltage_v


def test_8_3_w31_a_bus_that_is_up_is_moved_in_steps(policy):
    bus = Bus(replace(policy, grid_voltage_step_v=4.0)).up()
    bus.tried.clear()
    bus.take(bus.machine.set_voltage(337.0, bus.now_ns))
    while bus.open or bus.machine.wake_ns < NEVER_NS:
        bus.answer() if bus.open else bus.wait()
    assert bus.tried == [346.0, 342.0, 338.0, 337.0]
    assert bus.machine.voltage_v == 337.0


def test_8_6_w12_the_other_unit_of_the_deal_must_see_the_bus_move_too(bus):
    bus.take(bus.machine.start("E002", "d", bus.now_ns, "E001"))
    bus.until(Stage.AUTHORISING)
    asked = 0
    while bus.machine.stage is Stage.AUTHORISING and not bus.failure:
        if bus.open and bus.open[0].to == "E001":
            asked += 1
            held_v, bus.bus_v = bus.bus_v, 350.0  # its own piece of line does not move
            bus.answer()
            bus.bus_v = held_v
        else:
            bus.answer() if bus.open else bus.wait()
    assert asked > 1
    assert bus.failure_kind is FailureKind.UNPROVEN


def test_8_6_w12_with_a_witness_that_sees_it_the_bus_is_proven(bus):
    bus.take(bus.machine.start("E002", "d", bus.now_ns, "E001"))
    witnessed = 0
    while bus.machine.stage is not Stage.UP:
        witnessed += bool(bus.open) and bus.open[0].to == "E001"
        bus.answer() if bus.open else bus.wait()
    assert witnessed > bus.machine._policy.authorization_trials


def test_8_6_a_bus_that_does_not_follow_has_another_source(bus):
    bus.take(bus.machine.start("E002", "d", bus.now_ns))
    bus.until(Stage.AUTHORISING)
    bus.follows = False
    bus.until(Stage.UP)
    assert bus.failure_kind is FailureKind.UNPROVEN
    assert "another source holds it" in bus.failure


@pytest.mark.parametrize("witness_id", ["", "E001"])
@pytest.mark.parametrize("takes_s", [50, 300])
def test_8_6_who_answers_late_is_waited_for(policy, takes_s, witness_id):
    """Under a fast clock the bus has followed long before anybody can say so."""
    bus = Bus(policy, timing=FAST)
    bus.answer_takes_ns = takes_s * S
    bus.take(bus.machine.start("E002", "d", bus.now_ns, witness_id))
    bus.until(Stage.UP)
    assert bus.failure == ""
    assert len(set(bus.tried)) > bus.machine._policy.authorization_trials
    bus.take(bus.machine.end(bus.now_ns))
    bus.until(Stage.OFF)
    bus.follows = False  # and it is still noticed if it does not
    bus.bus_v = 350.0
    bus.take(bus.machine.start("E002", "d", bus.now_ns, witness_id))
    bus.until(Stage.UP)
    assert "another source holds it" in bus.failure


def test_8_6_a_voltage_that_was_not_heard_is_ordered_again(bus):
    bus.take(bus.machine.start("E002", "d", bus.now_ns))
    bus.until(Stage.AUTHORISING)
    (lost,) = bus.open
    bus.open.clear()
    while not bus.open:
        bus.wait()
    assert bus.open[0].request.operation is Op.VOLTAGE
    assert bus.open[0].request.grid_voltage_v == lost.request.grid_voltage_v
    bus.until(Stage.UP)
    assert bus.failure == ""


@pytest.mark.parametrize("stage", [Stage.ACTIVATING, Stage.RAMPING_UP, Stage.AUTHORISING])
def test_8_6_silence_says_nothing_about_the_bus(bus, stage):
    bus.take(bus.machine.start("E002", "d", bus.now_ns))
    bus.until(stage)
    began_ns = bus.now_ns
    while not bus.failure:
        bus.open.clear()
        bus.wait()
    assert bus.failure == "E002 does not answer"
    assert bus.failure_kind is not FailureKind.BUS
    assert bus.now_ns - began_ns < 300 * S


@pytest.mark.parametrize("stage", [Stage.RAMPING_UP, Stage.AUTHORISING])
def test_8_6_a_converter_that_is_slow_to_be_read_once_ends_nothing(bus, stage):
    """It is read so often meanwhile that one reading in a hundred may well be lost."""
    bus.take(bus.machine.start("E002", "d", bus.now_ns, "E001"))
    bus.until(stage)
    while not (bus.open and bus.open[0].request.operation is Op.HOLD):
        bus.answer() if bus.open else bus.wait()
    bus.answer(error=ControlError.CONVERTER, message="its converter does not answer")
    bus.until(Stage.UP)
    assert (bus.machine.stage, bus.failure) == (Stage.UP, "")


def test_7_2_a_bus_that_is_up_is_tried_until_it_is_free(bus):
    bus.take(bus.machine.start("E002", "d", bus.now_ns))
    for _ in range(3):
        bus.answer(error=ControlError.BUS_ENERGISED, message="the bus is at 340 V")
        assert bus.machine.stage is Stage.ACTIVATING
        bus.wait()
        assert bus.orders == [("E002", "d", Op.VOLTAGE_REFERENCE)]
    bus.until(Stage.UP)
    assert bus.failure == ""


@pytest.mark.parametrize(
    ("stage", "failure"),
    [
        (Stage.ACTIVATING, "the bus did not become free"),
        (Stage.RAMPING_UP, "the bus did not reach its voltage within 180 s"),
    ],
)
def test_w16_no_stage_lasts_for_ever(bus, stage, failure):
    bus.take(bus.machine.start("E002", "d", bus.now_ns))
    bus.follows = False
    began_ns = bus.now_ns
    while not bus.failure:
        if not bus.open:
            bus.wait()
        elif stage is Stage.ACTIVATING:
            bus.answer(error=ControlError.BUS_ENERGISED)
        else:
            bus.answer()
        assert bus.now_ns - began_ns < 1_000 * S
    assert (bus.failure, bus.failure_kind) == (failure, FailureKind.BUS)


def test_a_bus_that_is_not_off_cannot_be_started_or_adopted(bus):
    bus.take(bus.machine.start("E002", "d", bus.now_ns))
    with pytest.raises(ProtocolMisuse, match="ACTIVATING to ACTIVATING"):
        bus.machine.start("E002", "d", bus.now_ns)
    with pytest.raises(ProtocolMisuse, match="ACTIVATING to UP"):
        bus.machine.adopt("E002", "d", bus.now_ns)
    with pytest.raises(ProtocolMisuse, match="ACTIVATING to HANDING_OVER"):
        bus.machine.hand_over("E003", "e", bus.now_ns)


def test_a_unit_that_refuses_or_trips_is_named(bus):
    bus.take(bus.machine.start("E002", "d", bus.now_ns))
    bus.answer(error=ControlError.CONVERTER, message="tripped")
    assert bus.failure == "E002: tripped"
    bus.take(bus.machine.end(bus.now_ns))
    bus.answer()
    bus.up()
    bus.take(bus.machine.look_now(bus.now_ns))
    bus.answer(mode=ConverterMode.WAIT)
    assert bus.failure == "E002: its converter went to WAIT by itself"


@pytest.mark.parametrize(("take_over", "voltage_v"), [("theoretical", 350.0), ("actual", None)])
def test_7_6_1_the_four_steps_of_a_hand_over(policy, take_over, voltage_v):
    bus = Bus(replace(policy, take_over_dvg=take_over)).up()
    bus.take(bus.machine.hand_over("E003", "e", bus.now_ns))
    seen = []
    while bus.machine.stage is Stage.HANDING_OVER:
        seen += bus.orders
        assert len(bus.open) == 1  # strictly one after the other
        if bus.open[0].request.operation is Op.WILL_TAKE_OVER:
            assert bus.open[0].request.grid_voltage_v == voltage_v
        bus.answer()
    assert seen == [
        ("E002", "d", Op.WILL_HAND_OVER),
        ("E003", "e", Op.WILL_TAKE_OVER),
        ("E002", "d", Op.DID_HAND_OVER),
        ("E003", "e", Op.DID_TAKE_OVER),
    ]
    assert (bus.machine.stage, bus.machine.unit_id) == (Stage.UP, "E003")


def test_w27_an_heir_that_refuses_leaves_all_as_it_was(bus):
    bus.up()
    bus.take(bus.machine.hand_over("E003", "e", bus.now_ns))
    bus.answer()
    bus.answer(error=ControlError.NOT_DEALING, message="no")
    assert bus.orders == [("E002", "d", Op.DID_TAKE_OVER)]  # droop off again
    assert (bus.machine.stage, bus.machine.unit_id) == (Stage.UP, "E002")
    assert bus.machine.unwilling_ids == {"E003"}
    assert bus.failure == ""


def test_w27_the_next_heir_is_asked_once_the_droop_is_off_or_stays(bus):
    """Two orders on their way to one unit may overtake each other."""
    bus.up()
    bus.take(bus.machine.hand_over("E003", "e", bus.now_ns))
    bus.answer()
    bus.answer(error=ControlError.NOT_DEALING, message="no")
    while bus.machine.stage is not Stage.UP:
        bus.answer()
    bus.take(bus.machine.hand_over("E004", "e", bus.now_ns))
    seen = []
    while bus.machine.stage is Stage.HANDING_OVER and len(seen) < 20:
        to_the_old_one = [order for order in bus.orders if order[0] == "E002"]
        assert len(to_the_old_one) <= 1
        seen += bus.orders[:1]
        bus.answer()
    assert bus.machine.unit_id == "E004"
    assert ("E004", "e", Op.WILL_TAKE_OVER) in seen


@pytest.mark.parametrize("step", range(4))
def test_w27_a_step_of_a_hand_over_that_is_lost_is_asked_again(bus, step):
    bus.up()
    bus.take(bus.machine.hand_over("E003", "e", bus.now_ns))
    for _ in range(step):
        bus.answer()
    lost = bus.orders
    bus.open.clear()
    while not bus.open:
        bus.wait()
    assert bus.orders == lost
    bus.until(Stage.UP)
    assert (bus.machine.unit_id, bus.failure) == ("E003", "")


@pytest.mark.parametrize("step", [0, 2, 3])
def test_w27_a_step_that_is_refused_once_it_has_begun_fails_the_hand_over(bus, step):
    bus.up()
    bus.take(bus.machine.hand_over("E003", "e", bus.now_ns))
    for _ in range(step):
        bus.answer()
    refuser = bus.orders[0][0]
    bus.answer(error=ControlError.CONVERTER, message="no")
    assert bus.failure == f"{refuser}: no"
    assert bus.machine.unwilling_ids == set()


def test_7_6_1_a_late_word_of_an_earlier_step_moves_nothing_on(bus):
    bus.up()
    bus.take(bus.machine.hand_over("E003", "e", bus.now_ns))
    late = bus.open[0]
    bus.answer()
    before = bus.orders
    assert bus.machine.answered(late.origin, ControlReply(), bus.now_ns) == []
    assert bus.orders == before


def test_7_6_1_the_new_reference_holds_the_voltage_that_it_says(policy):
    bus = Bus(replace(policy, take_over_dvg="actual")).up()
    bus.take(bus.machine.hand_over("E003", "e", bus.now_ns))
    while bus.machine.stage is Stage.HANDING_OVER:
        bus.answer(setpoint_v=348.5)
    assert bus.machine.voltage_v == 348.5


def test_7_5_a_reference_is_read_at_short_intervals_while_it_is_watched(bus):
    bus.up()
    assert bus.machine.wake_ns == NEVER_NS
    bus.take(bus.machine.watch(bus.now_ns))
    assert bus.orders == [("E002", "d", Op.HOLD)]
    assert bus.machine.watch(bus.now_ns) == []  # it is being watched
    bus.answer()
    assert bus.machine.sample.reading.grid_voltage_v == 350.0
    began_ns = bus.now_ns
    bus.wait()
    assert bus.now_ns - began_ns <= TIMING.quick_poll_ns
    assert bus.orders == [("E002", "d", Op.HOLD)]
    bus.machine.unwatch()
    bus.answer()
    bus.wait()
    bus.answer()
    assert bus.machine.wake_ns == NEVER_NS


def test_the_voltage_of_a_bus_that_is_up_can_be_moved(bus):
    bus.up()
    bus.take(bus.machine.set_voltage(355.0, bus.now_ns))
    (call,) = bus.open
    assert (call.to, call.request.operation) == ("E002", Op.VOLTAGE)
    assert call.request.grid_voltage_v == bus.machine.voltage_v == 355.0


def test_w5_an_adopted_bus_is_up_and_can_be_ended(bus):
    bus.machine.adopt("E002", "d", bus.now_ns)
    assert (bus.machine.stage, bus.machine.unit_id) == (Stage.UP, "E002")
    bus.take(bus.machine.look_now(bus.now_ns))
    assert bus.orders == [("E002", "d", Op.HOLD)]
    bus.answer()
    bus.take(bus.machine.end(bus.now_ns))
    assert bus.orders == [("E002", "", Op.WAIT)]
    bus.until(Stage.OFF)
    assert bus.machine.unit_id == ""


@pytest.mark.parametrize("step", range(4))
def test_w27_a_hand_over_that_does_not_go_on_takes_both_to_wait(bus, step):
    bus.up()
    bus.take(bus.machine.hand_over("E003", "e", bus.now_ns))
    for _ in range(step):
        bus.answer()
    began_ns = bus.now_ns
    while not bus.failure:
        bus.open.clear()  # silence
        bus.wait()
    assert bus.now_ns - began_ns <= 3 * TIMING.answer_ns
    bus.open.clear()
    bus.take(bus.machine.end(bus.now_ns))
    while {unit_id for unit_id, _, operation in bus.orders if operation is Op.WAIT} != {
        "E002",
        "E003",
    }:
        bus.wait()
    while bus.open:
        bus.answer()
    assert bus.machine.stage is Stage.OFF


def test_7_6_the_end_is_waited_for(bus):
    bus.up()
    bus.take(bus.machine.end(bus.now_ns))
    bus.answer(mode=ConverterMode.VOLTAGE_REFERENCE)  # still ramping down
    assert bus.machine.stage is Stage.ENDING
    bus.until(Stage.OFF)
    assert bus.machine.unit_id == ""


def test_w1_a_reference_that_stays_silent_is_waited_out(bus):
    bus.up()
    bus.take(bus.machine.end(bus.now_ns))
    began_ns = bus.now_ns
    while bus.machine.stage is not Stage.OFF:
        bus.open.clear()
        bus.wait()
    assert bus.now_ns - began_ns >= 2 * TIMING.hold_ns
