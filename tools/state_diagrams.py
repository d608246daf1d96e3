"""Write docs/state-diagrams.md: what the machines of apis_core do, found by letting them do it.

    python tools/state_diagrams.py            write the file
    python tools/state_diagrams.py --check    say whether it is what it would become

Each machine is driven by many seeded random runs: a deal by units that answer, refuse, lie and
fall silent; an election by a network that delays and loses. Every change of state is noted with
what brought it about. The same code gives the same text.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from random import Random
from unittest.mock import patch

from apis_core.cluster.election import Election, Role
from apis_core.config.policy import parse_policy
from apis_core.config.timing import Timing
from apis_core.converter.energy_limit import Sample
from apis_core.events import Broadcast, Call, Effect
from apis_core.grid_master.deal import machine as deal_machine
from apis_core.grid_master.deal.bus_view import BusView
from apis_core.grid_master.deal.machine import DealMachine
from apis_core.grid_master.deal.progress import DealProgress
from apis_core.grid_master.deal.transitions import Phase
from apis_core.grid_master.pending_orders import PendingOrders
from apis_core.grid_master.voltage_reference import Stage, VoltageReference
from apis_core.model.messages import (
    ControlReply,
    ConverterReading,
    Deal,
    GridMasterClaim,
    LeaseGrant,
)
from apis_core.model.origin import Asker
from apis_core.model.types import ControlError, ControlOperation, ConverterMode, StopCause
from apis_core.model.units import NEVER_NS, SECOND_NS

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "state-diagrams.md"
POLICY = ROOT / "src" / "apis_core" / "test" / "data" / "policy.json"
DEAL_RUNS = 4000
BUS_RUNS = 1500
ELECTION_RUNS = 300
UNITS = ("E001", "E002", "E003")

Edges = dict[tuple[str, str], set[str]]

INTRO = """\
# State diagrams

Written by `tools/state_diagrams.py`, which lets the machines run and notes what they do; do not
edit. A label says what brings the change about.
"""
DEAL_TEXT = """\
## A deal, as the grid master runs it

`Phase` in [`transitions.py`](../src/apis_core/apis_core/grid_master/deal/transitions.py).
*Answer* is what a unit said to an
order, *time* is that something did not come in time (an answer, or the end of the phase), *abort*
the grid master's wish to end it, *bus* what the grid master did with the bus for it, *reference*
a reading of the unit that holds the bus, *adopt* that a new grid master goes on with it.
"""
BUS_TEXT = """\
## The voltage of the bus, as the grid master steers it

`Stage` in [`voltage_reference.py`](../src/apis_core/apis_core/grid_master/voltage_reference.py).
*Deals* is
what the deals ask for: a bus, another unit to hold it, its end. *Adopt* is that a new grid master
goes on with a bus that is up.
"""
ELECTION_TEXT = """\
## A unit in the election

