"""The cases of a study: the same village with one thing changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from apis_core.config.scenario import Band, Rule, Rules, Scenario
from apis_core.model.units import DAY_S
from apis_site.study_settings import StudySettings
from apis_study.bounds import foresight_kpis, pool_kpis
from apis_study.exchange import Exchange
from apis_study.kpis import Kpis, energies_wh, house_kpis, village_kpis
from apis_study.original import original_policy, original_scenario
from apis_study.value_case import value_village
from apis_study.village import Samples, Village

__all__ = ["Case", "CaseResult", "cases_of", "run_case"]

Kind = Literal["none", "exchange", "pool", "foresight"]


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        name: As in the results.
        kind: Whether houses exchange, or which bound it is.
        village: Its houses.
        compared_with: The case without exchange of the same houses.
    """

    name: str
    kind: Kind
    village: Village
    compared_with: str


@dataclass(frozen=True)
class CaseResult:
    """What came of a case.

    Attributes:
        kpis: Of the village.
        houses: Of each house, by its unit.
        days: By unit: what its counters said at the end of each day.
        events: How many events it took.
    """

    kpis: Kpis
    houses: dict[str, Kpis]
    days: dict[str, list[Kpis]]
    events: int = 0


def cases_of(village: Village, settings: StudySettings) -> list[Case]:
    """The cases that a study file asks for, in the order in which they run."""
    cases = []
    for named in settings.cases:
        if named == "original":
            cases.append(Case(named, "exchange", _original(village), "none"))
        elif named == "value":
            cases.append(Case(named, "exchange", value_village(village), "none"))
        else:
            cases.append(Case(named, "none" if named == "none" else "exchange", village, "none"))
    cases += [Case(bound, bound, village, "none") for bound in settings.bounds]
    for name, other, changes_houses in _variants(village, settings):
        alone = f"none, {name}" if changes_houses else "none"
        if changes_houses:
            cases.append(Case(alone, "none", other, alone))
        cases.append(Case(name, "exchange", other, alone))
    return cases


def run_case(
    case: Case, settings: StudySettings, seed: int, tell: Callable[[float], None]
) -> CaseResult:
    """Let a case happen.

    Args:
        case: Which.
        settings: How long, in which steps.
        seed: Fixes all chance.
        tell: Called with the part that is done, 0..1.
    """
    if case.kind == "pool":
        return CaseResult(pool_kpis(case.village, settings), {}, {})
    if case.kind == "foresight":
        return CaseResult(foresight_kpis(case.village, settings), {}, {})
    village = case.village
    exchange = Exchange(village, seed, settings.step_s) if case.kind == "exchange" else None
    runs = village.runs(settings.step_s) if exchange is None else [u.run for u in exchange.units]
    ids = [house.unit_id for house in village.houses]
    days: dict[str, list[Kpis]] = {unit_id: [] for unit_id in ids}
    for end_s in _day_ends(settings.days):
        if exchange is not None:
            exchange.run(end_s)
        for unit_id, run in zip(ids, runs, strict=True):
            run.advance(end_s)
            days[unit_id].append(energies_wh(run))
        tell(end_s / (settings.days * DAY_S))
    units = [None] * len(ids) if exchange is None else list(exchange.units)
    houses = {
        house.unit_id: house_kpis(house, run, unit, settings.co2_kg_per_kwh)
        for house, run, unit in zip(village.houses, runs, units, strict=True)
    }
    line_loss_wh = 0.0 if exchange is None else exchange.bus.line_loss_wh
    kpis = village_kpis(list(houses.values()), line_loss_wh)
    if exchange is not None:
        kpis["deals"] = float(exchange.bus.completed)
        kpis["deals_aborted"] = float(exchange.bus.aborted)
        kpis["requests"] = float(exchange.requests)
    return CaseResult(kpis, houses, days, 0 if exchange is None else exchange.events)


def _day_ends(days: float) -> Iterator[float]:
    for day in range(1, math.ceil(days - 1e-9) + 1):
        yield min(day, days) * DAY_S


def _original(village: Village) -> Village:
    houses = tuple(
        replace(house, scenario=original_scenario(house.capacity_wh)) for house in village.houses
    )
    return replace(village, houses=houses, policy=original_policy(village.policy))


def _variants(village: Village, settings: StudySettings) -> Iterator[tuple[str, Village, bool]]:
    variants, policy = settings.variants, village.policy
    for current_a in variants.deal_current_a:
        other = replace(village, policy=replace(policy, deal_current_a=current_a))
        yield f"deal_current_a={current_a:g}", other, False
    for energy_wh in variants.deal_energy_wh:
        deal = replace(
            policy,
            deal_energy_min_wh=energy_wh,
            deal_energy_max_wh=energy_wh,
            deal_energy_unit_wh=energy_wh,
        )
        yield f"deal_energy_wh={energy_wh:g}", replace(village, policy=deal), False
    for scale in variants.battery_scale:
        houses = tuple(
            replace(
                house,
                capacity_wh=house.capacity_wh * scale,
                stored_wh=house.stored_wh * scale,
                scenario=_with_bands(house.scenario, scale),
            )
            for house in village.houses
        )
        yield f"battery_scale={scale:g}", replace(village, houses=houses), True
    for scale in variants.solar_scale:
        houses = tuple(replace(h, solar=_scaled(h.solar, scale)) for h in village.houses)
        yield f"solar_scale={scale:g}", replace(village, houses=houses), True
    for scale in variants.load_scale:
        houses = tuple(replace(h, load=_scaled(h.load, scale)) for h in village.houses)
        yield f"load_scale={scale:g}", replace(village, houses=houses), True


def _scaled(samples: Samples, scale: float) -> Samples:
    values, step_s, origin_s = samples
    return (values * scale).astype(np.float32), step_s, origin_s


def _with_bands(scenario: Scenario, scale: float) -> Scenario:
    """The same rules for a battery that is so many times as large."""

    def rule(old: Rule | None) -> Rule | None:
        return None if old is None else replace(old, limit_wh=old.limit_wh * scale)

    def rules(old: Mapping[str, Rules]) -> dict[str, Rules]:
        return {name: Rules(rule(each.charge), rule(each.discharge)) for name, each in old.items()}

    def edge(old_wh: float | None) -> float | None:
        return None if old_wh is None else old_wh * scale

    sections = tuple(
        replace(
            section,
            bands=tuple(Band(b.name, edge(b.lower_wh), edge(b.upper_wh)) for b in section.bands),
            request=rules(section.request),
            accept=rules(section.accept),
        )
        for section in scenario.sections
    )
    return replace(scenario, sections=sections)
