"""A village that exchanges over a year: how long twenty houses take, and ten times as many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from apis_bringup.grid_file import resolve
from apis_study import Study
from apis_study.exchange import Exchange
from apis_study.village import Village
from bench.report import Report, cpu_s

FILE = Path(__file__).resolve().parents[2] / "config" / "study_village.yaml"
HOUSES, MANY = 20, 200
DAYS, MANY_DAYS = 30.0, 3.0
DAY_S = 86_400.0


def measure(report: Report) -> None:
    """Minutes of input, all traders, all deals; on one core."""
    study = Study(resolve(FILE).description)
    cases = {case.name: case.village for case in study.cases}
    for name in ("configured", "original"):
        year_s = _run_s(cases[name], DAYS) * 365.0 / DAYS
        note = f"{HOUSES} houses, from {DAYS:g} days in January, processor time"
        report.at_most(f"study.{name}_year_s", year_s, "s", 120.0, note)
    few_s = _run_s(cases["configured"], MANY_DAYS) / HOUSES
    many_s = _run_s(_repeated(cases["configured"]), MANY_DAYS) / MANY
    day_s = many_s * MANY / MANY_DAYS
    report.at_most("study.day_of_200_houses_s", day_s, "s", 10.0, "processor time")
    note = f"cost of a house's day among {MANY} houses, in that among {HOUSES}"
    report.at_most("study.cost_ratio_of_200_houses", many_s / few_s, "", 1.25, note)


def _run_s(village: Village, days: float) -> float:
    return cpu_s(lambda: Exchange(village, 1, 60.0).run(days * DAY_S))


def _repeated(village: Village) -> Village:
    """The same houses again and again, each with a little more or less in its battery."""
    houses = tuple(
        replace(
            house,
            unit_id=f"E{index + 1:03}",
            stored_wh=min(house.stored_wh * (0.9 + 0.001 * index), house.capacity_wh),
        )
        for index, house in enumerate(village.houses * (MANY // HOUSES))
    )
    members = tuple(house.unit_id for house in houses)
    return replace(village, houses=houses, policy=replace(village.policy, member_unit_ids=members))
