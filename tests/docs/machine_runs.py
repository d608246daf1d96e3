"""Random runs of the machines: every change of state is noted, with what brought it about.

Each machine is driven by many seeded runs: a deal by units that answer, refuse, lie and fall
silent; an election by a network that delays and loses, and by processes that get no turn for a
while. A change that is not in a machine's table raises :class:`ProtocolMisuse` here, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path
from random import Random
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

from apis_core.cluster.election import Election
from apis_core.config.policy import parse_policy
from apis_core.config.timing import Timing
from apis_core.converter.energy_limit import Sample
from apis_core.converter.stop_sequence import StopSequence
from apis_core.events import Broadcast, Call, Effect
from apis_core.grid_master import hand_over
from apis_core.grid_master.bus_state import Stage
from apis_core.grid_master.deal.bus_view import BusView
from apis_core.grid_master.deal.machine import DealMachine
from apis_core.grid_master.deal.transitions import Phase
from apis_core.grid_master.pending_orders import PendingOrders
from apis_core.grid_master.voltage_reference import VoltageReference
from apis_core.model.messages import (
    ControlReply,
    ConverterReading,
    Deal,
    GridMasterClaim,
    LeaseGrant,
)
from apis_core.model.origin import Asker
from apis_core.model.transitions import Transitions, check
from apis_core.model.types import ControlError, ControlOperation, ConverterMode, StopCause
from apis_core.model.units import NEVER_NS, SECOND_NS
from apis_driver.errors import DeviceError
from apis_driver.stopping import Stopper

ROOT = Path(__file__).resolve().parents[2]
_FILE = ROOT / "src" / "apis_core" / "test" / "data" / "policy.json"
POLICY = parse_policy(_FILE.read_text(), _FILE.name)
DEAL_RUNS = 30000
BUS_RUNS = 3000
ELECTION_RUNS = 1000
STOP_RUNS = 300
LEAST_RUNS = 200
UNITS = ("E001", "E002", "E003")

Changes = set[tuple[str, str, str]]  # before, after, what brought it about


def rows(table: Transitions[Any]) -> Changes:
    """A machine's table, one change for each cause."""
    return {
        (before.name, after.name, cause)
        for before, to in table.items()
        for after, causes in to.items()
        for cause in causes.split(", ")
    }


class Observer:
    """Notes the changes of state of the machines of one module, and why they came.

    Args:
        table: Of the machine that is run.

    Attributes:
        cause: What is being done to the machine.
        seen: The changes.
    """

    def __init__(self, table: Transitions[Any]) -> None:
        self.cause = ""
        self.seen: Changes = set()
        self._rows = rows(table)

    def seeds(self, limit: int) -> Iterator[int]:
        """Some two hundred, and then as many as it takes until all of the table has been seen.

        Args:
            limit: So many at most.
        """
        for seed in range(limit):
            if seed >= LEAST_RUNS and self.seen >= self._rows:
                return
            yield seed

    @contextmanager
    def watching(self, module: ModuleType) -> Iterator[Observer]:
        """While the machines of a module run."""
        with patch.object(module, "check", self._check):
            yield self

    def _check(self, table: Transitions[Any], before: Enum, after: Enum) -> None:
        check(table, before, after)
        self.seen.add((before.name, after.name, self.cause))


