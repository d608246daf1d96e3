"""Houses that live by themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from apis_simulator.study import energy_residual, main


@pytest.fixture
def grid(tmp_path, hardware) -> Path:
    (tmp_path / "hardware.json").write_text(json.dumps(hardware))
    sun = [",".join(str(900 if 8 <= hour < 16 else 0) for hour in range(24))] * 365
    (tmp_path / "sun.csv").write_text("\n".join(sun))
    load = [f"0,1,0,0,0,0{',1' * 48}"] * 366
    (tmp_path / "load.csv").write_text("header\n" + "\n".join(load))
    house = {"solar_csv": str(tmp_path / "sun.csv"), "load_csv": str(tmp_path / "load.csv")}
    unit = {
        "id": "E001",
        "hardware": str(tmp_path / "hardware.json"),
        "scenario": "-",
        "house": {**house, "initial_soc_ratio": 0.5},
    }
    file = tmp_path / "grid.json"
    emulator = {"start": "2025-06-21T00:00:00"}
    file.write_text(json.dumps({"policy": "-", "units": [unit], "emulator": emulator}))
    return file


def test_a_week_alone(grid, tmp_path, capsys):
    out = tmp_path / "out"
    words = [str(grid), "--days", "7", "--step", "60", "--out", str(out)]
    assert main(words) == 0
    table = pd.read_parquet(out / "summary.parquet")
    assert len(pd.read_csv(out / "summary.csv")) == len(table)
    days = table[(table.unit_id == "E001") & (table.day != "total")]
    assert len(days) == 7  # the midnight that the last one ends on begins no day of its own
    assert days.load_wh.iloc[:7].to_list() == pytest.approx([24_000.0] * 7, rel=1e-6)
    total = table[(table.unit_id == "E001") & (table.day == "total")].iloc[0]
    assert total.solar_wh + total.curtailed_wh == pytest.approx(7 * 8 * 900.0, rel=0.01)
    assert energy_residual(table) < 1e-9
    assert (days.grid_sent_wh == 0.0).all()
    said = capsys.readouterr().out
    assert "1 houses, 7 days in steps of 60 s" in said
    assert "168.0" in said  # kWh of load


def test_what_is_wrong_is_told(tmp_path, capsys):
    file = tmp_path / "grid.json"
    file.write_text("{")
    assert main([str(file), "--days", "1", "--step", "60", "--out", str(tmp_path)]) == 2
    assert "it must be JSON" in capsys.readouterr().err
