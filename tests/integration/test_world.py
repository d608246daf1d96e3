"""``apisctl world``, with a real emulator and no units; ``apisctl study``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

STARTS_WITHIN_S = 60.0  # a busy machine takes its time
ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.ros, pytest.mark.timeout(150)]


@pytest.fixture
def house(tmp_path) -> dict[str, object]:
    """One whose sun and load need no modelling."""
    (tmp_path / "sun.csv").write_text("\n".join([",".join(["500"] * 24)] * 365))
    days = [f"0,{unit},0,0,0,0{',0.3' * 48}" for unit in (1, 2, 3) for _ in range(366)]
    (tmp_path / "load.csv").write_text("header\n" + "\n".join(days))
    return {"solar_csv": "sun.csv", "load_csv": "load.csv", "initial_soc_ratio": 0.5}


@pytest.fixture
def grid(tmp_path, house) -> Path:
    config = ROOT / "config"
    files = {key: str(config / f"{key}.json") for key in ("hardware", "scenario")}
    units = [{"id": f"E00{n}", "house": house, **files} for n in (1, 2)]
    emulator = {"start": "2025-06-21T12:00:00", "lines": {}}
    grid = {"policy": str(config / "policy.json"), "units": units}
    file = tmp_path / "grid.yaml"
    file.write_text(json.dumps({**grid, "emulator": emulator}))  # JSON is YAML
    return file


@pytest.fixture
def emulator(apisctl, grid, tmp_path) -> Iterator[None]:
    content = json.loads(grid.read_text())
    for unit in content["units"]:
        unit["house"] = {**unit["house"], "solar_csv": str(tmp_path / "sun.csv")}
        unit["house"]["load_csv"] = str(tmp_path / "load.csv")
    resolved = tmp_path / "grid.json"
    resolved.write_text(json.dumps(content))
    process = subprocess.Popen(
        [sys.executable, "-m", "apis_emulator.main", "--ros-args", "-p", f"grid_file:={resolved}"],
        env=apisctl.env,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline_s = time.monotonic() + STARTS_WITHIN_S
    while apisctl("world", "show").returncode and time.monotonic() < deadline_s:
        assert process.poll() is None, process.communicate()[1]
    yield
    process.send_signal(signal.SIGINT)
    assert process.wait(40) == 0, process.communicate()[1]


def test_an_operator_at_the_command_line(apisctl, emulator, grid, house, tmp_path):
    files = {key: str(ROOT / "config" / f"{key}.json") for key in ("hardware", "scenario")}
    third = tmp_path / "third.yaml"
    third.write_text(
        json.dumps(
            {
                "id": "E003",
                "house": house,
                "line": {"to": "E001", "length_m": 30, "conductor_ohm_per_m": 0.003},
                **files,
            }
        )
    )

    def said(*words: str | Path) -> str:
        done = apisctl("world", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "nothing is broken" in said("show")
    assert "speed 600" in said("speed", "600")
    assert "added E003" in said("add", third)
    assert "F1: line_break E001-E002" in said("break", "line-break", "E001", "--to", "E002")
    assert "nothing is broken" in said("repair", "F1")
    assert "F2: battery_permit E001" in said("break", "battery-permit", "E001")
    assert "nothing is broken" in said("repair", "all")
    state, days = tmp_path / "state.json", tmp_path / "days.csv"
    assert f"saved to {state}" in said("save", state)
    assert f"loaded from {state}" in said("load", state)
    assert "removed E003" in said("remove", "E003")
    said("summary", days)
    assert set(pd.read_csv(days).unit_id) >= {"E001", "E002", "bus", "total"}

    wrong = apisctl("world", "break", "sensor-offset", "E009", "--value", "1")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("apisctl: fault")
    wrong = apisctl("world", "load", tmp_path / "nowhere.json")
    assert (wrong.returncode, "no such file" in wrong.stderr) == (1, True)
    wrong = apisctl("world", "add", tmp_path / "nowhere.yaml")
    assert (wrong.returncode, "no such file" in wrong.stderr) == (2, True)


def test_a_study(apisctl, grid, tmp_path):
    out = tmp_path / "study"
    done = apisctl("study", "--grid", grid, "--days", "3", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "2 houses, 3 days, steps of 60 s" in done.stdout
    table = pd.read_parquet(out / "days.parquet")
    days = table[(table.case == "none") & (table.unit_id == "E001")]
    assert list(days.day) == [1, 2, 3]
    assert (out / "kpis.json").exists()


def test_faults_of_a_file_are_checked(apisctl, grid, tmp_path):
    faults = tmp_path / "faults.yaml"
    faults.write_text("- {kind: line_break, unit: E001}\n")
    words = ("sim", "--config", grid, "--for", "10", "--report", tmp_path / "r.json")
    done = apisctl(*words, "--faults", faults)
    assert done.returncode == 2
    assert "line_break needs other_unit" in done.stderr
    faults.write_text("kind: line_break\n")
    done = apisctl(*words, "--faults", faults)
    assert (done.returncode, "must be a list of faults" in done.stderr) == (2, True)
