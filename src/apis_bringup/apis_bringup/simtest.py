"""``apisctl simtest``: the simulator, in a process of its own.

The packages in the middle do not import each other, so this one only knows the command.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

__all__ = ["SimtestOptions", "run_simtest"]


@dataclass(frozen=True, slots=True)
class SimtestOptions:
    """What the command line says; see docs/simulator.md."""

    seeds: str
    units: int
    hours: float
    profile: str
    replay: int | None = None
    trace: bool = False
    save: bool = False
    interpreted: bool = False

    def arguments(self) -> list[str]:
        """The same for ``python -m apis_emulator.virtual``."""
        words = ["--seeds", self.seeds, "--units", str(self.units), "--hours", f"{self.hours:g}"]
        words += ["--profile", self.profile]
        if self.replay is not None:
            words += ["--replay", str(self.replay)]
        words += ["--trace"] * self.trace + ["--save"] * self.save
        return words + ["--interpreted"] * self.interpreted


def run_simtest(options: SimtestOptions) -> int:
    """Run it; the exit code is 0 if every invariant held, 1 if not, 2 if the words are wrong."""
    command = [sys.executable, "-m", "apis_emulator.virtual", *options.arguments()]
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:  # the terminal has sent it to the child, too
        process.wait()
        raise
