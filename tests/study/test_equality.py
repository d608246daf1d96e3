"""The study against whole agents: the same houses, the same rules, the same energy.

The simulator runs every message, poll and proof of the agents; the study what is left of them.
Chance differs, so that seeds are compared in sum: what is random in one run is not in ten.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from random import Random

import numpy as np
import pytest

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

UNITS, HOURS, SEEDS = 6, 1.0, range(1, 11)
STEP_S = 10.0  # as the simulator's plant


class Sums:
    """Of both, over all seeds."""

    def __init__(self) -> None:
        self.deals = [0, 0]
        self.received_wh = [0.0, 0.0]
        self.stored_wh: list[tuple[float, float]] = []


def always(power_w: float) -> tuple[np.ndarray, float, float]:
    return np.array([power_w], dtype=np.float32), 3600.0, 0.0


def village(world: World) -> Village:
    """The houses of a simulated cluster, as a study has them."""
    houses = tuple(
        HouseInput(
            unit_id=unit_id,
            capacity_wh=unit.battery.capacity_wh,
            stored_wh=unit.battery.stored_wh,
            solar=always(unit.installation.solar),
            load=always(unit.installation.load),
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
        loss=PartLoadLoss.of(ConverterLoss()),
        lines=(),
        ramp_up_v_per_s=bus.ramp_up_v_per_s,
        ramp_down_v_per_s=bus.ramp_down_v_per_s,
        current_slew_a_per_s=bus.current_slew_a_per_s,
        start=datetime(2025, 1, 1, 10, tzinfo=timezone.utc),
    )


@pytest.fixture(scope="module")
def sums() -> Sums:
    found = Sums()
    for seed in SEEDS:
        setup = make_setup(UNITS, Random(f"{seed}/plant"))
        setup = replace(setup, pace=replace(setup.pace, network_floor_ns=0))  # of real time
        world = World(seed, UNITS, PROFILES["calm"], Trace(None), setup)
        for unit in world.plant.units.values():
            unit.converter.current_offset_a = 0.0  # meters' errors are not the subject
        exchange = Exchange(village(world), seed, STEP_S, timing=Timing.of(world.rules.policy))
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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_as_many_deals_as_whole_agents_have(sums):
    whole, study = sums.deals
    assert whole > 100
    assert study == pytest.approx(whole, rel=0.02)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_as_much_energy_in_each_house(sums):
    # with whom a house deals is chance: what it has in the end is not
    differences = [abs(whole - study) / whole for whole, study in sums.stored_wh]
    assert sum(differences) / len(differences) < 0.005
    whole, study = sums.received_wh
    assert study == pytest.approx(whole, rel=0.01)
