"""The plant: houses stepped a second at a time, with the full physics."""

from __future__ import annotations

import numpy as np

from apis_compat.emulator.inputs import HOURS, Inputs
from apis_compat.emulator.model import Emulation
from apis_control import Converter, Plant
from bench.report import Report, cpu_s

ORIGINAL_UNITS, ORIGINAL_STEPS = 20, 400
YEAR_S = 365 * 86_400
DIFFERENT = 100  # houses
IN, OUT = ("solar_wh", "mains_wh"), ("load_wh", "ac_loss_wh", "dc_loss_wh", "battery_loss_wh")


def make(units: int) -> Plant:
    """Houses with a year of hourly sun and load each, a hundred kinds of them."""
    rng = np.random.default_rng(1)
    hour = np.arange(8760)
    day = np.maximum(np.sin((hour % 24 - 6) / 12 * np.pi), 0.0)
    suns, loads = [], []
    for i in range(min(units, DIFFERENT)):
        clear = 0.3 + 0.7 * rng.random(8760)
        suns.append((day * clear * (2500.0 + 40.0 * i)).astype(np.float32))
        loads.append((150.0 + 700.0 * rng.random(8760)).astype(np.float32))
    plant = Plant()
    for i in range(units):
        plant.add(
            Converter(),
            capacity_wh=4800.0,
            stored_wh=2400.0,
            solar=(suns[i % DIFFERENT], 3600.0, 0.0),
            load=(loads[i % DIFFERENT], 3600.0, -60.0 * (i % 60)),
            has_mains=i % 4 != 0,
        )
    return plant


def total_wh(plant: Plant, names: tuple[str, ...]) -> float:
    """Sum of columns over all units. [Wh]"""
    return sum(float(plant.column(name).sum()) for name in names)


def original_unit_steps_per_s() -> float:
    """The original's formulas in Python, as its own emulator has them."""
    hour = np.arange(HOURS)
    sun_w = np.maximum(np.sin((hour % 24 - 6) / 12 * np.pi), 0.0) * 3000.0
    emulation = Emulation(Inputs(sun_w, lambda _: np.full(HOURS, 0.4), ORIGINAL_UNITS))
    for _ in range(ORIGINAL_UNITS):
        emulation.add_unit()

    def run() -> None:
        for _ in range(ORIGINAL_STEPS):
            emulation.step()

    return ORIGINAL_UNITS * ORIGINAL_STEPS / cpu_s(run, tries=3)


def measure(report: Report) -> None:
    """Speed at several sizes, memory, and a year."""
    original = original_unit_steps_per_s()
    report.tell("plant.original_unit_steps_per_s", original, "1/s", "its formulas in Python")
    cost_s = {}
    for units in (4, 100, 1000, 10_000):
        plant = make(units)
        plant.step(60.0)
        steps = max(4_000_000 // units, 600)
        seconds = cpu_s(lambda p=plant, n=steps: p.step(float(n)), tries=3)
        cost_s[units] = seconds / (units * steps)
        rate = 1.0 / cost_s[units]
        name = f"plant.unit_steps_per_s_{units}"
        if units == 100:
            note = "steps of a second with the full physics, one core, processor time"
            report.at_least(name, rate, "1/s", 20e6, note)
            report.tell("plant.speedup_over_original", rate / original, "", "at 100 units")
        else:
            report.tell(name, rate, "1/s")
    large = [cost_s[units] for units in (100, 1000, 10_000)]
    spread = max(large) / min(large) - 1.0
    report.at_most(
        "plant.cost_spread", spread, "", 0.20, "of a unit-step, from 100 to 10,000 units"
    )
    report.tell("plant.bytes_per_unit", make(1).bytes_per_unit, "B", "without profiles")

    plant = make(100)
    before_wh = total_wh(plant, ("stored_wh",))
    seconds = cpu_s(lambda: plant.step(float(YEAR_S)))
    into_wh = total_wh(plant, IN)
    residual_wh = into_wh - total_wh(plant, OUT) - total_wh(plant, ("stored_wh",)) + before_wh
    report.at_most("plant.year_100_s", seconds, "s", 180.0, "100 houses, a year of seconds")
    report.at_most("plant.energy_residual", abs(residual_wh) / into_wh, "", 1e-9, "of that year")
