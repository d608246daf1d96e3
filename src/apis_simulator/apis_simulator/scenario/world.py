"""The world of one story: its units, its plant, and its clock."""

from __future__ import annotations

from random import Random
from typing import Any

from apis_core import events as ev
from apis_core.config.hardware import Hardware
from apis_core.config.policy import Policy
from apis_core.config.timing import Timing
from apis_core.model.messages import Fault as FaultMessage
from apis_core.model.types import NOBODY, Direction, UnitId
from apis_core.model.units import SECOND_NS
from apis_core.unit.persisted_state import PersistedState
from apis_emulator.physics.converter import Converter
from apis_emulator.physics.foreign import ForeignDevice, connect
from apis_emulator.physics.plant import Installation, Plant
from apis_simulator.faults import Profile
from apis_simulator.invariants import Invariants
from apis_simulator.process import Process
from apis_simulator.scenario.facts import DealFacts, Facts, Probe
from apis_simulator.scenario.story import Deal, Story
from apis_simulator.scenario_setup import Pace, Rules, Setup
from apis_simulator.trace import Trace
from apis_simulator.world import World
from apis_site.grid import Bus, ConverterLoss, ConverterRatings

__all__ = ["NoGridMaster", "StoryWorld"]

PACE = Pace(
    network_floor_ns=0,
    driver_hold_s=5.0,
    busy_step_ns=SECOND_NS // 10,
    idle_step_ns=SECOND_NS // 5,
    busy_telemetry_ns=SECOND_NS // 4,
    idle_telemetry_ns=SECOND_NS,
    soc_step_ratio=0.0,
)
SETTLES_S, GIVES_UP_S = 15.0, 300.0  # before the story: elected, and at rest
VOLTMETER_V = 0.35  # greatest error of a converter's voltmeter: two references disagree by it
NEVER_S = 1e9
PLAIN_RISE_A = 1.0  # a plain converter charges the bus with so much: it would trip at once
EXACT_A_PER_S = 1e6
FOREIGN = ("leak", "earth_fault", "second_source")


class NoGridMaster(Exception):
    """The units of a story do not elect a grid master before it begins."""


