"""What a unit does about faults: its own, those that others tell of, those of the whole grid.

A fault of the whole grid is acted upon by every unit at once and by itself, whether or not there
is a grid master. A grid master ends the deals besides, and one that takes office later begins with
the faults that its unit knows.
"""

from __future__ import annotations

from apis_core.cluster.fault_actions import Action, actions_for
from apis_core.events import Effect, FaultsLatched, PublishFault, Record
from apis_core.model.messages import Fault, OperationModeOrder, UnitStatus
from apis_core.model.types import (
    NOBODY,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    OperationMode,
)
from apis_core.unit.order_handler import OrderHandler
from apis_core.unit.unit_state import UnitState

__all__ = ["FaultHandler"]


class FaultHandler:
    """Registers faults, publishes those of its unit, and carries out what follows from them.

    Args:
        state: The unit's state.
        order_handler: Has the grid master end the deals of the unit.
    """

    def __init__(self, state: UnitState, order_handler: OrderHandler) -> None:
        self._state = state
        self._order_handler = order_handler
        self._told_to = (NOBODY, 0)  # the grid master and the term that know our faults
        self._written = state.faults.latched  # as the journal has them

    def raise_local(
        self,
        code: str,
        message: str,
        now_ns: int,
        category: FaultCategory = FaultCategory.HARDWARE,
        level: FaultLevel = FaultLevel.ERROR,
    ) -> list[Effect]:
        """A fault of this unit has been found; returns nothing if it is known already."""
        unit_id = self._state.unit_id
        fault = Fault(
            unit_id=unit_id,
            reporter_id=unit_id,
            category=category,
            extent=FaultExtent.LOCAL,
            level=level,
            code=code,
            message=message,
        )
        if not self._state.faults.add(fault, now_ns):
            return []
        return [PublishFault(fault), *self._act_upon(fault, now_ns)]

    def hear(self, fault: Fault, now_ns: int) -> list[Effect]:
        """Take a fault that another unit tells of."""
        state = self._state
        is_member = fault.unit_id in state.policy.member_unit_ids
        if not is_member or fault.reporter_id == state.unit_id:
            return []  # our own were taken in when they were raised
        is_news = state.faults.add(fault, now_ns)
        if not state.faults.holds(fault):
            return []
        if is_news and fault.extent is FaultExtent.LOCAL and fault.unit_id == state.unit_id:
            return self._act_upon(fault, now_ns)  # somebody else has seen that we are amiss
        effects = self._stop_with_all(fault, now_ns) if is_news else []
        if state.grid_master is not None:
            effects += state.grid_master.hear_fault(fault, now_ns)
        return effects

    def follow_up(self, effects: list[Effect], now_ns: int) -> list[Effect]:
        """What follows from the faults that are about to be published, the grid master's too."""
        following: list[Effect] = []
        for effect in effects:
            if isinstance(effect, PublishFault) and self._state.faults.add(effect.fault, now_ns):
                following += self._stop_with_all(effect.fault, now_ns)
        return following

    def hear_order(self, order: OperationModeOrder) -> list[Effect]:
        """Take an operator's order of a mode; after a Run the faults that it is for are over."""
        modes, faults = self._state.modes, self._state.faults
        effects = modes.hear_order(order)
        if order.mode is not OperationMode.RUN:
            return effects
        is_for_all = order.unit_id == NOBODY
        is_old = is_for_all and 0 < order.version < modes.version
        # at the same version the stricter word wins, as everywhere
        if not is_for_all or (modes.global_mode is OperationMode.RUN and not is_old):
            faults.reset(order.unit_id)
        return effects

    def hear_status(self, status: UnitStatus) -> list[Effect]:
        """Catch up with a mode that another unit knows; it may be a Run that we have missed."""
        modes = self._state.modes
        effects = modes.hear_status(status)
        if effects and modes.global_mode is OperationMode.RUN:
            self._state.faults.reset_global()
        return effects

    def write_down(self) -> list[Effect]:
        """Write down which faults have latched, if that has changed."""
        latched = self._state.faults.latched
        if latched == self._written:
            return []
        self._written = latched
        return [Record(FaultsLatched(latched))]

    def tell_again(self, now_ns: int) -> list[Effect]:
        """Tell a new grid master what keeps this unit, or all, from dealing: it may not know."""
        election = self._state.election
        told_to = (election.grid_master_id(now_ns), election.term)
        if told_to[0] in (NOBODY, self._state.unit_id) or told_to == self._told_to:
            return []
        self._told_to = told_to
        return [PublishFault(fault) for fault in self._state.faults.to_tell_again(now_ns)]

    def _act_upon(self, fault: Fault, now_ns: int) -> list[Effect]:
        """What a fault of this unit asks it to do."""
        state = self._state
        effects: list[Effect] = []
        effects += state.grid_master.hear_fault(fault, now_ns) if state.grid_master else []
        for action in actions_for(fault):
            if action is Action.ASK_TO_END:
                self._order_handler.ask_to_end_all(f"{fault.code}: {fault.message}", now_ns)
            elif action is Action.STEP_DOWN:
                effects += state.election.step_down(now_ns)
            elif action is Action.MODE_STOP_LOCAL:
                order = OperationModeOrder(unit_id=state.unit_id, mode=OperationMode.FORCE_STOP)
                effects += state.modes.hear_order(order)
        return effects

    def _stop_with_all(self, fault: Fault, now_ns: int) -> list[Effect]:
        """What a fault of the whole cluster asks of every unit: nobody waits for orders."""
        state, actions = self._state, actions_for(fault)
        effects: list[Effect] = []
        if Action.SCRAM in actions:
            effects += state.converter.stop(f"{fault.code}: {fault.message}", now_ns)
        is_stopped = state.modes.global_mode is OperationMode.FORCE_STOP
        if Action.MODE_STOP in actions and not is_stopped:
            order = OperationModeOrder(unit_id=NOBODY, mode=OperationMode.FORCE_STOP)
            effects += state.modes.hear_order(order)
        return effects
