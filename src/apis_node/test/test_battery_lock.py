"""One battery, several units of one host: never two in one direction (13)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from apis_core.events import BatteryClaimed
from apis_core.model.types import Direction
from apis_node.battery_lock import BatteryLock

CHARGE, DISCHARGE = Direction.CHARGE, Direction.DISCHARGE
HOLDER = """
import sys
from pathlib import Path
from apis_core.model.types import Direction
from apis_node.battery_lock import BatteryLock
lock = BatteryLock("cellar", Path(sys.argv[1]))
print(lock.claim(Direction.CHARGE).is_granted, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def two(tmp_path):
    locks = BatteryLock("cellar", tmp_path), BatteryLock("cellar", tmp_path)
    yield locks
    for lock in locks:
        lock.close()


def test_13_a_direction_has_one_holder_until_it_gives_it_back(two):
    one, other = two
    assert one.claim(CHARGE) == BatteryClaimed(CHARGE, True)
    assert one.claim(CHARGE) == BatteryClaimed(CHARGE, True)  # held is held
    assert other.claim(CHARGE) == BatteryClaimed(CHARGE, False)
    assert other.claim(DISCHARGE) == BatteryClaimed(DISCHARGE, True)
    one.free(CHARGE)
    one.free(CHARGE)
    assert other.claim(CHARGE) == BatteryClaimed(CHARGE, True)


def test_w28_a_direction_is_given_back_although_the_other_was_held_too(two):
    one, other = two
    one.claim(CHARGE)
    one.claim(DISCHARGE)
    one.free(DISCHARGE)
    one.free(CHARGE)
    assert other.claim(CHARGE).is_granted
    assert other.claim(DISCHARGE).is_granted


def test_13_another_battery_is_another_lock(two, tmp_path):
    two[0].claim(CHARGE)
    other = BatteryLock("attic", tmp_path)
    assert other.claim(CHARGE).is_granted
    other.close()


def test_13_a_process_that_is_killed_frees_its_direction(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "True\n"
    lock = BatteryLock("cellar", tmp_path)
    assert not lock.claim(CHARGE).is_granted
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(10.0)
    holder.stdin.close()
    holder.stdout.close()
    assert lock.claim(CHARGE).is_granted
    lock.close()


def test_13_a_lock_that_cannot_be_tried_says_why(tmp_path):
    claimed = BatteryLock("cellar", tmp_path / "nowhere").claim(CHARGE)
    assert not claimed.is_granted
    assert claimed.failure.endswith("cannot be locked: No such file or directory")
