"""What is broken in the emulated hardware now, and what will be."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from apis_core.model.errors import ConfigError, Problem
from apis_core.model.types import UnitId
from apis_emulator.wires import Wire
from apis_site.grid import InjectedFault

__all__ = ["BrokenHardware", "FaultBoard", "Injection", "check_plan", "why_not"]

SAME_INSTANT_S = 1e-6  # times may differ by a rounding


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault with its time.

    Attributes:
        id: Its name; ids are not used again.
        fault: What is broken.
        begins_s: Simulated time. [s]
        ends_s: inf = until it is repaired. [s]
    """

    id: str
    fault: InjectedFault
    begins_s: float
    ends_s: float

    def __str__(self) -> str:
        fault = self.fault
        where = fault.unit if fault.other_unit is None else f"{fault.unit}-{fault.other_unit}"
        text = f"{self.id}: {fault.kind} {where}"
        if fault.quantity is not None:
            text += f" {fault.quantity} {fault.value:+g}"
        return text if math.isinf(self.ends_s) else f"{text} until {self.ends_s:.1f} s"


class BrokenHardware:
    """What the drivers of the converters have to know.

    Attributes:
        offsets: By unit and quantity: how much too high it reads.
        stuck: Units whose converter obeys nobody.
        silent: Units that are not heard, and hear nothing.
        halted: Units whose driver's process is gone: nobody watches the hold time.
        unpermitted: Units whose battery permits no exchange.
        open_lines: Pairs of units.
    """

    def __init__(self, faults: Iterable[InjectedFault] = ()) -> None:
        self.offsets: dict[UnitId, dict[str, float]] = {}
        self.stuck: set[UnitId] = set()
        self.silent: set[UnitId] = set()
        self.halted: set[UnitId] = set()
        self.unpermitted: set[UnitId] = set()
        self.open_lines: set[frozenset[UnitId]] = set()
        for fault in faults:
            match fault.kind:
                case "sensor_offset":
                    offsets = self.offsets.setdefault(fault.unit, {})
                    quantity = str(fault.quantity)
                    offsets[quantity] = offsets.get(quantity, 0.0) + (fault.value or 0.0)
                case "stuck_converter":
                    self.stuck.add(fault.unit)
                case "lost_communication":
                    self.silent.add(fault.unit)
                case "battery_permit":
                    self.unpermitted.add(fault.unit)
                case "line_break":
                    self.open_lines.add(frozenset((fault.unit, str(fault.other_unit))))


class FaultBoard:
    """Faults that are and that will be, in simulated time."""

    def __init__(self, planned: Iterable[InjectedFault] = ()) -> None:
        self._all: dict[str, Injection] = {}
        self._count = 0
        for fault in planned:
            self.add(fault, fault.at_s)

    def add(self, fault: InjectedFault, now_s: float) -> Injection:
        """Plan a fault that begins at a time. [s]"""
        self._count += 1
        ends_s = math.inf if fault.for_s is None else now_s + fault.for_s
        injection = Injection(f"F{self._count}", fault, now_s, ends_s)
        self._all[injection.id] = injection
        return injection

    def repair(self, fault_id: str) -> bool:
        """Take a fault back, also one that has not begun; whether there was one."""
        return self._all.pop(fault_id, None) is not None

    def repair_all(self, now_s: float) -> None:
        """Take everything back that is broken at a time; what is planned stays. [s]"""
        for injection in list(self.active(now_s)):
            del self._all[injection.id]

    def forget_unit(self, unit_id: UnitId) -> None:
        """Take back what breaks on a unit that is taken away."""
        for injection in list(self._all.values()):
            if unit_id in (injection.fault.unit, injection.fault.other_unit):
                del self._all[injection.id]

    def active(self, now_s: float) -> Iterator[Injection]:
        """What is broken at a time. [s]"""
        at_s = now_s + SAME_INSTANT_S
        return (i for i in self._all.values() if i.begins_s <= at_s < i.ends_s)

    def next_change_s(self, now_s: float) -> float:
        """When something breaks or is whole again next; inf = never. [s]"""
        edges = (edge for i in self._all.values() for edge in (i.begins_s, i.ends_s))
        return min((edge for edge in edges if edge > now_s + SAME_INSTANT_S), default=math.inf)


def why_not(fault: InjectedFault, unit_ids: Collection[UnitId], wires: Iterable[Wire]) -> str:
    """Why this cannot happen where these units and lines are; empty if it can."""
    if fault.unit not in unit_ids:
        return f"there is no unit {fault.unit}; there are {' '.join(unit_ids)}"
    if fault.kind == "line_break" and not any(
        {fault.unit, fault.other_unit} == {a, b} for a, b, _ in wires
    ):
        return f"there is no line between {fault.unit} and {fault.other_unit}"
    return ""


def check_plan(
    faults: Sequence[InjectedFault], unit_ids: Collection[UnitId], wires: Sequence[Wire]
) -> None:
    """Look at all faults that a grid description plans.

    Raises:
        ConfigError: Some cannot happen in it.
    """
    problems = [
        Problem("grid", f"emulator.faults[{index}]", "", why)
        for index, fault in enumerate(faults)
        if (why := why_not(fault, unit_ids, wires))
    ]
    if problems:
        raise ConfigError(problems)
