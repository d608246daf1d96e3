"""The original's rule: the values of the sample files that come with Sony CSL's ``apis-main``."""

from __future__ import annotations

import json
from dataclasses import replace

from apis_core.config.policy import Policy
from apis_core.config.scenario import Scenario, parse_scenario

__all__ = ["original_policy", "original_scenario"]

_BATTERY_WH = 4800.0  # of the sample's house
_SHORT, _SCARCE, _EXCESS = 2880.0, 3600.0, 4320.0  # where its bands begin [Wh]
_POINT_PER_WH = 10.0


def original_policy(policy: Policy) -> Policy:
    """The same cluster with the sample's deals: 50 Wh at 1 A, looked for every 5 s."""
    return replace(
        policy,
        deal_current_a=1.0,
        deal_energy_min_wh=50,
        deal_energy_max_wh=50,
        deal_energy_unit_wh=50,
        housekeeping_period_ns=5_000_000_000,
        negotiation_timeout_ns=2_000_000_000,
    )


def original_scenario(capacity_wh: float) -> Scenario:
    """The sample's scenario; its bands are the same shares of another battery. [Wh]"""
    short, scarce, excess = (
        round(edge * capacity_wh / _BATTERY_WH) for edge in (_SHORT, _SCARCE, _EXCESS)
    )

    def rule(limit_wh: int) -> dict[str, float]:
        return {"limitWh": limit_wh, "pointPerWh": _POINT_PER_WH}

    content = {
        "acceptSelection": {"strategy": "pointAndAmount"},
        "00:00:00-24:00:00": {
            "batteryStatus": {
                f"{excess}-": "excess",
                f"{scarce}-{excess}": "sufficient",
                f"{short}-{scarce}": "scarce",
                f"-{short}": "short",
            },
            "request": {
                "excess": {"discharge": rule(excess)},
                "sufficient": {},
                "scarce": {},
                "short": {"charge": rule(short)},
            },
            "accept": {
                "excess": {"discharge": rule(scarce)},
                "sufficient": {"discharge": rule(scarce)},
                "scarce": {"charge": rule(scarce)},
                "short": {"charge": rule(scarce)},
            },
        },
    }
    return parse_scenario(json.dumps(content), "the original's sample")