`Role` in [`election.py`](../src/apis_core/apis_core/cluster/election.py).
*Claim* is a message of one who
leads or wants to, *grant* an answer to our own claim, *time* a wake-up of our own, *end* the end
of the process.
"""


class Observer:
    """Notes the changes of one attribute of the instances of a class, and why they came."""

    def __init__(self) -> None:
        self.edges: Edges = defaultdict(set)
        self.cause = "begin"

    def watch(self, base: type, name: str) -> type:
        """A subclass whose changes are noted."""
        observer = self

        class Watched(base):  # type: ignore[misc]
            def __setattr__(self, key: str, value: object) -> None:
                if key == name:
                    before = getattr(self, name, None)
                    if before is not value:
                        observer.note(before, value)
                super().__setattr__(key, value)

        return Watched

    def note(self, before: object, after: object) -> None:
        """One change."""
        source = before.name if before is not None else "[*]"  # type: ignore[attr-defined]
        cause = self.cause if before is not None else ""
        self.edges[source, after.name].add(cause)  # type: ignore[attr-defined]


def explore_deals() -> Edges:
    """Many deals, each with units that behave as they like."""
    observer = Observer()
    watched = observer.watch(DealProgress, "phase")
    policy = parse_policy(POLICY.read_text(), POLICY.name)
    timing = Timing.of(policy).deal
    for seed in range(DEAL_RUNS):
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
        is_adopted = random.random() < 0.1
        if is_adopted:
            deal = replace(deal, voltage_reference_id=holder)
        with patch.object(deal_machine, "DealProgress", watched):
            machine = DealMachine(deal, policy, timing, now_ns)
        machine.see(BusView(is_alone=random.random() < 0.5))
        units = {unit_id: _Unit(random, health) for unit_id in deal.unit_ids}
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
            if chance < 0.01:
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
                reading = ConverterReading(grid_current_a=random.choice([2.0, 2.1, 0.0]))
                sample = Sample(ControlReply(reading=reading), now_ns, now_ns)
                pending += _calls(machine.hear_reference(sample, 2.0, now_ns))
            elif machine.phase is Phase.LEAVING and chance < 0.5:
                observer.cause = "bus"
                pending += _calls(machine.left(now_ns))
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
    return observer.edges


def _bus(machine: DealMachine, holder: str, random: Random, now_ns: int) -> list[Effect]:
    """The bus comes up for a deal, is up already, or proves not to be alone."""
    order = [Phase.ACTIVATING, Phase.RAMPING_UP, Phase.AUTHORISING]
    if machine.phase is Phase.QUEUED and random.random() < 0.5:
        machine.await_bus(holder, Phase.ACTIVATING, now_ns)
    elif machine.phase in order[:2]:
        machine.await_bus(holder, order[order.index(machine.phase) + 1], now_ns)
    elif machine.phase is Phase.AUTHORISING and random.random() < 0.3:
        return machine.reset("another source holds it", now_ns)
    else:
        return machine.start(holder, now_ns)
    return []


def explore_buses() -> Edges:
    """Many buses that are brought up, handed over and ended."""
    observer = Observer()
    machine_class = observer.watch(VoltageReference, "stage")
    policy = parse_policy(POLICY.read_text(), POLICY.name)
    timing = Timing.of(policy).deal
    for seed in range(BUS_RUNS):
        random = Random(seed)
        health = random.choice([0.9, 0.97, 1.0])
        falls_silent = random.random() < 0.1  # at the end
        observer.cause = ""
        machine = machine_class(
            PendingOrders(Asker.VOLTAGE_REFERENCE, "E009", 1, timing), policy, timing, random
        )
        now_ns, bus_v = SECOND_NS, 0.0
        pending: list[Call] = []
        for _ in range(80):
            chance = random.random()
            observer.cause = "deals"
            if machine.stage is Stage.OFF and chance < 0.03:
                observer.cause = "adopt"
                machine.adopt("E001", "d", now_ns)
            elif machine.stage is Stage.OFF and chance < 0.3:
                pending = _calls(machine.start("E001", "d", now_ns))
            elif machine.stage is Stage.UP and chance < 0.2:
                pending += _calls(machine.hand_over("E002", "e", now_ns))
            elif machine.failure or chance < 0.03:
                machine.failure = ""
                pending += _calls(machine.end(now_ns))
            elif pending and chance < 0.95:
                observer.cause = "answer"
                call = pending.pop(0)
                if falls_silent and machine.stage is Stage.ENDING:
                    continue
                now_ns += SECOND_NS // 10
                goal_v = call.request.grid_voltage_v
                if random.random() < health and goal_v is not None:
                    bus_v = goal_v
                is_off = call.request.operation is ControlOperation.WAIT
                is_off = is_off or random.random() > health
                mode = ConverterMode.WAIT if is_off else ConverterMode.VOLTAGE_REFERENCE
                is_well = random.random() < health
                reply = ControlReply(
                    error=ControlError.NONE if is_well else ControlError.CONVERTER,
                    reading=ConverterReading(mode=mode, grid_voltage_v=bus_v),
                )
                pending += _calls(machine.answered(call.origin, reply, now_ns))
            elif machine.wake_ns < NEVER_NS:
                observer.cause = "time"
                now_ns = max(now_ns + 1, machine.wake_ns)
                pending += _calls(machine.tick(now_ns))
    return observer.edges


class _Unit:
    """One unit of a deal, as simple as can be."""

    def __init__(self, random: Random, health: float) -> None:
        self._random = random
        self._health = health
        self._mode = ConverterMode.WAIT
        self._cause = StopCause.NONE
        self._volts = 0.0
        self._moved_wh = 0.0

    def hold_voltage(self) -> None:
        """It is the reference now, which is not this machine's order."""
        self._mode, self._cause = ConverterMode.VOLTAGE_REFERENCE, StopCause.NONE

    def obey(self, call: Call) -> ControlReply:
        operation = call.request.operation
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
            self._moved_wh += self._random.choice([0.0, 10.0])
        reading = ConverterReading(
            mode=self._mode,
            stop_cause=self._cause,
            grid_voltage_v=self._volts,
            grid_current_a=self._random.choice([0.0, 2.0, -2.0]),
            grid_current_setpoint_a=2.0 if self._mode.is_active else 0.0,
        )
        return ControlReply(
            reading=reading,
            deal_current_a=2.0 if self._mode.is_active else 0.0,
            grid_moved_wh=self._moved_wh,
            battery_moved_wh=self._moved_wh,
            soc_ratio=self._random.choice([0.5, 0.5, 0.5, 0.5, 0.1]),
        )


