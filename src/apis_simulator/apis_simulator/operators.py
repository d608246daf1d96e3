"""The operator of a cluster: orders modes, tells of faults, says Run after one that latched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from apis_core import events as ev
from apis_core.model.messages import OperationModeOrder, UnitStatus
from apis_core.model.types import NOBODY, OperationMode, UnitId
from apis_core.model.units import SECOND_NS
from apis_simulator.faults import Fault, message_of
from apis_simulator.invariants import Invariants
from apis_simulator.network import Network
from apis_simulator.process import Process
from apis_simulator.timeline import Timeline

__all__ = ["Operator"]

_CALL_S = 120.0  # until somebody has seen to a fault that latched


class _Hears(Protocol):
    """How a unit takes an event."""

    def __call__(self, unit_id: UnitId, event: ev.Event) -> None: ...


class Operator:
    """Speaks to the units over the network.

    Args:
        line: On which it acts.
        ids: All units.
        network: Between it and the units.
        processes: Of the units that run; kept up to date by the caller.
        statuses: Of all units; kept up to date by the caller.
        hear: Takes what it says to a unit.
        invariants: Which learn of scrams.

    Attributes:
        is_attentive: Whether it comes when a fault has latched.
    """

    def __init__(
        self,
        *,
        line: Timeline,
        ids: Sequence[UnitId],
        network: Network,
        processes: Mapping[UnitId, Process],
        statuses: Mapping[UnitId, UnitStatus],
        hear: _Hears,
        invariants: Invariants,
    ) -> None:
        self.is_attentive = False
        self._line = line
        self._ids = ids
        self._network = network
        self._processes = processes
        self._statuses = statuses
        self._hear = hear
        self._invariants = invariants
        self._mode_version = 0
        self._is_coming = False

    def next_mode_version(self) -> int:
        """Newer than what any unit says, as every operator's tool has it: a scram sets modes."""
        known = [status.global_mode_version for status in self._statuses.values()]
        self._mode_version = max([self._mode_version, *known]) + 1
        return self._mode_version

    def order_mode(self, unit_id: UnitId, mode: OperationMode) -> None:
        """Order one unit or all (NOBODY) into a mode."""
        self._line.say("*", f"operator orders {mode.name} for {unit_id or 'all'}")
        version = 0 if unit_id else self.next_mode_version()
        order = OperationModeOrder(unit_id=unit_id, mode=mode, version=version, issuer="operator")
        for to in self._ids:
            self._line.at(self._soon_ns(), self._hear, to, ev.Received(order))

    def scram(self, fault: Fault) -> None:
        """Tell some units of a fault of the whole cluster."""
        told = message_of(fault)
        self._line.say(
            "*", f"operator tells {','.join(fault.units)} of a fault {told.category.name}"
        )
        for to in fault.units:
            self._line.at(self._soon_ns(), self._hear, to, ev.Received(told))
            self._line.at(self._soon_ns(), self._must_scram, to)

    def hear_latch(self) -> None:
        """Take a unit's word that a fault has latched: somebody must look, and say Run."""
        if self.is_attentive and not self._is_coming:
            self._is_coming = True
            self._line.at(self._line.now_ns + round(_CALL_S * SECOND_NS), self._say_run)

    def _say_run(self) -> None:
        self._is_coming = False
        self.order_mode(NOBODY, OperationMode.RUN)

    def _must_scram(self, unit_id: UnitId) -> None:
        if unit_id in self._processes:
            self._invariants.scrammed(unit_id, self._line.now_s)

    def _soon_ns(self) -> int:
        return self._line.now_ns + self._network.delay_ns()
