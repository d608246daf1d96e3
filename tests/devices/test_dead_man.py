"""A driver that hangs: a thread below Python says WAIT on its line, and the converter obeys."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apis_core.model.types import ConverterMode as Mode

SCRIPT = Path(__file__).with_name("hanging_driver.py")
HOLD_S, HANG_S = 1.0, 5.0


@pytest.fixture
def site(make_site):
    """A bus that E002 holds; E001 has no watchdog of its own."""
    site = make_site(silence_limit_s=None)
    other = site.plant.units["E002"].converter
    other.start(Mode.VOLTAGE_REFERENCE, bus_v=0.0, energy_limit_wh=None)
    other.voltage_setpoint_v, other.current_setpoint_a = 350.0, 7.5
    site.step(20.0)
    return site


@contextmanager
def driver(site) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(SCRIPT), str(site.port), str(HOLD_S), str(HANG_S)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def seconds_until_wait(site, within_s: float) -> float:
    began_s = time.monotonic()
    while site.plant.units["E001"].converter.mode is not Mode.WAIT:
        if time.monotonic() - began_s > within_s:
            return float("inf")
        time.sleep(0.005)
    return time.monotonic() - began_s


def test_a_driver_that_hangs_for_five_seconds(site):
    with driver(site) as process:
        assert process.stdout.readline() == "on\n"
        assert site.plant.units["E001"].converter.mode is Mode.CHARGE
        took_s = seconds_until_wait(site, HANG_S)
        assert took_s == pytest.approx(HOLD_S, abs=0.5)
        assert process.stdout.read().split() == ["True", "False", "refused", "WAIT"]


def test_a_driver_that_is_stopped_as_a_whole_is_beyond_it(site):
    """No thread of a stopped process runs: here only the converter itself can help."""
    with driver(site) as process:
        assert process.stdout.readline() == "on\n"
        process.send_signal(signal.SIGSTOP)
        assert seconds_until_wait(site, 2.5 * HOLD_S) == float("inf")
        with site.lock:
            site.devices.eza.silence_limit_s = 0.5
            site.devices.eza.watch(time.monotonic())
        assert seconds_until_wait(site, 1.0) < 1.0
        process.send_signal(signal.SIGCONT)
