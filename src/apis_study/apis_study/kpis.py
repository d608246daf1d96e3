"""The figures of a study, by their common names; docs/study.md has the formulas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from apis_study.trading_unit import TradingUnit
from apis_study.village import HouseInput

if TYPE_CHECKING:
    import apis_control

__all__ = [
    "ENERGIES",
    "Kpis",
    "derived_kpis",
    "energies_wh",
    "house_kpis",
    "residual_ratio",
    "village_kpis",
]

Kpis = dict[str, float]
# what a house's counters say, all in Wh since the start
ENERGIES = (
    "mains_wh",
    "load_wh",
    "solar_wh",
    "curtailed_wh",
    "unserved_wh",
    "received_wh",
    "sent_wh",
    "lost_converter_wh",
    "lost_standby_wh",
    "lost_battery_wh",
    "lost_dc_wh",
    "lost_ac_wh",
    "stored_wh",
    "charged_wh",
    "discharged_wh",
)
_LEAST_WH = 1e-9


def energies_wh(run: apis_control.HouseRun) -> Kpis:
    """What a house's counters say. [Wh]"""
    return {
        "mains_wh": run.mains_wh,
        "load_wh": run.load_wh,
        "solar_wh": run.solar_wh,
        "curtailed_wh": run.curtailed_wh,
        "unserved_wh": run.unserved_wh,
        "received_wh": run.received_wh,
        "sent_wh": run.sent_wh,
        "lost_converter_wh": run.converter_on_wh,
        "lost_standby_wh": run.converter_off_wh,
        "lost_battery_wh": run.battery_loss_wh,
        # the UPS, the controls, and what a full battery burns; the converter stands apart
        "lost_dc_wh": run.dc_loss_wh - run.converter_on_wh - run.converter_off_wh,
        "lost_ac_wh": run.ac_loss_wh,
        "stored_wh": run.stored_wh,
        "charged_wh": run.charged_wh,
        "discharged_wh": run.discharged_wh,
    }


def house_kpis(
    house: HouseInput, run: apis_control.HouseRun, unit: TradingUnit | None, co2_kg_per_kwh: float
) -> Kpis:
    """The figures of one house.

    Args:
        house: What it began with.
        run: Its house, at the end.
        unit: Its unit; None = it did not trade.
        co2_kg_per_kwh: Of the mains.
    """
    kpis = energies_wh(run)
    kpis["stored_change_wh"] = run.stored_wh - house.stored_wh
    kpis["capacity_wh"] = house.capacity_wh
    kpis["deals"] = float(unit.deals) if unit is not None else 0.0
    kpis["dark_h"] = run.unserved_s / 3600.0
    kpis["loss_of_load_ratio"] = run.unserved_s / run.time_s
    kpis["sold_points"] = unit.sold_points if unit is not None else 0.0
    kpis["bought_points"] = unit.bought_points if unit is not None else 0.0
    kpis["mains_points"] = run.mains_wh * house.mains_point_per_wh
    kpis["cost_points"] = kpis["mains_points"] + kpis["bought_points"] - kpis["sold_points"]
    kpis["co2_kg"] = run.mains_wh / 1000.0 * co2_kg_per_kwh
    return {**kpis, **_ratios(kpis)}


def derived_kpis(given: Kpis) -> Kpis:
    """The figures of a house of which only energies are known: no deals, and nobody counted.

    Args:
        given: All energies, ``stored_change_wh`` and ``capacity_wh``.
    """
    nothing = ("deals", "dark_h", "loss_of_load_ratio", "sold_points", "bought_points")
    unknown = ("mains_points", "cost_points", "co2_kg")
    kpis = {**given, **dict.fromkeys((*nothing, *unknown), 0.0)}
    return {**kpis, **_ratios(kpis)}


def village_kpis(houses: Sequence[Kpis], line_loss_wh: float) -> Kpis:
    """The figures of the village: sums of its houses, and what only the village has."""
    means = ("loss_of_load_ratio",)
    first = houses[0]
    kpis = {key: sum(h[key] for h in houses) for key in first if not key.endswith("_ratio")}
    for key in means:
        kpis[key] = sum(h[key] for h in houses) / len(houses)
    del kpis["full_cycles"]
    kpis["deals"] = kpis["deals"] / 2.0  # each has two units
    kpis["lost_line_wh"] = line_loss_wh
    kpis |= _ratios(kpis)
    kpis["worst_self_sufficiency_ratio"] = min(h["self_sufficiency_ratio"] for h in houses)
    kpis["gini_ratio"] = _gini([h["mains_wh"] + h["unserved_wh"] for h in houses])
    received_wh = max(kpis["received_wh"], _LEAST_WH)
    lost_wh = kpis["lost_converter_wh"] + line_loss_wh
    kpis["lost_per_received_ratio"] = lost_wh / received_wh if kpis["received_wh"] else 0.0
    kpis["energy_residual_ratio"] = residual_ratio(kpis)
    return kpis


def residual_ratio(kpis: Mapping[str, float]) -> float:
    """The part of the energy that is neither used, lost nor stored, 0..1."""
    into_wh = kpis["solar_wh"] + kpis["mains_wh"] + kpis["received_wh"]
    out_wh = kpis["load_wh"] + kpis["sent_wh"] + kpis["stored_change_wh"]
    lost_wh = sum(
        kpis[f"lost_{where}_wh"] for where in ("converter", "standby", "battery", "dc", "ac")
    )
    return abs(into_wh - out_wh - lost_wh) / max(into_wh, 1.0)


def _ratios(kpis: Mapping[str, float]) -> Kpis:
    lost_wh = sum(
        kpis[f"lost_{where}_wh"] for where in ("converter", "standby", "battery", "dc", "ac")
    )
    used_wh = kpis["load_wh"] + lost_wh
    available_wh = kpis["solar_wh"] + kpis["curtailed_wh"]
    through_wh = 0.5 * (kpis["charged_wh"] + kpis["discharged_wh"])
    return {
        "self_sufficiency_ratio": 1.0 - kpis["mains_wh"] / max(used_wh, _LEAST_WH),
        "self_consumption_ratio": kpis["solar_wh"] / max(available_wh, _LEAST_WH),
        "curtailed_ratio": kpis["curtailed_wh"] / max(available_wh, _LEAST_WH),
        "full_cycles": through_wh / kpis["capacity_wh"],
    }


def _gini(values: Sequence[float]) -> float:
    """Gini coefficient: 0 = all have the same, 1 = one has all."""
    total = sum(values)
    if total <= 0.0:
        return 0.0
    ranked = sorted(values)
    count = len(ranked)
    weighted = sum(rank * value for rank, value in enumerate(ranked, start=1))
    return 2.0 * weighted / (count * total) - (count + 1.0) / count
