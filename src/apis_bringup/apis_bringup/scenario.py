"""``apisctl scenario``: the simulator's teller of stories takes over the process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from apis_bringup.exec_module import exec_module
from apis_bringup.session import default_config

__all__ = ["run_scenarios"]


def run_scenarios(
    files: Sequence[Path], *, json: Path | None, trace: bool, plot: Path | None
) -> NoReturn:
    """Become it: exit code 0 if every expectation holds, 1 if not, 2 if a file is wrong.

    Raises:
        CommandError: The sample configuration is not found.
    """
    words = [str(file) for file in files] + ["--samples", str(default_config().parent)]
    words += ["--json", str(json)] if json is not None else []
    words += ["--plot", str(plot)] if plot is not None else []
    exec_module("apis_simulator.scenario", *words, *["--trace"] * trace)