def _calls(effects: list[Effect]) -> list[Call]:
    return [effect for effect in effects if isinstance(effect, Call)]


def explore_elections() -> Edges:
    """Many small clusters that are cut apart, healed, and ended."""
    observer = Observer()
    election_class = observer.watch(Election, "role")
    policy = parse_policy(POLICY.read_text(), POLICY.name)
    timing = Timing.of(policy).election
    for seed in range(ELECTION_RUNS):
        random = Random(seed)
        observer.cause = ""
        units = {
            unit_id: election_class(
                unit_id=unit_id,
                instance_id=unit_id,
                member_ids=UNITS,
                timing=timing,
                random=random,
                now_ns=0,
            )
            for unit_id in UNITS
        }
        now_ns, loss = 0, 0.0
        mail: list[tuple[int, int, str, object]] = []
        for step in range(250):
            if random.random() < 0.05:
                loss = random.choice([0.0, 0.0, 0.3, 1.0])
            effects: list[Effect] = []
            next_id = min(UNITS, key=lambda unit_id: units[unit_id].wake_ns)
            if mail and min(mail)[0] <= units[next_id].wake_ns:
                first = min(mail)
                mail.remove(first)
                sent_ns, _, to, message = first
                now_ns = max(now_ns, sent_ns)
                who, unit = to, units[to]
                if isinstance(message, GridMasterClaim):
                    observer.cause = "claim"
                    effects = unit.hear_claim(message, now_ns)
                elif isinstance(message, LeaseGrant):
                    observer.cause = "grant"
                    effects = unit.hear_grant(message, now_ns)
            elif random.random() < 0.01:
                observer.cause, who = "end", random.choice(UNITS)
                effects = units[who].resign(now_ns)
            elif units[next_id].wake_ns < NEVER_NS:
                now_ns, who = max(now_ns, units[next_id].wake_ns), next_id
                observer.cause = "time"
                effects = units[who].tick(now_ns)
            for effect in effects:
                for to in UNITS:
                    if isinstance(effect, Broadcast) and (to == who or random.random() >= loss):
                        delay_ns = random.randrange(1, SECOND_NS * random.choice([1, 1, 4]))
                        mail.append((now_ns + delay_ns, 3 * step + len(mail), to, effect.message))
    return observer.edges


def diagram(edges: Edges, states: list[str], end: str) -> str:
    """A Mermaid state diagram, in the order in which the states are defined."""
    order = {name: number for number, name in enumerate(["[*]", *states])}
    lines = ["```mermaid", "stateDiagram-v2"]
    for (source, target), causes in sorted(
        edges.items(), key=lambda edge: (order[edge[0][0]], order[edge[0][1]])
    ):
        label = ", ".join(sorted(causes - {""}))
        lines.append(f"    {source} --> {target}" + (f": {label}" if label else ""))
    lines += [f"    {end} --> [*]", "```", ""]
    return "\n".join(lines)


def text() -> str:
    """The whole document."""
    deals = diagram(explore_deals(), [phase.name for phase in Phase], Phase.OVER.name)
    stages = diagram(explore_buses(), [stage.name for stage in Stage], Stage.OFF.name)
    roles = diagram(explore_elections(), [role.name for role in Role], Role.RETIRED.name)
    return "\n".join([INTRO, DEAL_TEXT, deals, BUS_TEXT, stages, ELECTION_TEXT, roles])


def main() -> int:
    """Write or check."""
    new = text()
    if "--check" in sys.argv[1:]:
        if TARGET.exists() and TARGET.read_text() == new:
            return 0
        print(f"{TARGET.relative_to(ROOT)} is not up to date: run tools/state_diagrams.py")
        return 1
    TARGET.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
