"""The original's daily energy balance."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apis_compat.emulator.model import Unit

__all__ = ["COLUMNS", "Accounts"]

SUMS = ("pv", "demand", "acin", "wasted", "acloss", "dcloss", "loss")  # [Wh]
COLUMNS = (
    "time",
    *SUMS,
    *("avgrsoc", "wg", "deltaBatt", "ssr_real", "ssr_pv", "sor", "r_utility"),
)
START_RSOC = 50.0
BATTERY_WH = 4800.0


class Accounts:
    """Sums over all units of a day, and a row for each day that is over.

    ``deltaBatt`` counts the batteries of the units that run; the original counts those of every
    customer in its load file, so that it comes out too large there, and the ratios of a day with
    it.
    """

    def __init__(self) -> None:
        self.days: list[list[object]] = []
        self._yesterday_rsoc = START_RSOC
        self._begin()

    def _begin(self) -> None:
        self._sums = dict.fromkeys((*SUMS, "wg"), 0.0)

    def add(self, unit: Unit, hours: float) -> None:
        """Count a step of a unit. [h]"""
        grid_w = unit.dcdc["meter"]["wg"]
        powers = {
            "pv": unit.emu["pvc_charge_power"],
            "demand": unit.emu["ups_output_power"],
            "acin": unit.dcdc["powermeter"]["p2"],
            "wasted": unit.wasted_w,
            "acloss": unit.ac_loss_w,
            "dcloss": unit.dc_loss_w,
            "loss": unit.ac_loss_w + unit.dc_loss_w,
            "wg": max(grid_w, 0.0),
        }
        for name, power_w in powers.items():
            self._sums[name] += power_w * hours

    def close_day(self, day: date, rsocs: Sequence[float]) -> None:
        """Write the row of a day, with the states of charge at its end. [%]"""
        sums = self._sums
        mean_rsoc = sum(rsocs) / len(rsocs)
        stored_wh = int((mean_rsoc - self._yesterday_rsoc) * BATTERY_WH * len(rsocs) / 100)
        demand_wh = sums["demand"]
        ratios = [
            _ratio(demand_wh - sums["acin"] + stored_wh, demand_wh),
            _ratio(sums["pv"] + stored_wh, demand_wh),
            _ratio(sums["pv"], sums["pv"] + sums["wasted"]),
            _ratio(sums["acin"] - stored_wh, demand_wh),
        ]
        energies = [int(sums[name]) for name in SUMS]
        self.days.append(
            [str(day), *energies, int(mean_rsoc), int(sums["wg"]), stored_wh, *ratios]
        )
        self._yesterday_rsoc = mean_rsoc
        self._begin()

    def write_csv(self, path: Path) -> None:
        """A row a day, then the sums and the means of all columns, as the original's summary."""
        sums = [sum(column) for column in list(zip(*self.days, strict=True))[1:]]
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(COLUMNS)
            writer.writerows(self.days)
            if self.days:
                writer.writerow(["sum", *sums])
                writer.writerow(["avg", *(value / len(self.days) for value in sums)])


def _ratio(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole else 0.0
