"""Small villages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apis_site.grid import GridDescription, parse_grid

ROOT = Path(__file__).resolve().parents[3]


def day_files(folder: Path) -> dict[str, str]:
    """Sun from 8 to 16 h, and a load that is the same at all hours, in the original's formats."""
    sun = [",".join(str(3000 if 8 <= hour < 16 else 0) for hour in range(24))] * 365
    (folder / "sun.csv").write_text("\n".join(sun))
    rows = [
        f"0,{customer},0,0,0,0{f',{kw}' * 48}"
        for customer, kw in ((1, 0.2), (2, 0.6))
        for _ in range(366)
    ]
    (folder / "load.csv").write_text("\n".join(["header", *rows]))
    return {"solar_csv": str(folder / "sun.csv"), "load_csv": str(folder / "load.csv")}


@pytest.fixture
def make_grid(tmp_path) -> Callable[..., GridDescription]:
    """A village of houses with and without a roof; no profile is modelled."""

    def make(count: int = 4, days: float = 2.0, **study: Any) -> GridDescription:
        files = day_files(tmp_path)
        ids = [f"E{index + 1:03}" for index in range(count)]
        policy = (ROOT / "config" / "policy.json").read_text()
        members = ", ".join(f'"{unit_id}"' for unit_id in ids)
        policy = policy.replace('"E001", "E002", "E003", "E004"', members)
        (tmp_path / "policy.json").write_text(policy)
        units = [
            {
                "id": unit_id,
                "hardware": str(ROOT / "config" / "hardware.json"),
                "scenario": str(ROOT / "config" / "scenario.json"),
                "position_m": (20.0 * index, 0.0),
                "house": {
                    **files,
                    "load_column": 1 + index % 2,
                    "solar_scale": 1.0 if index % 2 == 0 else 0.0,
                    "initial_soc_ratio": 0.7 - 0.1 * (index % 3),
                    "battery_capacity_wh": 4800.0,
                },
            }
            for index, unit_id in enumerate(ids)
        ]
        grid = {
            "policy": str(tmp_path / "policy.json"),
            "units": units,
            "emulator": {"start": "2025-06-21T00:00:00"},
            "study": {"days": days, **study},
        }
        (tmp_path / "grid.json").write_text(json.dumps(grid))
        return parse_grid(grid, "grid") if days > 0.0 else None

    return make
