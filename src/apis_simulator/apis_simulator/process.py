"""One life of a unit's node, with its own clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from apis_core.model.messages import BatteryReading
from apis_core.model.origin import Origin
from apis_core.model.types import UnitId
from apis_core.model.units import NEVER_NS
from apis_core.unit.agent import Agent

__all__ = ["Process"]


@dataclass(slots=True, eq=False)
class Process:
    """One life of a unit's node. Its clock is its own: it starts anywhere and runs a bit wrong."""

    unit_id: UnitId
    agent: Agent
    born_ns: int
    clock_ns: int  # what it shows at birth
    rate: float
    is_alive: bool = True
    armed_ns: int = NEVER_NS  # on the clock of the world
    wanted_ns: int = NEVER_NS  # on its own
    dies_after: int = 0  # effects, 0 = does not
    pending: set[Origin] = field(default_factory=set)  # calls that are unanswered
    told_battery: BatteryReading | None = None

    def local_ns(self, now_ns: int) -> int:
        """Its clock now."""
        return self.clock_ns + int((now_ns - self.born_ns) * self.rate)

    def jump(self, by_ns: int) -> None:
        """Somebody sets its clock; when it wants to be woken is reckoned anew."""
        self.clock_ns += by_ns
        self.armed_ns = self.wanted_ns = NEVER_NS

    def world_ns(self, local_ns: int) -> int:
        """When its clock will show this. A hair late, never early."""
        return self.born_ns + int((local_ns - self.clock_ns) / self.rate) + 2
