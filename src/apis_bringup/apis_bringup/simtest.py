"""``apisctl simtest``: the simulator takes over the process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from apis_bringup.exec_module import exec_module

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
        """The same for ``python -m apis_simulator``."""
        words = ["--seeds", self.seeds, "--units", str(self.units), "--hours", f"{self.hours:g}"]
        words += ["--profile", self.profile]
        if self.replay is not None:
            words += ["--replay", str(self.replay)]
        words += ["--trace"] * self.trace + ["--save"] * self.save
        return words + ["--interpreted"] * self.interpreted


def run_simtest(options: SimtestOptions) -> NoReturn:
    """Become it: exit code 0 if every invariant held, 1 if not, 2 if the words are wrong."""
    exec_module("apis_simulator", *options.arguments())
