"""What one unit is made of and what it knows: the machines of :mod:`apis_core.unit.agent`, its own
battery, the last status of every other unit.

All parts of the agent share it. Conclusions that need several of them are drawn here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from apis_core.cluster.election import Election
from apis_core.cluster.fault_registry import FaultRegistry
from apis_core.cluster.operation_mode import OperationModes
from apis_core.config.hardware import Hardware
from apis_core.config.policy import Policy
from apis_core.config.scenario import Scenario, Section, band_of, section_at
from apis_core.config.timing import Timing
from apis_core.converter.driver_refusals import DriverRefusals
from apis_core.converter.manager import ConverterManager
from apis_core.events import Effect, HourCounted, Record
from apis_core.grid_master.grid_master import GridMaster
from apis_core.model.messages import IS_STOPPING, BatteryReading, UnitStatus
from apis_core.model.types import NOBODY, ConverterMode, OperationMode, UnitId
from apis_core.trading.energy_history import EnergyHistory
from apis_core.trading.interlock import Interlock
from apis_core.trading.trader import Trader, TradingConditions
from apis_core.trading.valuation import Valuation

__all__ = ["UnitState"]

_RUN = (OperationMode.RUN,)


@dataclass(slots=True, kw_only=True)
class UnitState:
    """The state of one unit that the parts of its agent share.

    Attributes:
        unit_id: The unit's id, such as E001.
        instance_id: The id of this process; another process of the same unit has another one.
        policy: The policy of the cluster that holds now.
        policy_hash: The hash of that policy, for heartbeats.
        hardware: What this unit's battery and converter can bear.
        scenario: When this unit asks and accepts.
        timing: All time limits of this agent.
        election: The machine that knows whose orders the unit obeys.
        modes: The operation modes that operators ordered.
        interlock: The unit's slots.
        converter: The path to the unit's converter.
        faults: The faults that the unit knows of.
        trader: The machine that asks for deals, and answers the others.
        grid_master: What the unit does as the grid master; None = it is none.
        refusals: Orders that its driver did not carry out.
        battery: The last reading of the battery.
        soc_heard_ns: When a state of charge was heard last; None = not for as long as it holds.
        section: The section of the scenario for the battery's time of day.
        band: The band of the battery in that section.
        history: What the unit has seen of its sun and load.
        valuation: What energy is worth to it, if its scenario has the value rule.
        bus_dead_since_ns: Since when the bus has been dead by this unit's meter; None = it is not.
        peers: The last status of every other unit, and when it was heard.
        is_stopping: Whether the process is to end.
        paused_until_ns: Until when no deal begins, because a new policy is about to hold.
    """

    unit_id: UnitId
    instance_id: str
    policy: Policy
    policy_hash: str
    hardware: Hardware
    scenario: Scenario
    timing: Timing
    election: Election
    modes: OperationModes
    interlock: Interlock
    converter: ConverterManager
    faults: FaultRegistry
    trader: Trader
    grid_master: GridMaster | None = None
    refusals: DriverRefusals = field(default_factory=DriverRefusals)
    battery: BatteryReading | None = None
    soc_heard_ns: int | None = None
    section: Section | None = None
    band: str = ""
    history: EnergyHistory = field(default_factory=EnergyHistory)
    valuation: Valuation | None = None
    bus_dead_since_ns: int | None = None
    peers: dict[UnitId, tuple[UnitStatus, int]] = field(default_factory=dict)
    is_stopping: bool = False
    paused_until_ns: int = 0

    # --- the own battery -------------------------------------------------------------------------

    def take_scenario(self, scenario: Scenario) -> None:
        """Another scenario holds from now."""
        self.scenario = scenario
        if self.battery is not None:
            self._judge_battery(self.battery)

    def take_battery(self, battery: BatteryReading, now_ns: int) -> bool:
        """Take a reading of the battery; one without a state of charge tells of none.

        Returns:
            Whether the charge has moved into another band. That the bands themselves have
            changed, because it is later in the day, does not count: it happens to all units at
            once.
        """
        if battery.soc_ratio is not None:
            self.soc_heard_ns = now_ns
        return self._judge_battery(battery)

    def forget_battery(self, now_ns: int) -> bool:
        """A state of charge that is too old is none; True = it has just become so."""
        heard_ns = self.soc_heard_ns
        if heard_ns is None or now_ns - heard_ns <= self.timing.battery_ns:
            return False
        self.soc_heard_ns = None
        if self.battery is not None:
            self._judge_battery(replace(self.battery, soc_ratio=None))
        return True

    def _judge_battery(self, battery: BatteryReading) -> bool:
        """What follows from a reading is worked out once, and asked for often."""
        before = self.section, self.band
        self.battery = battery
        self.section = self._section_at(battery.seconds_of_day)
        remaining_wh = self.remaining_wh
        self.band = ""
        if self.section is not None and remaining_wh is not None:
            self.band = band_of(self.section, remaining_wh) or ""
        return self.section is before[0] and "" != before[1] != self.band

    def take_hour(self, hour: HourCounted) -> list[Effect]:
        """Remember what the house made and used; with the value rule, also in the journal."""
        self.history.add(hour.hour, hour.solar_wh, hour.load_wh, is_curtailed=hour.is_curtailed)
        return [] if self.scenario.value is None else [Record(hour)]

    def _section_at(self, seconds_of_day: float) -> Section | None:
        """The section of the scenario that holds, or the one that follows from the value rule."""
        rule, capacity_wh = self.scenario.value, self.hardware.battery_capacity_wh
        if rule is None:
            self.valuation = None
            return section_at(self.scenario, seconds_of_day)
        if self.valuation is None or not self.valuation.is_of(rule, self.policy, capacity_wh):
            self.valuation = Valuation(rule, self.policy, capacity_wh, self.history)
        return self.valuation.section

    @property
    def soc_ratio(self) -> float | None:
        """State of charge, 0..1; None = not known."""
        return self.battery.soc_ratio if self.battery else None

    @property
    def remaining_wh(self) -> float | None:
        """Energy in the battery; None = not known. [Wh]"""
        soc = self.soc_ratio
        return None if soc is None else soc * self.hardware.battery_capacity_wh

    @property
    def expected_wh(self) -> float | None:
        """Energy in the battery once everything agreed has moved. [Wh]"""
        remaining_wh = self.remaining_wh
        return None if remaining_wh is None else remaining_wh + self.interlock.committed_wh

    @property
    def efficient_grid_voltage_v(self) -> float | None:
        """Bus voltage at which this unit's converter loses least; None = not known. [V]"""
        ratio = self.hardware.efficient_grid_voltage_ratio
        battery_v = self.converter.reading.battery_voltage_v
        return None if ratio is None or battery_v is None else ratio * battery_v

    # --- the bus ---------------------------------------------------------------------------------

    def look_at_bus(self, now_ns: int) -> None:
        """Note whether the bus is dead: below the band in which converters lock out."""
        bus_v = self.converter.reading.grid_voltage_v
        limit_v = self.policy.grid_voltage_min_v - self.policy.grid_uvlo_mask_v
        if bus_v is None or bus_v >= limit_v:
            self.bus_dead_since_ns = None
        elif self.bus_dead_since_ns is None:
            self.bus_dead_since_ns = now_ns

    def minority_allowed(self, now_ns: int) -> bool:
        """Whether a part without a majority may go on: the policy lets it, and nothing flows."""
        since_ns = self.bus_dead_since_ns
        if not self.policy.availability or since_ns is None:
            return False
        return now_ns - since_ns >= self.timing.dead_bus_ns

    # --- the others ------------------------------------------------------------------------------

    def live_peer_ids(self, now_ns: int) -> tuple[UnitId, ...]:
        """Other units that have been heard lately."""
        since_ns = now_ns - self.timing.silent_ns
        peers = self.peers.items()
        return tuple([unit_id for unit_id, (_, heard_ns) in peers if heard_ns > since_ns])

    def is_cut_off(self, now_ns: int) -> bool:
        """Whether nobody leads, and nobody can: less than a majority is heard.

        A grid master that could go on with this unit's deals is not to be hoped for then; the
        others take this unit for dead in a moment, and leave its deals.
        """
        if self.election.grid_master_id(now_ns) != NOBODY:
            return False
        return self.reachable(now_ns) <= len(self.policy.member_unit_ids) // 2

    def reachable(self, now_ns: int) -> int:
        """How many units, this one among them, have been heard within a status period or so."""
        since_ns = now_ns - self.timing.status_ns - self.timing.deal.lost_ns
        return 1 + sum(heard_ns > since_ns for _, heard_ns in self.peers.values())

    def suspect_ids(self, now_ns: int) -> tuple[UnitId, ...]:
        """Members that have not been heard for longer than usual, but are not lost yet."""
        low_ns, high_ns = now_ns - self.timing.silent_ns, now_ns - self.timing.suspect_ns
        return tuple(u for u, (_, heard_ns) in self.peers.items() if low_ns < heard_ns <= high_ns)

    def lost_ids(self, now_ns: int) -> tuple[UnitId, ...]:
        """Members that have not been heard for so long that they are taken for gone."""
        live_ids = (self.unit_id, *self.live_peer_ids(now_ns))
        return tuple(u for u in self.policy.member_unit_ids if u not in live_ids)

    def fresh_statuses(self, now_ns: int) -> dict[UnitId, UnitStatus]:
        """What other units have said lately.

        An older word may tell of deals that are over: who goes on with those takes them up anew.
        """
        oldest_ns = now_ns - self.timing.silent_ns
        return {
            unit_id: status
            for unit_id, (status, heard_ns) in self.peers.items()
            if heard_ns >= oldest_ns
        }

    # --- dealing ---------------------------------------------------------------------------------

    def why_not_dealing(self, now_ns: int, modes: tuple[OperationMode, ...] = _RUN) -> str:
        """Why this unit neither asks, accepts nor begins deals now; empty = it does.

        Args:
            now_ns: Present time.
            modes: In which it may.
        """
        if self.is_stopping:
            return IS_STOPPING
        effective = self.modes.effective
        if effective not in modes:
            return f"is in {effective.name.replace('_', ' ').lower()}"
        if self.converter.reading.mode is ConverterMode.UNKNOWN:
            return "its converter has not been read"
        if self.battery is None or self.battery.soc_ratio is None:
            return "its battery has not been read"
        reason = self.faults.why_not() or self.refusals.why_not(now_ns)
        if reason:
            return reason
        if now_ns < self.paused_until_ns:
            return "a new policy is about to hold"
        if self.unit_id not in self.policy.member_unit_ids:
            return "it is no member of the policy"
        grid_master_id = self.election.grid_master_id(now_ns)
        if grid_master_id == NOBODY:
            return "there is no grid master"
        reason = self.why_not_under(grid_master_id)
        if reason:
            return reason
        if not self.converter.has_answered:
            return "its driver has not answered yet"
        if self.section is None:
            return "the scenario has no section for this time of day"
        return ""

    def why_not_under(self, grid_master_id: UnitId) -> str:
        """Why no deal of this unit begins under that grid master; empty = it may."""
        peer = self.peers.get(grid_master_id)
        if peer is not None and peer[0].policy_hash not in ("", self.policy_hash):
            return f"its policy differs from that of {grid_master_id}"
        return ""

    def trading_conditions(
        self, now_ns: int, modes: tuple[OperationMode, ...] = _RUN
    ) -> TradingConditions:
        """The facts by which the trader decides, at this moment."""
        return TradingConditions(
            why_not=self.why_not_dealing(now_ns, modes),
            section=self.section,
            expected_wh=self.expected_wh,
            efficient_grid_voltage_v=self.efficient_grid_voltage_v,
            grid_master_id=self.election.grid_master_id(now_ns),
            live_peer_ids=self.live_peer_ids(now_ns),
        )
