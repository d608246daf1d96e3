"""What the units of an exploration go by: a policy with short times, and chance without dice.

Times are short, so that a hold time is over within few messages; what follows from what stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from apis_core.config.policy import Policy
from apis_core.config.timing import Timing
from apis_core.model.types import UnitId
from apis_core.model.units import SECOND_NS, ns_from_s
from apis_core.unit.agent import AgentSettings
from apis_simulator.scenario_setup import Rules, make_rules

__all__ = [
    "DRIVER_HOLD_S",
    "GRAIN_NS",
    "OFF_AFTER_NS",
    "SOC_RATIO",
    "TICK_NS",
    "UNITS",
    "NoDice",
    "Settings",
]

UNITS: tuple[UnitId, ...] = ("E001", "E002", "E003")
GRAIN_NS = SECOND_NS // 4  # a process gets its turn so late at most
TICK_NS = SECOND_NS  # between two readings of a converter, and two renewals of its hold
DRIVER_HOLD_S = 3.0
SOC_RATIO = 0.8  # nobody asks for energy by himself
OFF_AFTER_NS = ns_from_s(DRIVER_HOLD_S) + 2 * GRAIN_NS  # of the death of a unit's process
_TIMES = {
    "grid_master_heartbeat_ns": SECOND_NS,
    "main_loop_period_ns": 2 * SECOND_NS,
    "data_acquisition_period_ns": 2 * SECOND_NS,
    "data_collection_period_ns": 2 * SECOND_NS,
    "request_timeout_ns": SECOND_NS,
    "scram_reference_delay_ns": SECOND_NS,
    "ramp_up_timeout_ns": 10 * SECOND_NS,
    "local_quarantine_ns": 10 * SECOND_NS,
    "global_quarantine_ns": 10 * SECOND_NS,
    "housekeeping_period_ns": 3_600 * SECOND_NS,
    "queue_limit_ns": 20 * SECOND_NS,
}
_DEAL_WH = {"deal_energy_min_wh": 1, "deal_energy_max_wh": 5, "deal_energy_unit_wh": 1}

T = TypeVar("T")


class NoDice:
    """Stands in for :class:`random.Random`: all units draw the same, which is the worst case."""

    def random(self) -> float:
        """The middle of what could be drawn."""
        return 0.5

    def sample(self, population: Sequence[T], k: int) -> list[T]:
        """The first ones."""
        return list(population)[:k]

    def getrandbits(self, k: int) -> int:
        """Ids need not differ: nobody asks by himself."""
        return k


class Settings:
    """What all units of an exploration are made with.

    Args:
        large_unit_ids: Units that should hold the bus.
    """

    def __init__(self, large_unit_ids: tuple[UnitId, ...] = ()) -> None:
        rules: Rules = make_rules(len(UNITS))
        changes: dict[str, Any] = {
            **_TIMES,
            **_DEAL_WH,
            "large_capacity_unit_ids": large_unit_ids,
            "topology": None,
        }
        self.policy: Policy = replace(rules.policy, **changes)
        self.timing = Timing.of(self.policy)
        self._rules = rules

    @property
    def answer_ns(self) -> int:
        """How long a question waits for its answer."""
        return self.timing.deal.answer_ns

    @property
    def unowned_ns(self) -> int:
        """How long a converter may be on after the last order of a grid master."""
        policy = self.policy
        after_ns = policy.scram_reference_delay_ns + ns_from_s(DRIVER_HOLD_S) + 2 * TICK_NS
        return self.timing.deal.hold_ns + after_ns

    def of_unit(self, unit_id: UnitId, starts: int) -> AgentSettings:
        """What one process of a unit is made with."""
        return AgentSettings(
            unit_id=unit_id,
            instance_id=f"{unit_id}#{starts}",
            policy=self.policy,
            hardware=self._rules.hardware,
            scenario=self._rules.scenario,
            driver_hold_s=DRIVER_HOLD_S,
        )
