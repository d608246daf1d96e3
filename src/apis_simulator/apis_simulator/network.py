"""The network between the units: late, lossy, doubling, and at times in pieces."""

from __future__ import annotations

from random import Random

from apis_core.model.types import UnitId
from apis_core.model.units import SECOND_NS
from apis_simulator.faults import Fault, Profile

__all__ = ["Network"]

USUAL_NS = (500_000, 20_000_000)


class Network:
    """Says of each message how late it comes, if it does, and how often.

    Attributes:
        profile: How bad it is; replaced by a calm one when the faults are over.
        usual_ns: How long a message takes, at least and at most.
    """

    def __init__(self, profile: Profile, random: Random) -> None:
        self.profile = profile
        self.usual_ns = USUAL_NS
        self._random = random
        self._cuts: list[Fault] = []

    def cut(self, fault: Fault) -> None:
        """A partition begins."""
        self._cuts.append(fault)

    def heal(self, fault: Fault) -> None:
        """It ends."""
        self._cuts.remove(fault)

    def is_open(self, sender: UnitId, to: UnitId) -> bool:
        """Whether a message can pass now."""
        for cut in self._cuts:
            is_out, is_in = sender in cut.units, to in cut.units
            if is_out is not is_in and cut.detail in (0, 1 if is_out else 2):
                return False
        return True

    def is_alone(self, unit_id: UnitId) -> bool:
        """Whether nobody can hear or reach this unit."""
        return any(cut.units == (unit_id,) and cut.detail == 0 for cut in self._cuts)

    def delays_ns(self, sender: UnitId, to: UnitId) -> tuple[int, ...]:
        """Delay of each copy that arrives; none if it is lost."""
        if sender == to:
            return (self._usual_ns(),)
        if self._cuts and not self.is_open(sender, to):
            return ()
        profile, chance = self.profile, self._random.random
        if profile.loss and chance() < profile.loss:
            return ()
        if profile.duplicate and chance() < profile.duplicate:
            return (self.delay_ns(), self.delay_ns())
        return (self.delay_ns(),)

    def delay_ns(self) -> int:
        """How long one message takes."""
        profile = self.profile
        if profile.straggle and self._random.random() < profile.straggle:
            return int(profile.straggle_s * SECOND_NS * self._random.random())
        return self._usual_ns()

    def _usual_ns(self) -> int:
        low_ns, high_ns = self.usual_ns
        return low_ns + int((high_ns - low_ns) * self._random.random())
