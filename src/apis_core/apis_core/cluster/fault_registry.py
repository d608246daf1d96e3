"""The faults that a unit knows of, and the quarantine that follows them.

A fault of level ERROR or worse keeps the unit concerned (LOCAL) or the whole cluster (GLOBAL) from
new deals until it has not been seen for the policy's sustaining time. A fault that comes back soon
after its end lasts twice as long each time, so that the bus is not started again and again. One
that has come back too often may stay until an operator says Run. Some stay so from the first time
on (see :func:`~apis_core.cluster.fault_actions.stays_until_run`); those are *latched*, and the
unit writes them down.
The state is derived from the faults themselves: there is no flag that could disagree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from apis_core.cluster.fault_actions import Action, actions_for, stays_until_run
from apis_core.model.messages import Fault
from apis_core.model.types import NOBODY, FaultCategory, FaultExtent, FaultLevel, UnitId
from apis_core.model.units import NEVER_NS

__all__ = ["FaultRegistry"]

_SOON = 10  # times the sustaining time after its end: the fault has come back
_MAX_DOUBLINGS = 6

_Key = tuple[UnitId, str, bool]


@dataclass(slots=True)
class FaultRegistry:
    """The faults that one unit knows of, each with the time for which it lasts.

    Attributes:
        unit_id: This unit.
        local_quarantine_ns: How long a LOCAL fault lasts after it was last seen.
        global_quarantine_ns: How long a GLOBAL fault lasts after it was last seen.
        latch_after: A fault that has come back so often, each time soon after it was over, lasts
            until :meth:`reset`, >= 1; None = never.
    """

    unit_id: UnitId
    local_quarantine_ns: int
    global_quarantine_ns: int
    latch_after: int | None = None
    _until_ns: dict[_Key, tuple[Fault, int]] = field(default_factory=dict)
    _seen_ns: dict[_Key, int] = field(default_factory=dict)  # last
    _returns: dict[_Key, tuple[int, int]] = field(default_factory=dict)  # how often, last end

    def add(self, fault: Fault, now_ns: int) -> bool:
        """Note a fault. A warning is not kept.

        A fault that is reported again counts from when it was seen last.

        Returns:
            Whether it is new, and not just seen again.
        """
        if fault.level is FaultLevel.WARN:
            return True
        seen_ns = now_ns - fault.age_ns
        is_global = fault.extent is not FaultExtent.LOCAL
        lasts_ns = self.global_quarantine_ns if is_global else self.local_quarantine_ns
        key = (fault.unit_id, fault.code, is_global)
        is_news = key not in self._until_ns or now_ns >= self._until_ns[key][1]
        if fault.age_ns and (not is_news or fault.age_ns >= lasts_ns):
            return False
        times, ended_ns = self._returns.get(key, (0, now_ns))
        if is_news and key in self._returns:
            times = times + 1 if now_ns - ended_ns < _SOON * lasts_ns else 0
        until_ns = seen_ns + lasts_ns * 2 ** min(times, _MAX_DOUBLINGS)
        # a network that comes and goes is nothing that an operator could see to at the unit
        can_latch = fault.category is not FaultCategory.FRAMEWORK
        if can_latch and self.latch_after is not None and times >= self.latch_after:
            until_ns = NEVER_NS
        if stays_until_run(fault) and self._concerns_us(fault):
            until_ns = NEVER_NS
        self._until_ns[key] = (fault, until_ns)
        self._seen_ns[key] = seen_ns
        self._returns[key] = (times, until_ns)
        return is_news

    def to_tell_again(self, now_ns: int) -> list[Fault]:
        """Faults that are not over, for a grid master that is new.

        Those that this unit reported, and those of the whole cluster: an operator's tool, or a
        grid master that is gone, tells them once.
        """
        young_ns = now_ns - self.global_quarantine_ns
        return [
            replace(fault, age_ns=max(now_ns - self._seen_ns[key], 1))
            for key, (fault, until_ns) in self._until_ns.items()
            if now_ns < until_ns
            and (
                fault.reporter_id == self.unit_id
                or (Action.SCRAM in actions_for(fault) and self._seen_ns[key] > young_ns)
            )
        ]

    def restore(self, latched: Iterable[Fault], now_ns: int) -> None:
        """Take up the faults that held this unit back when an earlier process of it ended.

        They are no news for the others: an operator may have said Run since.
        """
        for fault in latched:
            key = (fault.unit_id, fault.code, fault.extent is not FaultExtent.LOCAL)
            self._until_ns[key] = (fault, NEVER_NS)
            self._seen_ns[key] = now_ns - self.global_quarantine_ns
            self._returns[key] = (0, NEVER_NS)

    def holds(self, fault: Fault) -> bool:
        """Whether a fault is kept: not if it is a warning, or was told too late."""
        key = (fault.unit_id, fault.code, fault.extent is not FaultExtent.LOCAL)
        return key in self._until_ns

    @property
    def latched(self) -> tuple[Fault, ...]:
        """The faults that keep this unit from dealing until an operator says Run."""
        return tuple(
            [
                fault
                for fault, until_ns in self._until_ns.values()
                if until_ns == NEVER_NS and self._concerns_us(fault)
            ]
        )

    def scrams(self, now_ns: int) -> tuple[Fault, ...]:
        """The faults of the whole cluster for which nothing may flow, each with its age."""
        return tuple(
            [
                replace(fault, age_ns=max(now_ns - self._seen_ns[key], 0))
                for key, (fault, until_ns) in self._until_ns.items()
                if now_ns < until_ns and Action.SCRAM in actions_for(fault)
            ]
        )

    @property
    def wake_ns(self) -> int:
        """When the next fault is over."""
        if not self._until_ns:  # asked after every event, and mostly so
            return NEVER_NS
        return min([until_ns for _, until_ns in self._until_ns.values()])

    def tick(self, now_ns: int) -> None:
        """Forget the faults whose time is over."""
        for key in [key for key, (_, until_ns) in self._until_ns.items() if now_ns >= until_ns]:
            del self._until_ns[key]

    @property
    def known(self) -> tuple[tuple[Fault, int], ...]:
        """Faults that are not over, each with when it will be. [ns]"""
        return tuple(self._until_ns.values())

    def reset(self, unit_id: UnitId = NOBODY) -> tuple[str, ...]:
        """An operator has seen to a unit: forget its faults, and how often they came back.

        A fault that is still there is news when it is seen next.

        Args:
            unit_id: Whose faults, those that concern it alone; NOBODY = all faults.

        Returns:
            Codes of the faults that are over by this, sorted.
        """
        meant = [
            (of_unit_id, code, is_global)
            for of_unit_id, code, is_global in self._returns
            if unit_id == NOBODY or (unit_id == of_unit_id and not is_global)
        ]
        return self._forget(meant)

    def reset_global(self) -> None:
        """Forget the faults of the whole cluster: an operator said Run, and we missed it."""
        self._forget([key for key in self._returns if key[2]])

    def _forget(self, meant: list[_Key]) -> tuple[str, ...]:
        ended = {key[1] for key in meant if key in self._until_ns}
        for key in meant:
            self._until_ns.pop(key, None)
            del self._returns[key]
        return tuple(sorted(ended))

    def why_not(self) -> str:
        """Why this unit makes no deals; empty = no fault forbids it."""
        for key, (fault, _) in self._until_ns.items():
            if self._concerns_us(fault):
                tail = ", until an operator says Run" if self._is_latched(key) else ""
                return f"fault {fault.code}{tail}"
        return ""

    def codes(self) -> tuple[str, ...]:
        """Codes of the faults that concern this unit or all."""
        if not self._until_ns:
            return ()
        return tuple(
            sorted(
                {fault.code for fault, _ in self._until_ns.values() if self._concerns_us(fault)}
            )
        )

    def _concerns_us(self, fault: Fault) -> bool:
        return fault.extent is not FaultExtent.LOCAL or fault.unit_id == self.unit_id

    def _is_latched(self, key: _Key) -> bool:
        return key in self._until_ns and self._until_ns[key][1] == NEVER_NS