class StoryWorld(World):
    """See the module's text.

    Args:
        story: What is told.
        trace: Gets what happens, in the time of the story.
    """

    invariants: Facts

    def __init__(self, story: Story, trace: Trace) -> None:
        self.story = story
        self.epoch_ns = 0
        self.paused: dict[UnitId, list[ev.Event]] = {}
        self.foreign: dict[int, ForeignDevice] = {}
        self.deal_ids: list[str] = []
        plant = _plant(story)
        for event in story.events:
            if event.kind in FOREIGN:
                self.foreign[event.index] = ForeignDevice(plant, event.value.at)
        if self.foreign or story.lines:
            connect(plant, story.lines, self.foreign.values())
        super().__init__(
            story.seed, len(story.units), Profile(loss=story.loss), trace, _setup(story, plant)
        )
        low_ms, high_ms = story.delay_ms
        self.network.usual_ns = (round(low_ms * 1e6), round(high_ms * 1e6))
        self.invariants.term_of = self._term_of

    def _make_invariants(self, timing: Timing) -> Invariants:
        return Facts(self.plant, self.rules)

    @property
    def facts(self) -> Facts:
        """What has happened so far."""
        return self.invariants

    def say(self, who: str, text: str) -> None:
        """A line of the trace, in the time of the story; of a longer text its first line."""
        text = text.split("\n", 1)[0].split("\\n", 1)[0]
        self.trace.add(self.now_ns - self.epoch_ns, who, text)

    # --- before the story ------------------------------------------------------------------------

    def settle(self) -> None:
        """Let the units elect a grid master and come to rest; then the story's clock begins.

        Raises:
            NoGridMaster: They do not.
        """
        self.run_until(round(SETTLES_S * SECOND_NS))
        while not self._is_settled():
            if self.now_s > GIVES_UP_S:
                raise NoGridMaster(f"no grid master is elected within {GIVES_UP_S:g} s")
            self.run_until(self.now_ns + SECOND_NS)
        self.epoch_ns = self.now_ns
        self.facts.epoch_s = self.now_s
        self.facts.deals.clear()
        self.facts.step(self.now_s)
        leader = next((u for u in self.ids if self._is_still_master(u)), NOBODY)
        self.facts.masters.append((0.0, int(leader != NOBODY)))
        self.say("*", f"the story begins; {leader} is the grid master")

    def _is_settled(self) -> bool:
        snapshots = [
            process.agent.snapshot(process.local_ns(self.now_ns))
            for process in self.processes.values()
        ]
        leaders = {each.grid_master_id for each in snapshots}
        return (
            len(snapshots) == len(self.ids)
            and len(leaders) == 1
            and NOBODY not in leaders
            and not any(each.why_not_dealing for each in snapshots)
        )

    def at_s(self, time_s: float, action: Any, *args: Any) -> None:
        """Plan something at a time of the story. [s]"""
        self.at(self.epoch_ns + round(time_s * SECOND_NS), action, *args)

    # --- what is told ----------------------------------------------------------------------------

    def make_deal(self, number: int, deal: Deal) -> None:
        """An operator wants a deal of the giver."""
        deal_id = self.deal_ids[number]
        facts = self.facts.deal_facts.setdefault(deal_id, DealFacts(deal_id))
        self.say(
            deal.giver, f"operator wants deal {number + 1}: {deal.energy_wh:g} Wh to {deal.taker}"
        )
        process = self.processes.get(deal.giver)
        if process is None:
            facts.refused, facts.refused_s = "the process of the giver is dead", self._story_s
            return
        wanted = ev.DealWanted(
            deal_id=deal_id,
            peer_unit_id=deal.taker,
            type=Direction.DISCHARGE,
            energy_wh=deal.energy_wh,
            current_a=deal.current_a,
            price_point_per_wh=deal.price_point_per_wh,
        )
        self.feed(process, wanted)

    @property
    def _story_s(self) -> float:
        return (self.now_ns - self.epoch_ns) / SECOND_NS

    def probe(self, time_s: float) -> None:
        """Note what the units know now."""
        probe = self.facts.probes.setdefault(time_s, Probe())
        for unit_id, process in self.processes.items():
            snapshot = process.agent.snapshot(process.local_ns(self.now_ns))
            probe.modes[unit_id] = snapshot.mode.name
            probe.slots[unit_id] = len(snapshot.slot_deals)

    # --- what the world does differently ---------------------------------------------------------

    def feed(self, process: Process, event: ev.Event) -> None:
        """Give an event to a process; one that is paused gets it later."""
        waiting = self.paused.get(process.unit_id)
        if waiting is not None:
            if isinstance(event, ev.ConverterRead | ev.BatteryRead | ev.RenewalDue | ev.Wake):
                waiting[:] = [each for each in waiting if type(each) is not type(event)]
            waiting.append(event)
            return
        super().feed(process, event)

    def pause(self, unit_id: UnitId) -> None:
        """Stop a process where it is (SIGSTOP); what comes for it waits."""
        if unit_id in self.processes:
            self.say(unit_id, "process is stopped in its tracks")
            self.paused.setdefault(unit_id, [])

    def go_on(self, unit_id: UnitId) -> None:
        """Let a process go on (SIGCONT)."""
        waiting = self.paused.pop(unit_id, [])
        process = self.processes.get(unit_id)
        if process is None:
            return
        self.say(unit_id, "process goes on")
        for event in waiting:
            self.feed(process, event)

    def start(self, unit_id: UnitId) -> None:
        """Start a process, if there is none."""
        self._start(unit_id)

    def lose_journal(self, unit_id: UnitId) -> None:
        """A unit forgets all that it had written down."""
        self._journals[unit_id] = PersistedState()

    def jump_clock(self, unit_id: UnitId, by_ns: int) -> None:
        """A unit's clock jumps."""
        self._jump(unit_id, round(by_ns / 1e6))

    def keep_policy(self, unit_id: UnitId, policy: Policy) -> None:
        """A unit's policy file is another one from now on, for its next start, too."""
        self._policies[unit_id] = policy

    def keep_hardware(self, unit_id: UnitId, hardware: Hardware) -> None:
        """The same of its hwConfig."""
        self.setup.hardware[unit_id] = hardware

    def crash(self, unit_id: UnitId) -> None:
        """The process is gone, also if it was paused."""
        self.paused.pop(unit_id, None)
        super().crash(unit_id)

    def _carry_out(self, process: Process, effect: ev.Effect) -> None:
        if isinstance(effect, ev.PublishFault):
            self._note_fault(effect.fault)
        elif isinstance(effect, ev.RefuseDeal):
            self.say(process.unit_id, f"deal {effect.deal_id} is refused: {effect.message}")
            facts = self.facts.deal_facts.setdefault(effect.deal_id, DealFacts(effect.deal_id))
            facts.refused, facts.refused_s = effect.message, self._story_s
        super()._carry_out(process, effect)

    def _note_fault(self, fault: FaultMessage) -> None:
        if self.epoch_ns:
            self.facts.faults.append((self._story_s, fault))

    def _term_of(self, unit_id: UnitId) -> int:
        process = self.processes.get(unit_id)
        master = None if process is None else process.agent.grid_master
        return -1 if master is None else master.term

    def _publish_deal(self, sender: UnitId, deal: Any) -> None:
        self.say(sender, f"deal {deal.deal_id} is {deal.state.name} {deal.reason}".rstrip())
        super()._publish_deal(sender, deal)


def _plant(story: Story) -> Plant:
    random = Random(f"{story.seed}/plant")
    bus, ratings = Bus(), ConverterRatings()
    if story.is_plain:
        rise_v_per_s = PLAIN_RISE_A / (bus.capacitance_per_unit_f * len(story.units))
        bus = bus.model_copy(
            update={
                "ramp_up_v_per_s": rise_v_per_s,
                "ramp_down_v_per_s": rise_v_per_s,
                "current_slew_a_per_s": EXACT_A_PER_S,
            }
        )
        ratings = ratings.model_copy(update={"saturation_trip_s": NEVER_S})
    units = {}
    for unit_id in story.units:
        capacity_wh = story.hardware[unit_id].battery_capacity_wh
        units[unit_id] = Installation(
            capacity_wh=capacity_wh,
            stored_wh=capacity_wh * story.soc[unit_id],
            converter=Converter(loss=ConverterLoss(), bus=bus, ratings=ratings),
            voltage_offset_v=random.uniform(-VOLTMETER_V, VOLTMETER_V),
        )
    return Plant(units, bus)


def _setup(story: Story, plant: Plant) -> Setup:
    first = story.units[0]
    return Setup(
        ids=list(story.units),
        rules=Rules(story.policy, story.hardware[first], story.scenarios[first]),
        plant=plant,
        pace=PACE,
        hardware=dict(story.hardware),
        scenarios=dict(story.scenarios),
        is_plain=story.is_plain,
    )
