"""What no exchange can do better: the village as one house, by its rule or with foresight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from apis_core.model.errors import ProtocolMisuse
from apis_site.study_settings import StudySettings
from apis_study.kpis import ENERGIES, Kpis, derived_kpis, house_kpis, village_kpis
from apis_study.village import HouseInput, Samples, Village, pooled

__all__ = ["foresight_kpis", "pool_kpis"]

_HOUR_S = 3600.0
_DARK_COST = 1000.0  # of a Wh that is not supplied, in Wh of the mains: it comes before all else


def pool_kpis(village: Village, settings: StudySettings) -> Kpis:
    """All houses as one, without loss: their mean, so many times; with and without mains apart."""
    houses: list[Kpis] = []
    for mean, count in _means(village):
        run = replace(village, houses=(mean,)).runs(settings.step_s)[0]
        run.advance(settings.days * 86_400.0)
        houses += [house_kpis(mean, run, None, settings.co2_kg_per_kwh)] * count
    return village_kpis(houses, 0.0)


def foresight_kpis(village: Village, settings: StudySettings) -> Kpis:
    """The least that the village needs from the mains if it knows the whole future.

    A linear programme for the mean house, in hours: when the UPS takes the load from the mains and
    when the battery is charged from it is free, in any part of an hour, and nothing is lost in
    batteries, converters that carry power, or lines.
    """
    houses: list[Kpis] = []
    for mean, count in _means(village):
        kpis = _Programme(village, mean, settings.days).solve()
        kpis["mains_points"] = kpis["mains_wh"] * mean.mains_point_per_wh
        kpis["cost_points"] = kpis["mains_points"]
        kpis["co2_kg"] = kpis["mains_wh"] / 1000.0 * settings.co2_kg_per_kwh
        houses += [kpis] * count
    village_wide = village_kpis(houses, 0.0)
    for unknown in ("full_cycles", "charged_wh", "discharged_wh", "loss_of_load_ratio", "dark_h"):
        del village_wide[unknown]  # a plan in hours does not say
    return village_wide


def _means(village: Village) -> Iterator[tuple[HouseInput, int]]:
    for has_mains in (True, False):
        same = [house for house in village.houses if house.mains is has_mains]
        if same:
            yield pooled(same), len(same)


@dataclass(frozen=True)
class _Programme:
    """The programme of one house; in each hour: the parts of it in bypass, with
    the charger on, and with all off; curtailed, and the store at its end. [Wh]
    """

    village: Village
    house: HouseInput
    days: float

    def solve(self) -> Kpis:
        """What the best plan comes to.

        Raises:
            ProtocolMisuse: There is no plan, which cannot be.
        """
        from scipy.optimize import linprog  # seconds to import
        from scipy.sparse import diags, eye, hstack

        model, full_wh = self.village.house_model, self.house.capacity_wh
        solar_wh, load_wh = self._hourly(self.house.solar), self._hourly(self.house.load)
        hours = len(solar_wh)
        one, nil = np.ones(hours), np.zeros(hours)
        fixed_w = model.system_loss_w + self.village.loss.waiting_w
        inverter_wh = model.inverter_loss_w + model.inverter_loss_ratio * load_wh
        in_bypass_wh = model.bypass_loss_w + (1.0 + model.bypass_loss_ratio) * load_wh
        charge_wh, charged_wh = model.ac_charge_w + model.ac_charge_loss_w, model.ac_charge_w
        # store = store before + solar - curtailed - fixed - (1 - bypass) (load + inverter)
        #         + charging; what is off needs neither inverter nor controls
        on_battery_wh = load_wh + inverter_wh
        equal = hstack(
            [
                diags(on_battery_wh),
                charged_wh * eye(hours),
                diags(on_battery_wh + fixed_w),
                -eye(hours),
                diags([-one, one[1:]], [0, -1]),
            ],
            format="csr",
        )
        right = on_battery_wh + fixed_w - solar_wh
        right[0] -= self.house.stored_wh
        mains = 1.0 if self.house.mains else 0.0
        cost = np.concatenate(
            [
                in_bypass_wh,
                charge_wh * one,
                _DARK_COST * load_wh,
                nil,
                1e-6 * one,
            ]
        )
        upper = np.concatenate([mains * one, mains * one, one, solar_wh, full_wh * one])
        lower = np.zeros_like(upper)
        plan = linprog(
            cost, A_eq=equal, b_eq=right, bounds=np.column_stack([lower, upper]), method="highs"
        )
        if plan.x is None:
            raise ProtocolMisuse(f"no plan for the village: {plan.message}")
        bypass, charging, off, curtailed_wh, store_wh = plan.x.reshape(5, hours)
        on_h = float((1.0 - off).sum())
        transformer_wh = mains * model.transformer_loss_w * hours
        unserved_wh = float((off * load_wh).sum())
        ac_wh = float(
            transformer_wh
            + (bypass * (in_bypass_wh - load_wh)).sum()
            + charging.sum() * model.ac_charge_loss_w
        )
        kpis = dict.fromkeys(ENERGIES, 0.0) | {
            "mains_wh": float(
                transformer_wh + (bypass * in_bypass_wh).sum() + charge_wh * charging.sum()
            ),
            "load_wh": float(load_wh.sum()) - unserved_wh,
            "unserved_wh": unserved_wh,
            "solar_wh": float((solar_wh - curtailed_wh).sum()),
            "curtailed_wh": float(curtailed_wh.sum()),
            "lost_standby_wh": self.village.loss.waiting_w * on_h,
            "lost_ac_wh": ac_wh,
            "stored_wh": float(store_wh[-1]),
            "stored_change_wh": float(store_wh[-1]) - self.house.stored_wh,
            "capacity_wh": full_wh,
        }
        inverted_wh = float(((1.0 - bypass - off) * inverter_wh).sum())
        lost_dc_wh = model.system_loss_w * on_h + inverted_wh
        return derived_kpis(kpis | {"lost_dc_wh": lost_dc_wh})

    def _hourly(self, samples: Samples) -> npt.NDArray[np.float64]:
        """Energy in each hour. [Wh]"""
        values, step_s, origin_s = samples
        minutes = np.arange(round(self.days * 1440.0))
        position = ((minutes + 0.5) * 60.0 - origin_s) / step_s
        low = np.floor(position).astype(int)
        share = position - low
        power_w = values[low % len(values)] * (1.0 - share)
        power_w = power_w + values[(low + 1) % len(values)] * share
        hours = max(len(minutes) // 60, 1)
        energy_wh = np.maximum(power_w[: hours * 60], 0.0).reshape(hours, -1).mean(axis=1)
        return np.asarray(energy_wh, dtype=np.float64)
