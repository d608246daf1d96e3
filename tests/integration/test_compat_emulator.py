"""``apisctl emulator``: an emulator that a client of the original can drive, and nothing else."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

APISCTL = (sys.executable, "-m", "apis_bringup.cli")


@pytest.fixture
def profiles(tmp_path) -> list[str]:
    """A year of sun and load in files of the original's format."""
    solar, load = tmp_path / "solar.csv", tmp_path / "load.csv"
    np.savetxt(solar, np.full((365, 24), 250.0), delimiter=",", fmt="%g")
    days = [[0, unit, *[0] * 4, *[0.3] * 48] for unit in (1, 2) for _ in range(366)]
    np.savetxt(load, days, delimiter=",", fmt="%g", header="a header", comments="")
    return ["--solar-csv", str(solar), "--load-csv", str(load)]


def test_a_client_drives_it(tmp_path, profiles):
    summary = tmp_path / "summary.csv"
    words = ["--units", "2", "--http", "0", "--acceleration", "3600", "--period", "0.01"]
    emulator = subprocess.Popen(
        [*APISCTL, "emulator", *words, *profiles, "--summary", str(summary)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert emulator.stdout is not None
        url = re.search(r"http://\S+:\d+", emulator.stdout.readline())
        assert url is not None

        def get(path: str) -> dict:
            with urllib.request.urlopen(url.group() + path, timeout=10) as answer:
                return json.load(answer)

        get("/set/dcdc/E001?mode=0x0014&dvg=350&dig=2")
        answer = get("/set/dcdc/E002?mode=0x0041&dvg=350&dig=2")
        assert answer["meter"]["wb"] == 700.0 - 71.0
        while get("/get/log")["E001"]["time"] < "2020/01/03":
            pass
        emulator.send_signal(signal.SIGINT)
        assert emulator.wait(10) == 0
    finally:
        emulator.kill()
    assert re.search(r"^2020-01-02,\d+,14400,", summary.read_text(), re.M)


def test_a_recording_is_checked(tmp_path):
    call = {"n": 1, "request": "GET /get/acc HTTP/1.1", "status": 200, "body": 10}
    wrong = {"request": "GET /get/emu/E001", "status": 200, "body": {"rsoc": 12}, "compare": []}
    file = tmp_path / "recording.json"
    file.write_text(json.dumps({"sessions": [{"id": "talk", "calls": [call, wrong]}]}))
    done = subprocess.run(
        [*APISCTL, "check-transcript", str(file)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "talk GET /get/emu/E001: rsoc is 49.99, recorded was 12\n" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--load-csv", "nowhere.csv"], "nowhere.csv: no such file"),
        (["--acceleration", "0"], "--acceleration"),
        (["--physics", "magic"], "--physics"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_starts(words, said):
    done = subprocess.run(
        [*APISCTL, "emulator", *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert said in done.stderr


def test_more_units_than_there_is_load_for(profiles):
    done = subprocess.run(
        [*APISCTL, "emulator", "--units", "3", *profiles],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "--units is 3, there is a load for 2 units only" in done.stderr


def test_the_recording_that_comes_with_the_project():
    file = Path(__file__).parents[2] / "src/apis_compat/test/emulator/rest_transcript.json"
    done = subprocess.run(
        [*APISCTL, "check-transcript", str(file)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout
