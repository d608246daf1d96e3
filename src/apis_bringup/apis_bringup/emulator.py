"""``apisctl emulator`` and ``apisctl check-transcript``: the emulator alone in its process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from apis_bringup.exec_module import exec_module

__all__ = ["EmulatorOptions", "check_transcript", "run_emulator"]

MODULE = "apis_compat.emulator"


@dataclass(frozen=True, slots=True)
class EmulatorOptions:
    """What the command line says of an emulator with the original's HTTP interface; see
    docs/emulator.md.
    """

    units: int
    physics: str
    host: str
    port: int
    acceleration: float
    period_s: float
    seed: int
    state: Path
    solar_csv: Path | None = None
    load_csv: Path | None = None
    summary: Path | None = None

    def arguments(self) -> list[str]:
        """The same for ``python -m apis_compat.emulator serve``."""
        words = ["--units", str(self.units), "--host", self.host, "--http", str(self.port)]
        words += ["--physics", self.physics]
        words += ["--acceleration", f"{self.acceleration:g}", "--period", f"{self.period_s:g}"]
        words += ["--seed", str(self.seed), "--state", str(self.state)]
        for name, file in (
            ("--solar-csv", self.solar_csv),
            ("--load-csv", self.load_csv),
            ("--summary", self.summary),
        ):
            words += [name, str(file)] if file is not None else []
        return words


def run_emulator(options: EmulatorOptions) -> NoReturn:
    """Become the emulator, which serves until Ctrl-C; its exit code is 0 then, 1 if the port is
    busy, 2 if a file is wrong.
    """
    exec_module(MODULE, "serve", *options.arguments())


def check_transcript(file: Path) -> NoReturn:
    """Become the player of a recording; its exit code is 0 if all that is to be matched matches,
    1 if not, 2 if it is none.
    """
    exec_module(MODULE, "check", str(file))
