"""A grid's houses over many days without exchange, as fast as the machine can.

``python -m apis_simulator.study``, which ``apisctl study`` becomes. It says what every house
makes, uses and wastes by itself: the case that sharing is compared with.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from apis_core.model.errors import ConfigError, Problem
from apis_emulator.accounts import BUS, TOTAL
from apis_emulator.emulation import Emulation
from apis_emulator.houses import build_plant
from apis_site.grid import GridDescription, parse_grid

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["energy_residual", "main", "study"]

DAY_S = 86_400.0
FILES = ("summary.csv", "summary.parquet")


def study(grid: GridDescription, *, days: float, step_s: float) -> Emulation:
    """Let days pass with all converters in WAIT.

    Args:
        grid: A resolved description.
        days: How many.
        step_s: How long sun and load are taken for constant. [s]

    Raises:
        ConfigError: Hardware or profile files are wrong.
    """
    emulation = Emulation(grid, build_plant(grid, idle_step_s=step_s))
    end_s = days * DAY_S
    while emulation.plant.time_s < end_s:
        emulation.step(min(DAY_S, end_s - emulation.plant.time_s))
        _tell(emulation.plant.time_s / end_s)
    return emulation


def energy_residual(table: pd.DataFrame) -> float:
    """The part of a house's energy that is neither used, lost nor stored, at worst, 0..1."""
    rows = table[(table.day == TOTAL) & ~table.unit_id.isin((BUS, TOTAL))]
    sources = rows.solar_wh + rows.mains_wh + rows.grid_received_wh
    sinks = rows.load_wh + rows.ac_loss_wh + rows.dc_loss_wh + rows.battery_loss_wh
    residual_wh = sources - sinks - rows.grid_sent_wh - rows.stored_change_wh
    return float((residual_wh.abs() / sources.clip(lower=1.0)).max())


def main(arguments: list[str] | None = None) -> int:
    """0 after a study, 1 if a file cannot be written, 2 if the configuration is wrong."""
    options = _parser().parse_args(arguments)
    try:
        grid = _read(options.grid)
        began_s = time.monotonic()
        emulation = study(grid, days=options.days, step_s=options.step)
        took_s = time.monotonic() - began_s
        table = emulation.accounts.table()
        for name in FILES:
            emulation.accounts.write(options.out / name)
    except ConfigError as error:
        for problem in error.problems:
            print(f"apisctl: {problem}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"apisctl: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    _summarise(table, options.days)
    steps = len(grid.units) * options.days * DAY_S / options.step
    print(
        f"{len(grid.units)} houses, {options.days:g} days in steps of {options.step:g} s: "
        f"{took_s:.1f} s, {steps / took_s / 1e6:.1f} million steps of a house a second; "
        f"{energy_residual(table):.1e} of the energy unaccounted for"
    )
    print("rows by day and unit: " + ", ".join(str(options.out / name) for name in FILES))
    return 0


def _summarise(table: pd.DataFrame, days: float) -> None:
    rows = table[(table.day == TOTAL) & (table.unit_id != BUS)]
    columns = ("load", "solar", "curtailed", "mains", "unserved")
    print(f"{'kWh in ' + format(days, 'g') + ' days':<18}" + "".join(f"{c:>11}" for c in columns))
    for row in rows.itertuples():
        values = (getattr(row, f"{column}_wh") / 1000.0 for column in columns)
        print(f"{row.unit_id:<18}" + "".join(f"{value:>11.1f}" for value in values))


def _tell(done_ratio: float) -> None:
    if sys.stderr.isatty():
        print(
            f"\r{done_ratio:4.0%} " if done_ratio < 1.0 else "\r      \r", end="", file=sys.stderr
        )


def _read(file: Path) -> GridDescription:
    try:
        return parse_grid(json.loads(file.read_text(encoding="utf-8")), str(file))
    except ValueError as error:
        raise ConfigError([Problem(str(file), "", "", f"it must be JSON: {error}")]) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m apis_simulator.study")
    parser.add_argument("grid", type=Path, help="the resolved grid description (JSON)")
    parser.add_argument("--days", type=float, required=True)
    parser.add_argument("--step", type=float, required=True, help="[s]")
    parser.add_argument("--out", type=Path, required=True, help="folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
