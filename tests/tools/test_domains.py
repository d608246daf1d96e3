"""Tests keep off the ROS domains on which somebody runs a grid."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from apis_bringup import run_lock

ROOT = Path(__file__).resolve().parents[2]


def test_no_test_gets_the_domain_of_a_grid(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # other tests hold these numbers
    spec = importlib.util.spec_from_file_location("the_conftest", ROOT / "conftest.py")
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    monkeypatch.setattr(conftest, "ROS_DOMAINS", range(18, 20))
    monkeypatch.setenv("ROS_DOMAIN_ID", "18")

    grid = run_lock.RunningGrid("town", ("E001",), str(tmp_path), None)
    with run_lock.claim(grid), conftest._claimed_ros_domain() as domain_id:
        assert domain_id == 19
        with pytest.raises(RuntimeError, match="in use"), conftest._claimed_ros_domain():
            pass
