"""What the processes of a grid are for, and what follows from it when one of them dies."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

__all__ = ["RESTART_DELAYS_S", "SETTLED_S", "WRONG_CONFIGURATION", "Restarts", "Role"]

# Before each try. The first comes at once: a converter that its driver left on is told WAIT by
# the next one.
RESTART_DELAYS_S = (0.0, 1.0, 2.0, 4.0, 8.0)
WRONG_CONFIGURATION = 2  # exit code of all programs; the next try would end in the same way
SETTLED_S = 60.0  # who has lived for so long has all tries again


class Role(Enum):
    """What a process does in a grid."""

    UNIT = "the node of a unit, or of several"
    DRIVER = "drives the devices of a unit"
    WORLD = "the emulator, or the player of a recording: makes the time, the others live in it"
    WINDOW = "looks at the grid and may come and go"
    RECORDER = "writes a recording, into a file that must not be begun anew"

    @property
    def stop_turn(self) -> int:
        """The processes with a lower turn stop, and are waited for, before those with a higher.

        Unit nodes stop while the drivers still answer, and those while the hardware does: each
        puts its converters to WAIT. The recorder hears the last of it.
        """
        return {Role.UNIT: 0, Role.DRIVER: 1, Role.WORLD: 2, Role.WINDOW: 2}.get(self, 3)

    @property
    def is_required(self) -> bool:
        """Whether the rest makes no sense without it, so that all stop when it dies."""
        return self is Role.WORLD

    @property
    def is_restarted(self) -> bool:
        """Whether it is started again when it dies; see :class:`Restarts`."""
        return self not in (Role.WORLD, Role.RECORDER)


class Restarts:
    """Counts how often one process was started again, and says when to give it up.

    Args:
        delays_s: Before each try. [s]
    """

    def __init__(self, delays_s: Sequence[float] = RESTART_DELAYS_S) -> None:
        self.delays_s = delays_s
        self.tries = 0

    def delay_s(self, lived_s: float) -> float | None:
        """How long to wait before the next start; None = no more tries.

        Args:
            lived_s: How long the process that has died was up. [s]
        """
        if lived_s >= SETTLED_S:
            self.tries = 0
        if self.tries >= len(self.delays_s):
            return None
        self.tries += 1
        return self.delays_s[self.tries - 1]
