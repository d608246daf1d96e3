"""Sun on a roof: clear sky and panels after pvlib, times a cloudiness drawn from a seed.

Clear sky: Ineichen-Perez with a constant Linke turbidity (no table to look up). Panels: isotropic
sky, Faiman cell temperature and PVWatts (Dobos, NREL/TP-6A20-62641) with its default losses of 14
%. Clouds: see :func:`clear_sky_share`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pvlib

from apis_emulator.profiles.series import DAYS, FloatArray, Year, generator

__all__ = ["Panel", "Sky", "clear_sky_share", "solar_power_w"]

GEOMETRY_STEP_S = 600.0  # the sun moves smoothly; clouds do not
MINUTES_A_DAY = 1440

LINKE_TURBIDITY = 3.5  # a moderately hazy sky; an engineering estimate
AMBIENT_DEGC = 20.0
WIND_M_PER_S = 1.0
TEMPERATURE_COEFFICIENT_PER_K = -0.0037  # crystalline silicon
CONVERSION_RATIO = 0.96  # maximum power point tracker into the battery

# Cloudiness is a sum of three processes in units of their standard deviation, so that there are
# fine and grey days, fine and grey hours, and single clouds. Engineering estimates, set so that a
# subtropical year gets about two thirds of its clear sky.
DAY_SIGMA, DAY_MEMORY = 1.7, 0.45  # memory: correlation of one day with the next
HOUR_SIGMA, HOUR_SMOOTHING_H = 0.8, 3
MINUTE_SIGMA, MINUTE_SMOOTHING_MIN = 1.1, 15
MEAN_CLOUDINESS = -0.55
CLEAR_SHARE, OVERCAST_SHARE = 1.02, 0.15  # of the clear sky's power


@dataclass(frozen=True, slots=True)
class Panel:
    """A roof.

    Attributes:
        peak_w: Power at standard test conditions, >= 0. [W]
        tilt_deg: From horizontal, 0..90.
        azimuth_deg: 0 = north, 90 = east, 180 = south.
    """

    peak_w: float
    tilt_deg: float
    azimuth_deg: float


class Sky:
    """Sun and weather that all houses of a place share, over a year."""

    def __init__(self, year: Year, seed: int) -> None:
        self.year = year
        self.seed = seed
        instants = year.instants(GEOMETRY_STEP_S)
        place = year.place
        self._sun = pvlib.solarposition.get_solarposition(
            instants,
            place.latitude_deg,
            place.longitude_deg,
            place.altitude_m,
            method="ephemeris",  # good to 0.01°, and ten times as fast as the default
        )
        zenith = self._sun["apparent_zenith"]
        air_mass = pvlib.atmosphere.get_absolute_airmass(
            pvlib.atmosphere.get_relative_airmass(zenith),
            pvlib.atmosphere.alt2pres(place.altitude_m),
        )
        self._clear: pd.DataFrame = pvlib.clearsky.ineichen(
            zenith,
            air_mass,
            LINKE_TURBIDITY,
            altitude=place.altitude_m,
            dni_extra=pvlib.irradiance.get_extra_radiation(instants),
        )
        self._weather = _regional_weather(seed)

    def clear_power_w(self, panel: Panel) -> FloatArray:
        """What a roof gives under a clear sky, every GEOMETRY_STEP_S. [W]"""
        plane = pvlib.irradiance.get_total_irradiance(
            panel.tilt_deg,
            panel.azimuth_deg,
            self._sun["apparent_zenith"],
            self._sun["azimuth"],
            self._clear["dni"],
            self._clear["ghi"],
            self._clear["dhi"],
        )["poa_global"].fillna(0.0)
        cell_degc = pvlib.temperature.faiman(plane, AMBIENT_DEGC, WIND_M_PER_S)
        dc_w = pvlib.pvsystem.pvwatts_dc(
            plane, cell_degc, panel.peak_w, TEMPERATURE_COEFFICIENT_PER_K
        )
        kept_ratio = 1.0 - pvlib.pvsystem.pvwatts_losses() / 100.0
        return np.asarray(np.asarray(dc_w) * kept_ratio * CONVERSION_RATIO, dtype=np.float64)

    def share(self, unit_id: str) -> FloatArray:
        """Ratio of the clear sky's power that the clouds over one house leave, every minute."""
        noise = generator(self.seed, "clouds", unit_id).standard_normal(len(self._weather))
        return clear_sky_share(
            self._weather + MINUTE_SIGMA * _smoothed(noise, MINUTE_SMOOTHING_MIN)
        )


def solar_power_w(sky: Sky, panel: Panel, unit_id: str) -> FloatArray:
    """A year of one roof, every minute. [W, >= 0]"""
    clear_w = sky.clear_power_w(panel)
    per_step = round(GEOMETRY_STEP_S / 60.0)
    minutes = np.arange(DAYS * MINUTES_A_DAY) / per_step
    return np.interp(minutes, np.arange(len(clear_w)), clear_w) * sky.share(unit_id)


def clear_sky_share(cloudiness: FloatArray) -> FloatArray:
    """Ratio of the clear sky's power under a cloudiness: low is fine, high is grey.

    A steep logistic curve: most of the time a place is either in the sun or in the shade of a
    cloud.
    """
    shade = 1.0 / (1.0 + np.exp(-2.0 * cloudiness))
    return CLEAR_SHARE - (CLEAR_SHARE - OVERCAST_SHARE) * shade


def _regional_weather(seed: int) -> FloatArray:
    """Cloudiness that all houses share, every minute."""
    rng = generator(seed, "weather")
    daily = np.empty(DAYS + 1)
    daily[0] = rng.standard_normal()
    innovation = np.sqrt(1.0 - DAY_MEMORY**2)
    for day in range(1, DAYS + 1):
        daily[day] = DAY_MEMORY * daily[day - 1] + innovation * rng.standard_normal()
    hourly = _smoothed(rng.standard_normal(DAYS * 24 + 1), HOUR_SMOOTHING_H)
    minutes = np.arange(DAYS * MINUTES_A_DAY)
    return (
        MEAN_CLOUDINESS
        + DAY_SIGMA * np.interp(minutes / MINUTES_A_DAY, np.arange(DAYS + 1), daily)
        + HOUR_SIGMA * np.interp(minutes / 60.0, np.arange(DAYS * 24 + 1), hourly)
    )


def _smoothed(noise: FloatArray, width: int) -> FloatArray:
    """White noise of variance 1, made smooth over some samples, again of variance 1."""
    kernel = np.hanning(2 * width + 1)[1:-1]
    return np.convolve(noise, kernel / np.sqrt(np.sum(kernel**2)), mode="same")
