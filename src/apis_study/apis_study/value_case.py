"""The case ``value``: the same houses, dealing by what energy is worth to each of them."""

from __future__ import annotations

import json
from dataclasses import replace

from apis_core.config.policy import Policy
from apis_core.config.scenario import Scenario, parse_scenario
from apis_study.village import HouseInput, Village

__all__ = ["value_policy", "value_scenario", "value_village"]


def value_village(village: Village) -> Village:
    """The same houses with the value rule."""
    houses = tuple(replace(h, scenario=value_scenario(village, h)) for h in village.houses)
    return replace(village, houses=houses, policy=value_policy(village))


def value_policy(village: Village) -> Policy:
    """The same cluster with deals that use a whole converter, as long as they bring something."""
    capacity_a = min(house.hardware.grid_current_capacity_a for house in village.houses)
    return replace(
        village.policy,
        deal_current_a=capacity_a,
        deal_energy_min_wh=50,
        deal_energy_max_wh=200,
        deal_energy_unit_wh=50,
    )


def value_scenario(village: Village, house: HouseInput) -> Scenario:
    """What a unit must know of its house: the constants of its UPS, and what the mains cost."""
    model = village.house_model
    content = {
        "rule": "value",
        "forecast": "persistence",
        "value": {
            "mains": house.mains,
            "mainsPointPerWh": house.mains_point_per_wh,
            "controlsW": model.system_loss_w + village.loss.waiting_w,
            "inverterLossW": model.inverter_loss_w,
            "inverterLossRatio": model.inverter_loss_ratio,
            "bypassLossW": model.bypass_loss_w,
            "bypassLossRatio": model.bypass_loss_ratio,
        },
    }
    return parse_scenario(json.dumps(content), "the value rule")
