"""What a simulated cluster is made of: policy, hardware, scenario, houses and their plant.

Sun and load are constant, so nothing here needs weather or files. Deals are small, so that an
hour has many.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from random import Random
from typing import Any

from apis_core.config.hardware import Hardware, parse_hardware
from apis_core.config.policy import Policy, parse_policy
from apis_core.config.scenario import Scenario, parse_scenario
from apis_core.model.types import UnitId
from apis_core.model.units import SECOND_NS
from apis_emulator.physics.converter import Converter
from apis_emulator.physics.plant import Installation, Plant
from apis_site.grid import Bus, ConverterLoss

__all__ = [
    "CAPACITY_WH",
    "Pace",
    "Rules",
    "Setup",
    "make_plant",
    "make_policy",
    "make_rules",
    "make_setup",
    "unit_ids",
]

CAPACITY_WH = 4800.0
INITIAL_SOC_RATIO = (0.45, 0.94)
SOLAR_W, LOAD_W = (0.0, 900.0), (0.0, 500.0)
VOLTMETER_SIGMA_V = 0.2
CURRENT_ERROR_A = 0.05  # of a converter's control, within the hwConfig's allowance
IDLE_STEP_S = 10.0  # of a plant with nothing on and constant profiles: nothing to resolve

BRANCH_A = {"end": 2.0}  # the last two houses, at the end of the street

_POLICY: dict[str, Any] = {
    "operationMode": "autonomous",
    "memberUnitIds": [],
    "largeCapacityUnitIds": [],
    "operationGridVoltageV": 350,
    "operationGridVoltageVRange": {"min": 300, "max": 380},
    "gridVoltageSeparationV": 10,
    "gridVoltageAllowanceV": 4,
    "gridVoltageDropAllowanceV": 20,
    "gridCurrentStepA": 1,
    "gridUvloMaskV": 10,
    "safety": {
        "sumOfDealingUnitGridCurrentAllowancePerUnitA": 0.125,
        "sumOfDealGridCurrentMaxA": 4,
    },
    "controller": {
        "dcdc": {
            "checkpoint": {"retryLimit": 3, "retryWaitMsec": 100},
            "voltageReference": {
                "rampUp": {"first": {"timeoutMsec": 180000}},
                "authorization": {"numberOfTrials": 3},
            },
        },
        "dataAcquisitionPeriodMsec": 20000,
    },
    "user": {"houseKeepingPeriodMsec": 10000},
    "mediator": {
        "deal": {"gridCurrentA": 1, "amountMinWh": 25, "amountMaxWh": 25, "amountUnitWh": 25},
        "negotiationTimeoutMsec": 2000,
    },
    "gridMaster": {
        "mainLoopPeriodMsec": 10000,
        "deal": {
            "forceStopCondition": {
                "dischargeUnitLowerLimitRsoc": 20,
                "chargeUnitUpperLimitRsoc": 95,
            },
            "resetLimit": 3,
        },
        "currentCompensation": {"limitOfTrials": 3, "driftAllowanceA": 0.03},
    },
}
_RANGES = {
    "tmp": (0, 45),
    "vg": (-4, 380),
    "vb": (32, 58.4),
    "ig": (-2.35, 2.35),
    "ib": (-20, 20),
}
_HARDWARE = {
    "batteryNominalCapacityWh": CAPACITY_WH,
    "gridCurrentCapacityA": 2.3,
    "gridCurrentAllowanceA": 0.125,
    "droopRatio": 0.039,
    "safety": {
        "range": {
            "dcdc": {
                "meter": {name: {"min": low, "max": high} for name, (low, high) in _RANGES.items()}
            }
        }
    },
}
_SCENARIO = {
    "acceptSelection": {"strategy": "amount"},
    "00:00:00-24:00:00": {
        "batteryStatus": {
            "4320-": "excess",
            "3600-4320": "sufficient",
            "2880-3600": "scarce",
            "-2880": "short",
        },
        "request": {
            "excess": {"discharge": {"limitWh": 4320, "pointPerWh": 10}},
            "sufficient": {},
            "scarce": {},
            "short": {"charge": {"limitWh": 2880, "pointPerWh": 10}},
        },
        "accept": {
            "excess": {"discharge": {"limitWh": 3600, "pointPerWh": 10}},
            "sufficient": {"discharge": {"limitWh": 3600, "pointPerWh": 10}},
            "scarce": {"charge": {"limitWh": 3600, "pointPerWh": 10}},
            "short": {"charge": {"limitWh": 3600, "pointPerWh": 10}},
        },
    },
}


@dataclass(frozen=True, slots=True)
class Rules:
    """The configuration that all units of a run share."""

    policy: Policy
    hardware: Hardware
    scenario: Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often things happen: seldom for seeds, as most of a run is their handling.

    Attributes:
        network_floor_ns: Heartbeats and polls are slower with it, as under an accelerated clock.
        driver_hold_s: Hold time of the drivers. [s]
        busy_step_ns: Of the plant while anything is on.
        idle_step_ns: ... while nothing is.
        busy_telemetry_ns: Between two readings of a converter that is on.
        idle_telemetry_ns: ... that is off.
        soc_step_ratio: A battery is read out when it has changed by so much; 0 = always.
    """

    network_floor_ns: int = 5 * SECOND_NS
    driver_hold_s: float = 15.0
    busy_step_ns: int = SECOND_NS
    idle_step_ns: int = 5 * SECOND_NS
    busy_telemetry_ns: int = 4 * SECOND_NS
    idle_telemetry_ns: int = 15 * SECOND_NS
    soc_step_ratio: float = 0.0005

    @property
    def renewal_ns(self) -> int:
        """Between two renewals of a converter's order."""
        return round(self.driver_hold_s / 3.0 * SECOND_NS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a run is made of.

    Attributes:
        ids: The units.
        rules: Of all units, where one has none of its own.
        plant: The hardware.
        pace: How often things happen.
        hardware: Of units that have one of their own.
        scenarios: The same.
        is_plain: The converters know nothing of the bus and of each other.
    """

    ids: list[UnitId]
    rules: Rules
    plant: Plant
    pace: Pace = Pace()
    hardware: dict[UnitId, Hardware] = field(default_factory=dict)
    scenarios: dict[UnitId, Scenario] = field(default_factory=dict)
    is_plain: bool = False


def make_setup(count: int, random: Random) -> Setup:
    """What a seed runs: so many houses with small deals."""
    return Setup(ids=unit_ids(count), rules=make_rules(count), plant=make_plant(count, random))


def unit_ids(count: int) -> list[UnitId]:
    """E001, E002, ..."""
    return [f"E{index + 1:03}" for index in range(count)]


def make_rules(count: int) -> Rules:
    """Policy, hardware and scenario for so many units."""
    return Rules(
        policy=make_policy(count, 1),
        hardware=parse_hardware(json.dumps(_HARDWARE), "hardware"),
        scenario=parse_scenario(json.dumps(_SCENARIO), "scenario"),
    )


def make_policy(count: int, version: int) -> Policy:
    """The policy of so many units, as an operator has it; later ones collect data less often."""
    members = unit_ids(count)
    sides = {"end": {"forwardUnitIds": members[:-2], "backwardUnitIds": members[-2:]}}
    text = json.dumps(
        _POLICY
        | {
            "memberUnitIds": members,
            "version": version,
            "safety": _POLICY["safety"]
            | {
                "gridTopologyBasedEvaluation": {
                    "enabled": True,
                    "branchIds": list(sides),
                    "branchAssociation": sides,
                    "branchCurrentCapacityA": BRANCH_A,
                }
            },
            "controller": _POLICY["controller"]
            | {"dataAcquisitionPeriodMsec": 20_000 + 1_000 * (version - 1)},
        }
    )
    return parse_policy(text, f"policy, version {version}")


def make_plant(count: int, random: Random) -> Plant:
    """Houses with constant sun and load, drawn from a seed."""
    bus = Bus()
    units = {}
    for unit_id in unit_ids(count):
        solar_w, load_w = random.uniform(*SOLAR_W), random.uniform(*LOAD_W)
        stored_wh = CAPACITY_WH * random.uniform(*INITIAL_SOC_RATIO)
        # not gauss(): its result depends on calls before
        offset_v = VOLTMETER_SIGMA_V * math.sqrt(3.0) * random.uniform(-1.0, 1.0)
        converter = Converter(loss=ConverterLoss(), bus=bus)
        converter.current_offset_a = CURRENT_ERROR_A * random.uniform(-1.0, 1.0)
        units[unit_id] = Installation(
            capacity_wh=CAPACITY_WH,
            stored_wh=stored_wh,
            converter=converter,
            solar=solar_w,
            load=load_w,
            voltage_offset_v=offset_v,
        )
    return Plant(units, bus, IDLE_STEP_S)
