"""One converter's control step, against the slow twin in Python."""

from __future__ import annotations

import numpy as np

from apis_control import Controller, reference
from bench.report import Report, cpu_s

TICKS, TWIN_TICKS = 1_000_000, 30_000
DT_S = 0.001


class PlainMeter:
    """The twin's meter with plain floats: its exact rational numbers would flatter us."""

    def __init__(self) -> None:
        self.charged_wh = self.discharged_wh = 0.0
        self._last_w = 0.0

    def add(self, power_w: float, dt_s: float) -> None:
        """Trapezoid."""
        energy_wh = 0.5 * (self._last_w + power_w) * dt_s / 3600.0
        if energy_wh > 0.0:
            self.charged_wh += energy_wh
        else:
            self.discharged_wh -= energy_wh
        self._last_w = power_w


def measure(report: Report) -> None:
    """A current source in mid-deal: ramp, compensation, counter, limit, protection, dead man."""
    time_s = np.arange(TICKS) * DT_S
    bus_v = 350.0 + 0.5 * np.sin(time_s)
    current_a = np.minimum(time_s, 2.0) + 0.01 * np.sin(7.0 * time_s)
    order = {"hold_s": 1e9, "current_a": 2.0, "energy_limit_wh": 1e6}

    fast = Controller()
    fast.set_mode(4, 0.0, **order)
    step_s = cpu_s(lambda: fast.run(bus_v, current_a, DT_S, 0.0), tries=40) / TICKS

    slow = reference.Controller()
    slow.meter = PlainMeter()  # type: ignore[assignment]
    slow.set_mode(4, 0.0, **order)
    samples = list(zip(bus_v[:TWIN_TICKS].tolist(), current_a[:TWIN_TICKS].tolist(), strict=True))

    def run_twin() -> None:
        now_s = 0.0
        for volts, amps in samples:
            now_s += DT_S
            slow.tick(volts, amps, DT_S, now_s)

    twin_s = cpu_s(run_twin, tries=5) / TWIN_TICKS
    report.at_most("control.step_ns", 1e9 * step_s, "ns", 60.0, "a tick, processor time")
    note = f"the same ticks in Python: {1e6 * twin_s:.2f} us each"
    report.at_least("control.speedup_over_python", twin_s / step_s, "", 100.0, note)