def run_deals(observer: Observer) -> None:
    """Many deals, each with units that behave as they like."""
    timing = Timing.of(POLICY).deal
    for seed in observer.seeds(DEAL_RUNS):
        random = Random(seed)
        health = random.choice(
            [0.6, 0.9, 0.97, 1.0]
        )  # share of answers that are as they should be
        deal = Deal(
            deal_id="d",
            request_unit_id="E002",
            accept_unit_id="E001",
            discharge_unit_id="E001",
            charge_unit_id="E002",
            energy_wh=50.0,
            current_a=2.0,
        )
        now_ns = 1
        holder = random.choice(["E001", "E002", "E002", "E003"])
        is_off = random.random() < 0.3  # no correction helps
        is_adopted = random.random() < 0.1
        if is_adopted:
            deal = replace(deal, voltage_reference_id=holder)
        machine = DealMachine(deal, POLICY, timing, now_ns)
        machine.see(BusView(is_alone=random.random() < 0.5))
        counts = [_Count(), _Count()] if random.random() < 0.1 else [_Count()] * 2
        units = {
            unit_id: _Unit(random, health, count)
            for unit_id, count in zip(deal.unit_ids, counts, strict=True)
        }
        if is_adopted:
            observer.cause = "adopt"
            pending = _calls(machine.adopt(now_ns, {}))
            if holder in units:
                units[holder].hold_voltage()
        else:
            observer.cause = "answer"
            pending = _calls(machine.acquire(now_ns))
        for _ in range(150):
            if machine.phase is Phase.OVER:
                break
            chance = random.random()
            if random.random() < 0.05:
                now_ns += random.choice([10, 60, 200, 1000]) * SECOND_NS  # everybody was asleep
            if random.random() < (0.1 if machine.phase is Phase.RUNNING else 0.02):
                observer.cause = "abort"
                pending += _calls(machine.abort("no longer wanted", now_ns))
            elif chance < 0.5 and (machine.phase is Phase.QUEUED or machine.awaits_bus):
                observer.cause = "bus"
                pending += _calls(_bus(machine, holder, random, now_ns))
                if machine.phase is Phase.STARTING and holder in units:
                    units[holder].hold_voltage()
            elif machine.phase is Phase.COMPENSATING and chance < 0.5:
                observer.cause = "reference"
                now_ns += SECOND_NS
                current_a = 2.1 if is_off else random.choice([2.0, 2.1, 0.0])
                reading = ConverterReading(grid_current_a=current_a)
                sample = Sample(ControlReply(reading=reading), now_ns, now_ns)
                pending += _calls(machine.hear_reference(sample, 2.0, now_ns))
            elif machine.phase is Phase.LEAVING and chance < 0.5:
                observer.cause = "bus"
                is_kept = random.random() < 0.8  # its unit holds the bus for others
                leave = machine.leave_reference if is_kept else machine.left
                pending += _calls(leave(now_ns))
            elif machine.phase is Phase.RUNNING and chance < 0.1:
                observer.cause = "bus"
                holder = random.choice(["E001", "E002", "E003"])
                machine.reference_moved(holder, now_ns)
            elif pending and chance < 0.95:
                call = pending.pop(0)
                now_ns += random.randrange(1, SECOND_NS // 10)
                reply = units[call.to].obey(call)
                if random.random() < health:
                    observer.cause = "answer"
                    pending += _calls(machine.answered(call.origin, reply, now_ns))
            elif machine.wake_ns < NEVER_NS:
                now_ns = max(now_ns + 1, machine.wake_ns)
                observer.cause = "time"
                pending += _calls(machine.tick(now_ns))


def _bus(machine: DealMachine, holder: str, random: Random, now_ns: int) -> list[Effect]:
    """The bus comes up for a deal, is up already, or proves not to be alone."""
    order = [Phase.ACTIVATING, Phase.RAMPING_UP, Phase.AUTHORISING]
    if machine.phase is Phase.QUEUED and random.random() < 0.5:
        machine.await_bus(holder, Phase.ACTIVATING, now_ns)
    elif machine.awaits_bus and random.random() < 0.25:
        return machine.reset("another source holds it", now_ns)
    elif machine.phase in order[:2] and random.random() < 0.9:
        machine.await_bus(holder, order[order.index(machine.phase) + 1], now_ns)
    else:
        return machine.start(holder, now_ns)
    return []


class _Count:
    """What has moved: both units count the same, unless a meter lies."""

    moved_wh = 0.0


class _Unit:
    """One unit of a deal, as simple as can be."""

    def __init__(self, random: Random, health: float, count: _Count) -> None:
        self._random = random
        self._health = health
        self._mode = ConverterMode.WAIT
        self._cause = StopCause.NONE
        self._volts = 0.0
        self._count = count
        self._current_a = 2.0

    def hold_voltage(self) -> None:
        """It is the reference now, which is not this machine's order."""
        self._mode, self._cause = ConverterMode.VOLTAGE_REFERENCE, StopCause.NONE

    def obey(self, call: Call) -> ControlReply:
        operation = call.request.operation
        self._current_a = call.request.grid_current_a or self._current_a
        modes = {
            ControlOperation.VOLTAGE_REFERENCE: ConverterMode.VOLTAGE_REFERENCE,
            ControlOperation.DISCHARGE: ConverterMode.DISCHARGE,
            ControlOperation.CHARGE: ConverterMode.CHARGE,
            ControlOperation.WAIT: ConverterMode.WAIT,
            ControlOperation.RELEASE: ConverterMode.WAIT,
        }
        if self._random.random() > self._health:
            errors = (ControlError.CONVERTER, ControlError.BUS_ENERGISED, ControlError.NOT_DEALING)
            return ControlReply(error=self._random.choice(errors), message="no")
        is_share = operation in (ControlOperation.CHARGE, ControlOperation.DISCHARGE)
        holds = self._mode is ConverterMode.VOLTAGE_REFERENCE  # a share orders it nothing
        if operation in modes and not (is_share and holds):
            self._mode, self._cause = modes[operation], StopCause.NONE
        carries = (ConverterMode.DISCHARGE, ConverterMode.CHARGE)
        if self._mode in carries and self._random.random() < 0.05:
            self._mode, self._cause = ConverterMode.WAIT, StopCause.ENERGY_REACHED
        if self._random.random() > self._health:
            self._mode, self._cause = ConverterMode.WAIT, StopCause.TRIP
        if operation is ControlOperation.HOLD and self._mode is not ConverterMode.WAIT:
            self._volts = min(self._volts + self._random.choice([100.0, 0.0]), 350.0)
            self._count.moved_wh += self._random.choice([0.0, 5.0])
        sign = {ConverterMode.CHARGE: 1.0, ConverterMode.DISCHARGE: -1.0}.get(self._mode, 1.0)
        reading = ConverterReading(
            mode=self._mode,
            stop_cause=self._cause,
            grid_voltage_v=self._volts,
            grid_current_a=self._random.choice([0.0, sign, sign, sign]) * self._current_a,
            grid_current_setpoint_a=self._current_a if self._mode.is_active else 0.0,
        )
        return ControlReply(
            reading=reading,
            deal_current_a=self._current_a if self._mode.is_active else 0.0,
            grid_moved_wh=self._count.moved_wh,
            battery_moved_wh=self._count.moved_wh,
            soc_ratio=self._random.choice([0.5, 0.5, 0.5, 0.5, 0.1]),
        )


def run_buses(observer: Observer) -> None:
    """Many buses that are brought up, handed over and ended."""
    steps = Observer(hand_over.TRANSITIONS)
    with steps.watching(hand_over):
        _run_buses(observer, steps, observer.seeds(BUS_RUNS))


def run_hand_overs(observer: Observer) -> None:
    """The same, with an eye on the steps of the hand-overs."""
    _run_buses(SimpleNamespace(), observer, observer.seeds(BUS_RUNS))


def _run_buses(stages: Any, steps: Observer, seeds: Iterable[int]) -> None:
    timing = Timing.of(POLICY).deal
    for seed in seeds:
        random = Random(seed)
        health = random.choice([0.8, 0.9, 0.97, 1.0])
        falls_silent = random.random() < 0.1  # at the end
        orders = PendingOrders(Asker.VOLTAGE_REFERENCE, "E009", 1, timing)
        machine = VoltageReference(orders, POLICY, timing, random)
        now_ns, bus_v = SECOND_NS, 0.0
        pending: list[Call] = []
        for _ in range(120):
            chance = random.random()
            stages.cause = "deals"
            if machine.stage is Stage.OFF and chance < 0.1:
                stages.cause = "adopt"
                machine.adopt("E001", "d", now_ns)
            elif machine.stage is Stage.OFF and chance < 0.3:
                pending = _calls(machine.start("E001", "d", now_ns))
            elif machine.take_failure() or random.random() < 0.02:
                pending += _calls(machine.end(now_ns))
            elif machine.stage is Stage.UP and chance < 0.3:
                successor = random.choice([unit for unit in UNITS if unit != machine.unit_id])
                joins = random.random() < 0.5
                pending += _calls(machine.hand_over(successor, "e", now_ns, joins=joins))
            elif pending and chance < 0.95:
                call = pending.pop(0)
                if (falls_silent and machine.stage is Stage.ENDING) or random.random() > health:
                    continue  # nobody hears of it
                now_ns += SECOND_NS // 10
                goal_v = call.request.grid_voltage_v
                if goal_v is not None and random.random() < health:
                    bus_v = goal_v
                reply = _holder_says(call, bus_v, random, health)
                stages.cause = "answer"
                steps.cause = "answer" if reply.error is ControlError.NONE else "refusal"
                pending += _calls(machine.answered(call.origin, reply, now_ns))
            elif machine.wake_ns < NEVER_NS:
                stages.cause = steps.cause = "time"
                now_ns = max(now_ns + 1, machine.wake_ns)
                pending += _calls(machine.tick(now_ns))


def _holder_says(call: Call, bus_v: float, random: Random, health: float) -> ControlReply:
    """What a unit answers that holds the voltage, or was to."""
    is_odd = random.random() > health
    is_off = is_odd is not (call.request.operation is ControlOperation.WAIT)
    error = ControlError.NONE
    if random.random() > health:
        errors = (ControlError.CONVERTER, ControlError.NOT_DEALING, ControlError.UNKNOWN_DEAL)
        error = random.choice(errors)
    mode = ConverterMode.WAIT if is_off else ConverterMode.VOLTAGE_REFERENCE
    return ControlReply(error=error, reading=ConverterReading(mode=mode, grid_voltage_v=bus_v))


def run_elections(observer: Observer) -> None:
    """Many small clusters that are cut apart, healed, slowed down, and ended."""
    timing = Timing.of(POLICY).election
    for seed in observer.seeds(ELECTION_RUNS):
        random = Random(seed)
        members = UNITS if random.random() < 0.9 else UNITS[:1]
        units = {
            unit_id: Election(
                unit_id=unit_id,
                instance_id=unit_id,
                member_ids=members,
                timing=timing,
                random=random,
                now_ns=0,
            )
            for unit_id in members
        }
        now_ns, loss = 0, 0.0
        asleep_until_ns = dict.fromkeys(members, 0)
        mail: list[tuple[int, int, str, object]] = []
        for step in range(250):
            if random.random() < 0.05:
                loss = random.choice([0.0, 0.0, 0.3, 1.0])
            if random.random() < 0.02:  # it gets no turn, and hears late what was said meanwhile
                sleeper = random.choice(members)
                asleep_until_ns[sleeper] = now_ns + random.choice([1, 2, 4]) * timing.lease_ns
            wakes_ns = {u: max(units[u].wake_ns, asleep_until_ns[u]) for u in members}
            who = min(members, key=lambda unit_id: wakes_ns[unit_id])
            heard = [(max(sent[0], asleep_until_ns[sent[2]]), *sent) for sent in mail]
            if heard and (min(heard)[0], random.random()) <= (wakes_ns[who], 0.5):
                due_ns, *first = min(heard)
                mail.remove(tuple(first))
                now_ns, who, message = max(now_ns, due_ns), first[2], first[3]
                if isinstance(message, GridMasterClaim):
                    observer.cause = "claim"
                    effects = units[who].hear_claim(message, now_ns)
                elif isinstance(message, LeaseGrant):
                    observer.cause = "grant"
                    effects = units[who].hear_grant(message, now_ns)
            elif random.random() < 0.01:
                observer.cause, who = "end", random.choice(members)
                effects = units[who].resign(now_ns)
            elif random.random() < 0.01:
                observer.cause, who = "fault", random.choice(members)
                effects = units[who].step_down(now_ns)
            elif wakes_ns[who] < NEVER_NS:
                now_ns = max(now_ns, wakes_ns[who])
                observer.cause = "time"
                effects = units[who].tick(now_ns)
            else:
                effects = []
            for effect in effects:
                for to in members:
                    if isinstance(effect, Broadcast) and (to == who or random.random() >= loss):
                        delay_ns = random.randrange(1, SECOND_NS * random.choice([1, 1, 4]))
                        mail.append((now_ns + delay_ns, 3 * step + len(mail), to, effect.message))


class _Converter:
    """A converter that may not answer, and may not obey."""

    def __init__(self, random: Random, observer: Observer) -> None:
        self._random = random
        self._observer = observer
        self.mode = self.ordered = ConverterMode.DISCHARGE
        self.age_s = 0.1
        self.carries_current = False
        self.device = SimpleNamespace(dead_man=None, set_mode=self._set_mode)
        self.counter = SimpleNamespace(note_stop=_nothing, set_limit=_nothing)
        self.status = SimpleNamespace(alarm_text="", mode=self.mode, mode_code=0)
        self.note_failure = self.complain = self.rest = _nothing

    def _set_mode(self, mode: ConverterMode, deadline_s: float) -> None:
        if self._random.random() < 0.3:
            raise DeviceError("it does not answer")
        self._observer.cause = "device"

    def read(self, deadline_s: float) -> None:
        modes = (ConverterMode.WAIT, ConverterMode.DISCHARGE)
        self.mode = self._random.choice(modes)


def _nothing(*_: object) -> None:
    pass


def run_stops(observer: Observer) -> None:
    """Many stops of converters that are slow, silent or lost."""
    for seed in observer.seeds(STOP_RUNS):
        random, now_s = Random(seed), 0.0
        times = SimpleNamespace(plant_rate=1.0)
        times.now_s = times.plant_s = lambda: now_s  # noqa: B023 (it is called in this turn only)
        settings = SimpleNamespace(order_delay_s=0.0, wait_limit_s=2.0)
        stopper = Stopper(_Converter(random, observer), settings, times)  # type: ignore[arg-type]
        for _ in range(50):
            now_s += 1.0
            observer.cause = random.choice(["stop", "open", "device", "reading", "time"])
            match observer.cause:
                case "stop":
                    stopper.stop(StopCause.NONE, "")
                case "open":
                    stopper.note_opened(random.choice([None, "unplugged"]))
                case "device":
                    stopper.say_wait()
                case "reading":
                    stopper.look(now_s)
                case "time":
                    stopper.see_that_it_stops()


def run_stop_sequences(observer: Observer) -> None:
    """Many stops of units whose buses are quiet, busy, or busy again."""
    for seed in observer.seeds(STOP_RUNS):
        random, now_ns = Random(seed), 0
        sequence = StopSequence(SECOND_NS)
        sequence.note_answer(True, now_ns)
        for _ in range(20):
            now_ns += SECOND_NS
            if not sequence.is_under_way:
                observer.cause = "stop"
                sequence.begin("a test", None, now_ns + 5 * SECOND_NS)
            flows = random.choice([True, False])
            is_late = now_ns >= sequence.due_ns
            observer.cause = "current" if flows else "no current"
            if flows and is_late:
                observer.cause = "time"
            mode = ConverterMode.VOLTAGE_REFERENCE
            current_a = random.uniform(0.2, 2.0) if flows else 0.0
            sequence.next_order(ConverterReading(mode=mode, grid_current_a=current_a), now_ns)
            if random.random() < 0.2:
                observer.cause = "off"
                sequence.note_off(now_ns, is_answer_awaited=False)


def _calls(effects: list[Effect]) -> list[Call]:
    return [effect for effect in effects if isinstance(effect, Call)]
