"""What a house draws: the standard load profile H0 of BDEW (from demandlib), as one household.

H0 is the mean of very many households and therefore smooth. One household is the same over a year,
but most of its energy goes in
bursts: a kettle, a stove, a washing machine. So a share of the yearly energy follows H0 (shifted
    by the household's habits), and
the rest comes as appliances switched on at random, more often when H0 is high.
"""

from __future__ import annotations

import warnings

import numpy as np
from demandlib import bdew

from apis_emulator.profiles.series import DAYS, FloatArray, Year, generator

__all__ = ["Neighbourhood", "load_power_w"]

MINUTES = DAYS * 1440
QUARTER_MIN = 15

# Engineering estimates.
SMOOTH_SHARE = 0.6  # of the yearly energy: what is always on, and what sums up
MAX_SHIFT_MIN = 75
NOISE_SIGMA = 0.15  # of the smooth part, changing over half an hour
APPLIANCE_W = (300.0, 2200.0)
APPLIANCE_MIN = (3, 45)


class Neighbourhood:
    """The standard profile of a year at a place, every minute, with mean 1."""

    def __init__(self, year: Year, seed: int) -> None:
        self.year = year
        self.seed = seed
        profile = _h0_quarters(year.start.year)
        instants = year.instants(QUARTER_MIN * 60.0)
        # People live by their clocks, and a run that begins in June goes on into January of the
        # same profile.
        quarter = (
            (instants.dayofyear - 1) * 96 + instants.hour * 4 + instants.minute // QUARTER_MIN
        )
        by_quarter = profile[np.asarray(quarter) % len(profile)]
        shape = np.interp(np.arange(MINUTES) / QUARTER_MIN, np.arange(len(by_quarter)), by_quarter)
        self.shape: FloatArray = shape / shape.mean()


def load_power_w(
    neighbourhood: Neighbourhood, energy_wh_per_year: float, unit_id: str
) -> FloatArray:
    """A year of one household, every minute; its energy is exactly what is asked. [W, >= 0]"""
    rng = generator(neighbourhood.seed, "load", unit_id)
    shift_min = int(rng.integers(-MAX_SHIFT_MIN, MAX_SHIFT_MIN + 1))
    shape = np.roll(neighbourhood.shape, shift_min)
    mean_w = energy_wh_per_year / (DAYS * 24.0)
    half_hours = rng.standard_normal(MINUTES // 30 + 1)
    noise = np.interp(np.arange(MINUTES) / 30.0, np.arange(len(half_hours)), half_hours)
    smooth_w = SMOOTH_SHARE * mean_w * shape * np.maximum(1.0 + NOISE_SIGMA * noise, 0.2)
    load_w: FloatArray = smooth_w + _appliances_w(
        rng, shape, (1.0 - SMOOTH_SHARE) * energy_wh_per_year
    )
    total_wh = load_w.sum() / 60.0
    if total_wh > 0.0:
        load_w *= energy_wh_per_year / total_wh
    return load_w


def _appliances_w(rng: np.random.Generator, shape: FloatArray, energy_wh: float) -> FloatArray:
    """Appliances switched on at random, with the shape as their likelihood, of about this energy
    in all. [W]
    """
    mean_use_wh = sum(APPLIANCE_W) / 2.0 * sum(APPLIANCE_MIN) / 2.0 / 60.0
    count = round(energy_wh / mean_use_wh)
    likelihood = np.cumsum(shape)
    begin = np.searchsorted(likelihood, rng.random(count) * likelihood[-1])
    end = np.minimum(begin + rng.integers(*APPLIANCE_MIN, count, endpoint=True), MINUTES)
    power_w = rng.uniform(*APPLIANCE_W, count)
    change_w = np.zeros(MINUTES + 1)
    np.add.at(change_w, begin, power_w)
    np.add.at(change_w, end, -power_w)
    return np.maximum(np.cumsum(change_w[:-1]), 0.0)  # rounding may leave -1e-10 W


def _h0_quarters(year: int) -> FloatArray:
    """H0 of a calendar year, dynamised, every quarter of an hour of local time, in arbitrary
    units.
    """
    # demandlib 0.2 turns every warning of the process into an error and leaves it so; this puts
    # the filters back.
    with warnings.catch_warnings():
        profiles = bdew.ElecSlp(year).get_profiles("h0_dyn")
    return np.asarray(profiles["h0_dyn"], dtype=np.float64)
