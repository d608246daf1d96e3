"""The study against whole agents: the same houses, the same rules, the same energy.

The simulator runs every message, poll and proof of the agents; the study what is left of them.
Chance differs, so that seeds are compared in sum: what is random in one run is not in ten.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone
from random import Random

import numpy as np

from apis_core.config.timing import Timing
from apis_core.model.units import SECOND_NS
from apis_simulator.faults import PROFILES
from apis_simulator.scenario_setup import make_setup
from apis_simulator.trace import Trace
from apis_simulator.world import World
from apis_site.grid import BatteryCells, Bus, ConverterLoss, HouseModel
from apis_study.exchange import Exchange
from apis_study.losses import PartLoadLoss
from apis_study.village import HouseInput, Village
from bench.report import Report

UNITS, HOURS, SEEDS = 6, 1.0, range(1, 11)
STEP_S = 10.0  # as the simulator's plant


def measure(report: Report) -> None:
    """Deals and energy of ten seeds."""
    sums = compare(SEEDS)
    note = f"{len(SEEDS)} seeds, {UNITS} houses, {HOURS:g} h; study over whole agents, less 1"
    report.at_most("equality.deals_ratio", abs(sums.deals_ratio - 1.0), "", 0.02, note)
    report.at_most("equality.received_ratio", abs(sums.received_ratio - 1.0), "", 0.005, note)
    report.at_most("equality.stored_ratio", sums.stored_difference_ratio, "", 0.005, "a house")


class Sums:
    """What whole agents and the study come to, over all seeds.

    Attributes:
        deals: That began; of whole agents, of the study.
        received_wh: By all houses together; of whole agents, of the study.
        stored_wh: In each house at the end; of whole agents, of the study.
    """

    def __init__(self) -> None:
        self.deals = [0, 0]
        self.received_wh = [0.0, 0.0]
        self.stored_wh: list[tuple[float, float]] = []

    @property
    def deals_ratio(self) -> float:
        """Deals of the study over those of whole agents."""
        return self.deals[1] / self.deals[0]

    @property
    def received_ratio(self) -> float:
        """Energy received in the study over that of whole agents."""
        return self.received_wh[1] / self.received_wh[0]

    @property
    def stored_difference_ratio(self) -> float:
        """How far the energy of a house is off, on average."""
        return sum(abs(a - b) / a for a, b in self.stored_wh) / len(self.stored_wh)


def _always(power_w: float) -> tuple[np.ndarray, float, float]:
    return np.array([power_w], dtype=np.float32), 3600.0, 0.0


def _village(world: World) -> Village:
    """The houses of a simulated cluster, as a study has them."""
    houses = tuple(
        HouseInput(
            unit_id=unit_id,
            capacity_wh=unit.battery.capacity_wh,
            stored_wh=unit.battery.stored_wh,
            solar=_always(unit.installation.solar),
            load=_always(unit.installation.load),
            mains=unit.installation.mains,
            mains_point_per_wh=0.0,
            hardware=world.rules.hardware,
            scenario=world.rules.scenario,
        )
        for unit_id, unit in world.plant.units.items()
    )
    bus = Bus()
    return Village(
        houses=houses,
        policy=world.rules.policy,
        house_model=HouseModel(),
        battery_cells=BatteryCells().model_dump(),
        loss=PartLoadLoss(ConverterLoss(), bus),
        lines=(),
        ramp_up_v_per_s=bus.ramp_up_v_per_s,
        ramp_down_v_per_s=bus.ramp_down_v_per_s,
        current_slew_a_per_s=bus.current_slew_a_per_s,
        start=datetime(2025, 1, 1, 10, tzinfo=timezone.utc),
    )


def compare(seeds: Iterable[int]) -> Sums:
    """Run each seed both ways."""
    found = Sums()
    for seed in seeds:
        setup = make_setup(UNITS, Random(f"{seed}/plant"))
        setup = replace(setup, pace=replace(setup.pace, network_floor_ns=0))  # of real time
        world = World(seed, UNITS, PROFILES["calm"], Trace(None), setup)
        for unit in world.plant.units.values():
            unit.converter.current_offset_a = 0.0  # meters' errors are not the subject
        exchange = Exchange(_village(world), seed, STEP_S, timing=Timing.of(world.rules.policy))
        world.run_until(round(HOURS * 3600.0 * SECOND_NS))
        exchange.run(HOURS * 3600.0)
        deals = world.invariants.deals.values()
        found.deals[0] += sum(deal.started_ns > 0 for deal in deals)
        found.deals[1] += exchange.bus.started
        units = world.plant.units.values()
        found.received_wh[0] += sum(unit.converter.charged_wh for unit in units)
        found.received_wh[1] += sum(unit.run.received_wh for unit in exchange.units)
        found.stored_wh += [
            (whole.battery.stored_wh, unit.run.stored_wh)
            for whole, unit in zip(units, exchange.units, strict=True)
        ]
    return found
