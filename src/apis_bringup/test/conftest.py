"""A small grid on disk, made of the configuration files that the core is tested with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

CORE_DATA = Path(__file__).resolve().parents[2] / "apis_core" / "test" / "data"


@pytest.fixture
def grid_path(tmp_path: Path) -> Callable[..., Path]:
    """Writes a grid file with two units, changed as asked, beside its policy and the rest."""

    def write(**changes: Any) -> Path:
        for name in ("policy", "hardware", "scenario"):
            shutil.copy(CORE_DATA / f"{name}.json", tmp_path)
        files = {"hardware": "hardware.json", "scenario": "scenario.json"}
        grid = {
            "policy": "policy.json",
            "units": [{"id": "E001", **files}, {"id": "E002", **files}],
            **changes,
        }
        path = tmp_path / "grid.yaml"
        path.write_text(yaml.safe_dump(grid))
        return path

    return write
