"""A cluster in a box for tests: N agents, a simple plant and a slow network, in virtual time.

It is a shell like the ROS node, only smaller: it carries out effects and feeds events, all from
one seed. The plant is as plain as can be: currents are at once what they are ordered to be.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from apis_core.config.hardware import parse_hardware
from apis_core.config.policy import Policy, parse_policy, replace_members
from apis_core.config.scenario import parse_scenario
from apis_core.events import (
    AllowExit,
    Answer,
    BatteryRead,
    Broadcast,
    Call,
    Command,
    ConverterRead,
    Effect,
    Event,
    Log,
    PublishFault,
    Received,
    Record,
    RenewalDue,
    ReplyReceived,
    RequestReceived,
    Send,
    StopAsked,
    Wake,
)
from apis_core.model.messages import (
    Alarm,
    BatteryReading,
    ConverterOperation,
    ConverterOrder,
    ConverterReading,
    ConverterReply,
    Deal,
    UnitStatus,
)
from apis_core.model.origin import Requester
from apis_core.model.types import ConverterError, ConverterMode, DealState, StopCause
from apis_core.model.units import SECOND_NS, ns_from_s, s_from_ns, wh_from_w
from apis_core.unit.agent import Agent, AgentSettings
from apis_core.unit.persisted_state import PersistedState
from apis_core.unit.snapshot import UnitSnapshot

DATA = Path(__file__).parent / "data"
STEP_NS = SECOND_NS // 5
RAMP_V_PER_S = 50.0
CHARGE_LOSS_W = 40.0
IDLE = ConverterReading(
    mode=ConverterMode.WAIT,
    alarm=Alarm.NONE,
    grid_charged_wh=0.0,
    grid_discharged_wh=0.0,
    battery_charged_wh=0.0,
    battery_discharged_wh=0.0,
    battery_voltage_v=52.0,
    converter_temp_degc=25.0,
    grid_current_setpoint_a=0.0,
)


def sample_policy(unit_ids: list[str], **changes: object) -> Policy:
    """The test policy for other members and with other values."""
    policy = parse_policy((DATA / "policy.json").read_text(), "policy.json")
    return replace(replace_members(policy, unit_ids), **changes)  # type: ignore[arg-type]


@dataclass
class Plant:
    """Battery, converter and driver of one unit."""

    soc_ratio: float
    capacity_wh: float
    reading: ConverterReading = IDLE
    energy_limit_wh: float | None = None
    next_current_a: float | None = None
    moved_wh: float = 0.0
    hold_until_ns: int = 0
    meter_error_a: float = 0.0  # what its meter shows too much; it steers by that

    @property
    def is_idle(self) -> bool:
        """Whether its converter waits, and its meters say so."""
        reading = self.reading
        powers = (reading.grid_current_a, reading.grid_power_w, reading.battery_power_w)
        return reading.mode is ConverterMode.WAIT and powers == (0.0, 0.0, 0.0)


class SimulatedCluster:
    """See the module's text.

    Args:
        socs: Unit id to state of charge at the start, 0..1.
        seed: Fixes everything.
        policy_changes: Fields of the policy to differ.
    """

    def __init__(self, socs: dict[str, float], *, seed: int = 1, **policy_changes: object) -> None:
        self.now_ns = 1_000 * SECOND_NS
        self.random = Random(seed)
        self.policy = sample_policy(list(socs), **policy_changes)
        self.hardware = parse_hardware((DATA / "hardware.json").read_text(), "hardware.json")
        self.scenario = parse_scenario((DATA / "scenario.json").read_text(), "scenario.json")
        self.plants: dict[str, Plant] = {}
        self.agents: dict[str, Agent] = {}
        self.journals: dict[str, list[Record]] = {}
        self.stopped: set[str] = set()
        self.deals: dict[str, Deal] = {}
        self.trace: list[str] = []
        self.warnings: list[str] = []
        self.bus_v = 0.0
        self.lost: Callable[[str, str], bool] = lambda _from, _to: False
        self.watchers: list[Callable[[SimulatedCluster], None]] = []
        self.orders: list[tuple[str, ConverterOrder]] = []
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._starts = 0
        for unit_id, soc_ratio in socs.items():
            self.plants[unit_id] = Plant(soc_ratio, self.hardware.battery_capacity_wh)
            self.journals[unit_id] = []
            self.start(unit_id)
        self._at(self.now_ns, self._step_plants)

    # --- what a test does ------------------------------------------------------------------------

    def start(self, unit_id: str) -> None:
        """Start (or restart) a unit's process from its journal."""
        persisted_state = PersistedState()
        for record in self.journals[unit_id]:
            persisted_state.add(record.entry)
        self._starts += 1
        agent = Agent(
            self.make_settings(unit_id),
            persisted_state,
            Random(self.random.getrandbits(32)),
            self.now_ns,
        )
        self.agents[unit_id] = agent
        self.stopped.discard(unit_id)
        self._do(unit_id, agent.start(self.now_ns))
        for deal in self.deals.values():
            self._deliver(unit_id, unit_id, Received(deal))
        for other_id, other in self.agents.items():  # their status is a retained topic, too
            status = other.status
            if other_id != unit_id and status is not None:
                self._deliver(other_id, unit_id, Received(status))
        self._telemetry(unit_id, agent)
        self._renewal(unit_id, agent)

    def make_settings(self, unit_id: str) -> AgentSettings:
        """What the next process of a unit is made with."""
        return AgentSettings(
            unit_id=unit_id,
            instance_id=f"{unit_id}#{self._starts}",
            policy=self.policy,
            hardware=self.hardware,
            scenario=self.scenario,
        )

    def kill(self, unit_id: str) -> None:
        """The process is gone, in the middle of whatever it was doing."""
        del self.agents[unit_id]

    def ask_to_stop(self, unit_id: str) -> None:
        """Ctrl-C."""
        self.feed(unit_id, StopAsked())

    def run_for(self, seconds: float) -> None:
        """Let virtual time pass. [s]"""
        self.run_until(lambda: False, seconds)

    def run_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Let virtual time pass until a condition holds; whether it did in time."""
        end_ns = self.now_ns + ns_from_s(seconds)
        while self._heap and self._heap[0][0] <= end_ns:
            self.now_ns, _, action = heapq.heappop(self._heap)
            action()
            for watcher in self.watchers:
                watcher(self)
            if condition():
                return True
        self.now_ns = max(self.now_ns, end_ns)
        return condition()

    def feed(self, unit_id: str, event: Event) -> None:
        """Give an event to an agent, if it lives, and carry out what it wants."""
        agent = self.agents.get(unit_id)
        if agent is not None:
            self._do(unit_id, agent.handle(event, self.now_ns))

    def snapshot(self, unit_id: str) -> UnitSnapshot:
        """What a unit knows and does now."""
        return self.agents[unit_id].snapshot(self.now_ns)

    def snapshots(self) -> list[UnitSnapshot]:
        """Of all units that live."""
        return [agent.snapshot(self.now_ns) for agent in self.agents.values()]

    def status(self, unit_id: str) -> UnitStatus:
        """What a unit said last."""
        status = self.agents[unit_id].status
        assert status is not None
        return status

    def leaders(self) -> list[str]:
        """Units that hold a lease as the grid master."""
        return [u for u, agent in self.agents.items() if agent.is_grid_master(self.now_ns)]

    def completed(self) -> list[Deal]:
        """Deals that ended with the agreed energy."""
        return [deal for deal in self.deals.values() if deal.state is DealState.COMPLETED]

    def modes(self) -> set[ConverterMode]:
        """What the converters do."""
        return {plant.reading.mode for plant in self.plants.values()}

    # --- the shell -------------------------------------------------------------------------------

    def _do(self, unit_id: str, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Record():
                    self.journals[unit_id].append(effect)
                case Broadcast(Deal() as deal):
                    self.deals[deal.deal_id] = deal
                    for to in list(self.agents):  # a retained topic: late perhaps, but not lost
                        self._deliver(to, to, Received(deal))
                case Broadcast(message) | PublishFault(message):
                    for to in list(self.agents):
                        self._deliver(unit_id, to, Received(message))
                case Send(to, message):
                    self._deliver(unit_id, to, Received(message))
                case Call(origin, to, request):
                    requester = Requester(unit_id, origin)
                    self._deliver(unit_id, to, RequestReceived(requester, request))
                case Answer(requester, reply):
                    answer = ReplyReceived(requester.origin, reply)
                    self._deliver(unit_id, requester.unit_id, answer)
                case Command(origin, order):
                    self.orders.append((unit_id, order))
                    reply = self._obey(unit_id, order)
                    self._deliver(unit_id, unit_id, ReplyReceived(origin, reply))
                case Log(text, is_warning):
                    self.warnings += [text] * is_warning
                    self.trace.append(f"{s_from_ns(self.now_ns):9.2f} {unit_id} {text}")
                case AllowExit():
                    self.stopped.add(unit_id)
        agent = self.agents.get(unit_id)
        if agent is not None and effects:
            self._at(agent.next_wakeup_ns(), lambda: self._wake(unit_id, agent))

    def _wake(self, unit_id: str, agent: Agent) -> None:
        if self.agents.get(unit_id) is agent and self.now_ns >= agent.next_wakeup_ns():
            self.feed(unit_id, Wake())
            self._at(agent.next_wakeup_ns(), lambda: self._wake(unit_id, agent))

    def _deliver(self, sender: str, to: str, event: Event) -> None:
        if sender != to and self.lost(sender, to):
            return
        delay_ns = self.random.randrange(1_000_000, 20_000_000)
        self._at(self.now_ns + delay_ns, lambda: self.feed(to, event))

    def _telemetry(self, unit_id: str, agent: Agent) -> None:
        if self.agents.get(unit_id) is agent:
            plant = self.plants[unit_id]
            seconds_of_day = s_from_ns(self.now_ns) % 86_400.0
            battery = BatteryReading(soc_ratio=plant.soc_ratio, seconds_of_day=seconds_of_day)
            self.feed(unit_id, BatteryRead(battery))
            self.feed(unit_id, ConverterRead(self._reading(plant)))
            self._wake(unit_id, agent)
            self._at(self.now_ns + SECOND_NS, lambda: self._telemetry(unit_id, agent))

    def _renewal(self, unit_id: str, agent: Agent) -> None:
        if self.agents.get(unit_id) is agent:
            self.feed(unit_id, RenewalDue())
            self._at(self.now_ns + SECOND_NS, lambda: self._renewal(unit_id, agent))

    def _at(self, time_ns: int, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (max(time_ns, self.now_ns), self._count, action))

    # --- the plant -------------------------------------------------------------------------------

    def _reading(self, plant: Plant) -> ConverterReading:
        return replace(plant.reading, stamp_ns=self.now_ns, grid_voltage_v=self.bus_v)

    def _obey(self, unit_id: str, order: ConverterOrder) -> ConverterReply:
        plant = self.plants[unit_id]
        reading = plant.reading
        if order.operation is ConverterOperation.MODE:
            if order.term and order.term < reading.term:
                return ConverterReply(
                    error=ConverterError.OLD_TERM, message="old term", reading=self._reading(plant)
                )
            is_on = order.mode is not ConverterMode.WAIT
            plant.reading = replace(
                reading,
                mode=order.mode,
                term=max(order.term, reading.term),
                deal_id=order.deal_id or reading.deal_id,
                grid_current_setpoint_a=order.grid_current_a if is_on else 0.0,
                grid_voltage_setpoint_v=order.grid_voltage_v if is_on else 0.0,
                droop_ratio=order.droop_ratio,
                stop_cause=StopCause.NONE,
                stop_detail="",
                grid_current_a=0.0,
            )
            plant.moved_wh = 0.0
            plant.energy_limit_wh = order.energy_limit_wh
            plant.next_current_a = order.next_current_a
        elif order.energy_limit_wh is not None:
            plant.energy_limit_wh = order.energy_limit_wh
            plant.next_current_a = order.next_current_a
        if order.operation is ConverterOperation.CURRENT:
            plant.reading = replace(plant.reading, grid_current_setpoint_a=order.grid_current_a)
        if order.operation is ConverterOperation.VOLTAGE:
            plant.reading = replace(plant.reading, droop_ratio=order.droop_ratio)
            if order.grid_voltage_v is not None:
                plant.reading = replace(
                    plant.reading, grid_voltage_setpoint_v=order.grid_voltage_v
                )
        if order.operation is not ConverterOperation.READ:
            plant.hold_until_ns = self.now_ns + ns_from_s(order.hold_s or 0.0)
        return ConverterReply(reading=self._reading(plant))

    def _step_plants(self) -> None:
        self._at(self.now_ns + STEP_NS, self._step_plants)
        references = [
            unit_id
            for unit_id, plant in self.plants.items()
            if plant.reading.mode is ConverterMode.VOLTAGE_REFERENCE
        ]
        target_v = 0.0
        if references:
            target_v = self.plants[references[0]].reading.grid_voltage_setpoint_v or 0.0
        step_v = RAMP_V_PER_S * s_from_ns(STEP_NS)
        self.bus_v += min(max(target_v - self.bus_v, -step_v), step_v)
        total_a = 0.0
        for unit_id, plant in self.plants.items():
            mode = plant.reading.mode
            if mode in (ConverterMode.CHARGE, ConverterMode.DISCHARGE):
                ordered_a = (plant.reading.grid_current_setpoint_a or 0.0) * bool(references)
                current_a = ordered_a if mode is ConverterMode.CHARGE else -ordered_a
                self._flow(plant, current_a)
                total_a += current_a - plant.meter_error_a * bool(ordered_a)
            elif unit_id not in references:
                self._flow(plant, 0.0)
        for unit_id in references:
            plant = self.plants[unit_id]
            self._flow(plant, -total_a / len(references) + plant.meter_error_a)
        for plant in self.plants.values():
            is_on = plant.reading.mode is not ConverterMode.WAIT
            limit_wh = plant.energy_limit_wh
            if is_on and limit_wh is not None and plant.moved_wh >= limit_wh:
                if plant.next_current_a:
                    plant.energy_limit_wh = None
                    plant.reading = replace(
                        plant.reading, grid_current_setpoint_a=plant.next_current_a
                    )
                    continue
                self._stop(plant, StopCause.ENERGY_REACHED, "energy reached")
            elif is_on and self.now_ns > plant.hold_until_ns:
                self._stop(plant, StopCause.HOLD_EXPIRED, "nobody renewed its order")

    def _stop(self, plant: Plant, cause: StopCause, detail: str) -> None:
        plant.reading = replace(
            plant.reading,
            mode=ConverterMode.WAIT,
            stop_cause=cause,
            stop_detail=detail,
            grid_current_a=0.0,
            grid_current_setpoint_a=0.0,
        )

    def _flow(self, plant: Plant, current_a: float) -> None:
        reading = plant.reading
        if plant.is_idle and not current_a:
            return  # nothing would change
        grid_w = current_a * self.bus_v
        battery_w = grid_w - CHARGE_LOSS_W * (reading.mode is not ConverterMode.WAIT)
        grid_wh, battery_wh = wh_from_w(grid_w, STEP_NS), wh_from_w(battery_w, STEP_NS)
        plant.moved_wh += abs(grid_wh)
        plant.soc_ratio = min(max(plant.soc_ratio + battery_wh / plant.capacity_wh, 0.0), 1.0)
        plant.reading = replace(
            reading,
            grid_current_a=current_a,
            grid_power_w=grid_w,
            battery_power_w=battery_w,
            grid_charged_wh=(reading.grid_charged_wh or 0.0) + max(grid_wh, 0.0),
            grid_discharged_wh=(reading.grid_discharged_wh or 0.0) + max(-grid_wh, 0.0),
            battery_charged_wh=(reading.battery_charged_wh or 0.0) + max(battery_wh, 0.0),
            battery_discharged_wh=(reading.battery_discharged_wh or 0.0) + max(-battery_wh, 0.0),
        )
