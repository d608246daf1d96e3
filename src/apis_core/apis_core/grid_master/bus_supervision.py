"""What the grid master does about the bus as a whole, whatever its deals are doing.

With each reading, and at a rate of its own, it looks for leaks and overloaded branches. It moves
the bus to the voltage at which least is lost.
"""

from __future__ import annotations

from collections.abc import Mapping

from apis_core.config.policy import Policy
from apis_core.config.timing import DealTiming
from apis_core.events import Effect, Log
from apis_core.grid_master.active_deals import ActiveDeals
from apis_core.grid_master.bus_monitor import BusMonitor
from apis_core.grid_master.bus_state import Stage
from apis_core.grid_master.deal.machine import DealMachine
from apis_core.grid_master.deal.transitions import Phase
from apis_core.grid_master.voltage_optimisation import DealingUnit, optimal_voltage_v
from apis_core.grid_master.voltage_reference import VoltageReference
from apis_core.model.messages import ConverterReading, UnitStatus
from apis_core.model.types import ConverterMode, UnitId
from apis_core.model.units import NEVER_NS

__all__ = ["BusSupervision"]

_LEAST_MOVE_V = 0.5  # a smaller gain is not worth moving the bus


class BusSupervision:
    """Looks at the bus as a whole.

    Args:
        policy: Of the cluster.
        timing: How often deals are polled.
        deals: That are in hand.
        reference: Of the bus voltage.
        statuses: Of all units, as last heard; kept up to date by the grid master.

    Attributes:
        wake_ns: When :meth:`look` wants to be called.
    """

    def __init__(
        self,
        policy: Policy,
        timing: DealTiming,
        deals: ActiveDeals,
        reference: VoltageReference,
        statuses: Mapping[UnitId, UnitStatus],
    ) -> None:
        self.wake_ns = NEVER_NS
        self._policy = policy
        self._timing = timing
        self._deals = deals
        self._reference = reference
        self._statuses = statuses
        self._monitor = BusMonitor(
            policy,
            fresh_ns=2 * timing.poll_ns + timing.answer_ns,
            hold_ns=timing.hold_ns + timing.poll_ns,
        )
        self._optimised_for: frozenset[str] = frozenset()  # deals that the voltage was chosen for

    def hear(
        self,
        unit_id: UnitId,
        reading: ConverterReading,
        now_ns: int,
        asked_ns: int | None = None,
    ) -> None:
        """A unit's converter was read, because it was asked at that time, or by itself (None)."""
        self._monitor.hear(unit_id, reading, now_ns, asked_ns)
        for machine in self._deals.on_bus():
            self._monitor.note_on_bus(machine.deal.unit_ids, now_ns)
        if self.wake_ns == NEVER_NS:
            return  # nothing is on the bus
        found = self._monitor.findings(*self._carried(now_ns), now_ns)
        if found and not self._monitor.is_suspicious:  # else it is looked at often enough
            self.wake_ns = now_ns

    def plan(self, now_ns: int) -> None:
        """Look again later, if there is something to look at."""
        if self.wake_ns == NEVER_NS and self._deals.on_bus():
            period_ns = self._policy.data_collection_period_ns
            if self._monitor.is_suspicious:
                period_ns = min(period_ns, self._timing.quick_poll_ns)
            self.wake_ns = now_ns + period_ns

    @property
    def wants_readings(self) -> bool:
        """Whether something was found that fresh readings must confirm."""
        return self._monitor.is_suspicious

    def _steady(self, now_ns: int) -> list[DealMachine] | None:
        """The deals on the bus, in an order that does not change from process to process.

        None = not all of them run, or the voltage is not steady, or another unit holds it, too: a
        hand-over was interrupted, and what that unit carries is nobody's deal.
        """
        on_bus = self._deals.on_bus()
        for unit_id in self._statuses:
            reading = self._monitor.reading(unit_id, now_ns)
            holds_bus = reading and reading.mode is ConverterMode.VOLTAGE_REFERENCE
            if holds_bus and unit_id != self._reference.unit_id:
                return None
        is_steady = all(machine.phase is Phase.RUNNING for machine in on_bus)
        return on_bus if is_steady and self._reference.stage is Stage.UP else None

    def look(self, now_ns: int) -> list[tuple[str, str]]:
        """What is wrong on the bus, as (code, message for people)."""
        self.wake_ns = NEVER_NS  # until there is something to look at again
        return self._monitor.look(*self._carried(now_ns), now_ns)

    def _carried(self, now_ns: int) -> tuple[tuple[UnitId, ...], dict[UnitId, float]]:
        """Units whose currents add up to nothing, and what each may carry for its deals. [A]"""
        # currents are added up in this order
        read = self._steady(now_ns) or []
        dealing_ids = tuple(dict.fromkeys(u for m in read for u in m.deal.unit_ids))
        assumed_a: dict[UnitId, float] = {}
        if self._policy.topology:
            for machine in self._deals.on_bus():
                for unit_id in machine.deal.unit_ids:
                    share_a = abs(machine.share_a(unit_id))
                    assumed_a[unit_id] = assumed_a.get(unit_id, 0.0) + share_a
        return dealing_ids, assumed_a

    def optimise_voltage(self, now_ns: int, *, is_turn_taken: bool) -> list[Effect]:
        """Once after each change of the deals that flow, when all of them have been read since.

        Args:
            now_ns: Present time.
            is_turn_taken: Whether a deal is about to start.
        """
        steady = self._steady(now_ns)
        if steady is None:
            return []
        deal_ids = frozenset(machine.deal.deal_id for machine in steady)
        since_ns = max((machine.phase_since_ns for machine in steady), default=now_ns)
        is_read = now_ns - since_ns > 2 * self._timing.poll_ns
        enabled = self._policy.voltage_optimization_enabled
        if not enabled or deal_ids == self._optimised_for or is_turn_taken or not is_read:
            return []
        self._optimised_for = deal_ids
        units = {}
        for unit_id in (u for machine in steady for u in machine.deal.unit_ids):
            status = self._statuses.get(unit_id)
            reading = self._monitor.reading(unit_id, now_ns) or ConverterReading()
            units[unit_id] = DealingUnit(
                efficient_ratio=status.efficient_grid_voltage_ratio if status else None,
                battery_voltage_v=reading.battery_voltage_v,
                grid_voltage_v=reading.grid_voltage_v,
                grid_power_w=reading.grid_power_w,
            )
        present_v = self._reference.voltage_v
        best_v = optimal_voltage_v(units, present_v, self._policy)
        if best_v is None or abs(best_v - present_v) < _LEAST_MOVE_V:
            return []
        note = Log(f"moves the bus from {present_v:.1f} to {best_v:.1f} V, where least is lost")
        return [note, *self._reference.set_voltage(best_v, now_ns)]
