"""``apisctl study``: reads a grid, and hands it to the emulator in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from apis_bringup.errors import usage_error
from apis_bringup.exec_module import exec_module
from apis_bringup.grid_file import resolve
from apis_bringup.overrides import Overrides

__all__ = ["run_study"]


def run_study(
    grid: Path, overrides: Overrides, *, days: float, step_s: float, out: Path
) -> NoReturn:
    """Become the study; its exit code is 0, or 1 if a file cannot be written.

    Args:
        grid: Grid file.
        overrides: What the command line changes of it.
        days: How many simulated days.
        step_s: How long sun and load are taken for constant. [s]
        out: Folder of the results; the resolved grid stands there, too.

    Raises:
        ConfigError: A file is wrong, or the folder cannot be written.
    """
    description = resolve(grid, overrides).description
    file = out / "grid.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(description.model_dump_json(indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise usage_error("--out", out, f"cannot be written: {error.strerror}") from None
    words = [str(file), "--days", f"{days:g}", "--step", f"{step_s:g}", "--out", str(out)]
    exec_module("apis_simulator.study", *words)
