"""One run: agents, drivers, plant and network on one event heap."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from apis_core import events as ev
from apis_core.config.timing import Timing
from apis_core.model.messages import (
    Deal,
    DealSubmission,
    GridMasterClaim,
    LeaseGrant,
    UnitStatus,
)
from apis_core.model.origin import Origin, Requester
from apis_core.model.types import NOBODY, Direction, OperationMode, UnitId
from apis_core.model.units import NEVER_NS, SECOND_NS
from apis_core.unit.agent import Agent, AgentSettings
from apis_core.unit.persisted_state import PersistedState
from apis_simulator.faults import PROFILES, Fault, FaultKind, Profile
from apis_simulator.gateways import SharedBatteries
from apis_simulator.invariants import Invariants, limits_of
from apis_simulator.machines import Machines
from apis_simulator.network import Network
from apis_simulator.operators import Operator
from apis_simulator.process import Process
from apis_simulator.scenario_setup import Rules, Setup, make_policy, make_setup
from apis_simulator.timeline import Timeline
from apis_simulator.trace import Trace, describe

__all__ = ["World"]

RETAINED_NS = 3 * SECOND_NS  # until a word that could not pass is tried again
CALM = PROFILES["calm"]
_WAKE = ev.Wake()


class World(Timeline):
    """See the module's text.

    Args:
        seed: Fixes everything.
        units: How many, 3 or more.
        profile: How bad it is.
        trace: Gets what happens.
        setup: What it is made of; None = drawn from the seed.
    """

    def __init__(
        self, seed: int, units: int, profile: Profile, trace: Trace, setup: Setup | None = None
    ) -> None:
        super().__init__(trace)
        self.profile = profile
        self.setup = setup = setup or make_setup(units, Random(f"{seed}/plant"))
        self.ids = setup.ids
        self.rules: Rules = setup.rules
        self.plant = setup.plant
        self.batteries = SharedBatteries() if profile.neighbours else None
        self.network = Network(profile, Random(f"{seed}/network"))
        self.processes: dict[UnitId, Process] = {}
        self.statuses: dict[UnitId, UnitStatus] = {}
        self._random = Random(f"{seed}/world")
        self._starts = 0
        self._policy_version = self.rules.policy.version
        self._policies = dict.fromkeys(self.ids, self.rules.policy)  # each unit's file
        self._journals: dict[UnitId, PersistedState] = {
            unit_id: PersistedState() for unit_id in self.ids
        }
        timing = Timing.of(self.rules.policy, setup.pace.network_floor_ns)
        self._submit_limit_ns, self._answer_limit_ns = timing.submit_ns, timing.deal.answer_ns
        self.invariants = self._make_invariants(timing)
        self.machines = Machines(
            line=self,
            plant=self.plant,
            invariants=self.invariants,
            profile=profile,
            random=Random(f"{seed}/machines"),
            feed=self.feed,
            process_of=self.processes.get,
            pace=setup.pace,
            is_plain=setup.is_plain,
        )
        self.operator = Operator(
            line=self,
            ids=self.ids,
            network=self.network,
            processes=self.processes,
            statuses=self.statuses,
            hear=self._hear,
            invariants=self.invariants,
        )
        for unit_id in self.ids:
            self.at(self._random.randrange(SECOND_NS), self._start, unit_id)

    def _make_invariants(self, timing: Timing) -> Invariants:
        limits = limits_of(self.rules.policy, timing, self.profile, self.setup.pace)
        return Invariants(self.plant, self.rules, limits)

    # --- what goes wrong -------------------------------------------------------------------------

    def strike(self, fault: Fault) -> None:
        """A fault of the plan happens."""
        end_ns = self.now_ns + round(fault.lasts_s * SECOND_NS)
        units = ",".join(fault.units)
        match fault.kind:
            case FaultKind.CRASH:
                self.crash(fault.units[0])
                self.at(end_ns, self._start, fault.units[0])
            case FaultKind.CRASH_INSIDE:
                process = self.processes.get(fault.units[0])
                if process is not None:
                    process.dies_after = fault.detail
                    self.at(end_ns, self._start_again, process)
            case FaultKind.STOP:
                self.say(fault.units[0], "process is asked to stop")
                self._hear(fault.units[0], ev.StopAsked())
                self.at(end_ns, self._start, fault.units[0])
            case FaultKind.CUT:
                self.say("*", f"network: {units} cut off, kind {fault.detail}")
                self.network.cut(fault)
                self._notice_cuts()
                self.at(end_ns, self._heal, fault)
            case FaultKind.WIPE:
                self.crash(fault.units[0])
                self.say(fault.units[0], "its journal is lost")
                self._journals[fault.units[0]] = PersistedState()
                self.invariants.forgot(fault.units[0])
                self.at(end_ns, self._start, fault.units[0])
            case FaultKind.JUMP:
                self._jump(fault.units[0], fault.detail)
            case FaultKind.LIE:
                self.say(fault.units[0], f"its converter is {fault.detail} mA off")
                self._lie(fault.units[0], fault.detail)
                self.at(end_ns, self._lie, fault.units[0], -fault.detail)
            case FaultKind.POLICY:
                self._give_policy(fault.units)
            case FaultKind.NEIGHBOUR:
                self._share(fault.units[0], Direction(fault.detail), end_ns)
            case FaultKind.MODE:
                mode = OperationMode(fault.detail)
                unit_id = fault.units[0] if fault.units else NOBODY
                self.operator.order_mode(unit_id, mode)
                self.at(end_ns, self.operator.order_mode, unit_id, OperationMode.RUN)
            case FaultKind.SCRAM:
                self.operator.scram(fault)
                self.at(end_ns, self.operator.order_mode, NOBODY, OperationMode.RUN)

    def crash(self, unit_id: UnitId) -> None:
        """The process is gone, in the middle of whatever it was doing."""
        process = self.processes.pop(unit_id, None)
        if process is None:
            return
        process.is_alive = False
        if self.batteries is not None:
            self.batteries.died(unit_id)
        self.say(unit_id, "process dies")
        self.invariants.died(unit_id, self.now_s)

    def _jump(self, unit_id: UnitId, by_ms: int) -> None:
        process = self.processes.get(unit_id)
        if process is None:
            return
        self.say(unit_id, f"its clock jumps by {by_ms} ms")
        process.jump(by_ms * 1_000_000)
        self.invariants.clock_jumped(self.now_s)
        self._arm(process)

    def _lie(self, unit_id: UnitId, by_ma: int) -> None:
        converter = self.plant.units[unit_id].converter
        converter.current_offset_a += by_ma / 1000.0
        self.invariants.lies(unit_id, abs(converter.current_offset_a))

    def _share(self, unit_id: UnitId, direction: Direction, end_ns: int) -> None:
        if self.batteries is not None and self.batteries.neighbour_claims(unit_id, direction):
            self.say(
                unit_id, f"the neighbour at its battery has a deal to {direction.name.lower()}"
            )
            self.at(end_ns, self.batteries.neighbour_frees, unit_id, direction)

    def _give_policy(self, units: tuple[UnitId, ...]) -> None:
        self._policy_version += 1
        policy = make_policy(len(self.ids), self._policy_version)
        self.say("*", f"version {policy.version} of the policy for {','.join(units)}")
        for unit_id in units:
            self._policies[unit_id] = policy
            self._hear(unit_id, ev.PolicyRead(policy))

    def calm_down(self) -> None:
        """The faults are over; everything runs and can be reached."""
        self.profile = self.network.profile = self.machines.profile = CALM
        for unit_id in self.ids:
            self._start(unit_id)
        self.say("*", "the faults are over")

    def _heal(self, fault: Fault) -> None:
        self.say("*", f"network: {','.join(fault.units)} back")
        self.network.heal(fault)
        self._notice_cuts()

    def _notice_cuts(self) -> None:
        for unit_id in self.ids:
            if self.network.is_alone(unit_id):
                self.invariants.cut_off(unit_id, self.now_s)
            else:
                self.invariants.back(unit_id)

    # --- processes -------------------------------------------------------------------------------

    def _start_again(self, process: Process) -> None:
        if process.is_alive and process.dies_after:
            self.crash(process.unit_id)  # it had nothing to do all the time
        self._start(process.unit_id)

    def _start(self, unit_id: UnitId) -> None:
        if unit_id in self.processes:
            return
        self._starts += 1
        random = self._random
        old = self._journals[unit_id]
        persisted_state = replace(old, open_deals=dict(old.open_deals), counted=dict(old.counted))
        settings = AgentSettings(
            unit_id=unit_id,
            instance_id=f"{unit_id}#{self._starts}",
            policy=self._policies[unit_id],
            hardware=self.setup.hardware.get(unit_id, self.rules.hardware),
            scenario=self.setup.scenarios.get(unit_id, self.rules.scenario),
            driver_hold_s=self.setup.pace.driver_hold_s,
            network_floor_ns=self.setup.pace.network_floor_ns,
            shares_battery=self.batteries is not None,
        )
        clock_ns = random.randrange(1_000 * SECOND_NS, 1_000_000 * SECOND_NS)
        rate = 1.0 + self.profile.drift_ratio * random.uniform(-1.0, 1.0)
        agent = Agent(settings, persisted_state, Random(random.getrandbits(64)), clock_ns)
        process = Process(unit_id, agent, self.now_ns, clock_ns, rate)
        self.processes[unit_id] = process
        self.say(unit_id, f"process starts, term {persisted_state.term}")
        self._do(process, agent.start(clock_ns))
        if not process.is_alive:
            return
        self._arm(process)
        for deal in self.invariants.deals.values():  # a retained topic
            self._later(process, ev.Received(deal))
        self.machines.begin(process)

    def _hear(self, unit_id: UnitId, event: ev.Event) -> None:
        if isinstance(event, ev.Received) and isinstance(event.message, GridMasterClaim):
            self.machines.hear_claim(unit_id, event.message)  # a driver hears what its unit does
        process = self.processes.get(unit_id)
        if process is not None:
            self.feed(process, event)

    def feed(self, process: Process, event: ev.Event) -> None:
        """Give an event to a process, if it lives, and carry out what it wants."""
        if not process.is_alive:
            return
        local_ns = process.local_ns(self.now_ns)
        effects = process.agent.handle(event, local_ns)
        if effects:
            self._do(process, effects)
            if not process.is_alive:  # it died in between
                return  # type: ignore[unreachable]
        self._arm(process)
        if self._is_master(process, local_ns):
            self.invariants.believes(process.unit_id, self._is_still_master, self.now_s)
        if self.batteries is not None:
            slots = process.agent.slot_directions
            self.invariants.shares(process.unit_id, slots, self.batteries)

    def _is_master(self, process: Process, local_ns: int) -> bool:
        return process.agent.is_grid_master(local_ns)

    def _is_still_master(self, unit_id: UnitId) -> bool:
        process = self.processes.get(unit_id)
        return process is not None and self._is_master(process, process.local_ns(self.now_ns))

    def _do(self, process: Process, effects: list[ev.Effect]) -> None:
        for effect in effects:
            self._carry_out(process, effect)
            if process.dies_after and process.is_alive:
                process.dies_after -= 1
                if process.dies_after == 0:
                    self.crash(process.unit_id)
            if not process.is_alive:
                return

    def _arm(self, process: Process) -> None:
        """One wake-up of a process is under way, at the earliest instant that it has asked for."""
        wanted_ns = process.agent.next_wakeup_ns()
        if wanted_ns == process.wanted_ns or wanted_ns >= NEVER_NS:
            return
        process.wanted_ns = wanted_ns
        due_ns = max(process.world_ns(wanted_ns), self.now_ns)
        if due_ns < process.armed_ns:
            process.armed_ns = due_ns
            self.at(due_ns, self._wake, process, due_ns)

    def _wake(self, process: Process, due_ns: int) -> None:
        if process.armed_ns == due_ns:
            process.armed_ns = process.wanted_ns = NEVER_NS
            self.feed(process, _WAKE)

    def _carry_out(self, process: Process, effect: ev.Effect) -> None:
        unit_id = process.unit_id
        match effect:
            case ev.Broadcast(Deal() as deal):
                self._publish_deal(unit_id, deal)
            case ev.Broadcast(LeaseGrant() as grant):
                # every unit hears it, but the one that it is for alone listens
                self._send(unit_id, grant.grid_master_id, ev.Received(grant))
            case ev.Broadcast(message):
                if isinstance(message, UnitStatus):
                    self.statuses[unit_id] = message
                elif isinstance(message, GridMasterClaim):
                    self.machines.hear_claim(unit_id, message)
                self._tell_all(unit_id, message)
            case ev.PublishFault(fault):
                self.say(unit_id, f"raises {fault.code}: {fault.message}")
                self._tell_all(unit_id, fault)
            case ev.Send(to, message):
                self._send(unit_id, to, ev.Received(message))
            case ev.Call(origin, to, request):
                asked = ev.RequestReceived(Requester(unit_id, origin), request)
                self._send(unit_id, to, asked)
                is_submission = isinstance(request, DealSubmission)
                limit_ns = self._submit_limit_ns if is_submission else self._answer_limit_ns
                process.pending.add(origin)
                self.at(self.now_ns + limit_ns, self.machines.answer, process, origin, None)
            case ev.Answer(requester, reply):
                to = requester.unit_id
                for delay_ns in self.network.delays_ns(unit_id, to):
                    self.at(self.now_ns + delay_ns, self._hear_answer, to, requester.origin, reply)
            case ev.Command(origin, order):
                self.machines.command(process, origin, order)
            case ev.Record(entry):
                self._journals[unit_id].add(entry)
                self.say(unit_id, f"journal: {describe(entry)}")
                if isinstance(entry, ev.LeaseGranted):
                    self.invariants.granted(unit_id, entry.term)
                elif isinstance(entry, ev.DealClosed):
                    self.invariants.wrote(unit_id, entry.receipt)
                elif isinstance(entry, ev.FaultsLatched) and entry.faults:
                    self.operator.hear_latch()
            case ev.ClaimBattery(direction) if self.batteries is not None:
                is_granted = self.batteries.claim(unit_id, direction)
                self.at(self.now_ns, self.feed, process, ev.BatteryClaimed(direction, is_granted))
            case ev.FreeBattery(direction) if self.batteries is not None:
                self.batteries.free(unit_id, direction)
            case ev.Log(text):
                self.say(unit_id, text)
            case ev.AllowExit():
                self.crash(unit_id)  # from here on it is as dead as any

    # --- messages --------------------------------------------------------------------------------

    def _tell_all(self, sender: UnitId, message: Any) -> None:
        event = ev.Received(message)
        for to in self.ids:
            if to != sender:  # our own come back too, but the core ignores them
                self._send(sender, to, event)

    def _send(self, sender: UnitId, to: UnitId, event: ev.Event) -> None:
        for delay_ns in self.network.delays_ns(sender, to):
            self.at(self.now_ns + delay_ns, self._hear, to, event)

    def _hear_answer(self, to: UnitId, origin: Origin, reply: Any) -> None:
        process = self.processes.get(to)
        if process is not None:
            self.machines.answer(process, origin, reply)

    def _later(self, process: Process, event: ev.Event) -> None:
        self.at(self.now_ns + self.network.delay_ns(), self.feed, process, event)

    def _publish_deal(self, sender: UnitId, deal: Deal) -> None:
        self.invariants.published(deal, self.now_s)
        for to in self.ids:
            delay_ns = self.network.delay_ns()
            self.at(self.now_ns + delay_ns, self._hear_deal, sender, to, deal)

    def _hear_deal(self, sender: UnitId, to: UnitId, deal: Deal) -> None:
        """A retained topic: the newest word comes late, but it comes."""
        if self.invariants.deals[deal.deal_id] is not deal:
            return
        if sender == to or self.network.is_open(sender, to):
            self._hear(to, ev.Received(deal))
        else:
            self.at(self.now_ns + RETAINED_NS, self._hear_deal, sender, to, deal)
