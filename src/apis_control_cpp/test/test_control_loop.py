"""The real-time loop, as Python meets it; and its dead man while Python hangs or is stopped."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from apis_control import ControlLoop, InvalidValue, MailboxStage, NotObeyed, SimulatedBus

WAIT, REFERENCE, DISCHARGE, CHARGE = 1, 2, 3, 4
ENERGY_REACHED, HOLD_EXPIRED, TRIP = 1, 2, 3
QUICK = {
    "current_slew_a_per_s": 20.0,
    "voltage_up_v_per_s": 5.0,
}
HOLD_S = 1.0


def wait_for(condition: Callable[[], object], within_s: float = 20.0) -> None:
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.005)


class Deal:
    """Two loops on one bus in the middle of a deal, kept alive by a thread that renews them."""

    def __init__(self) -> None:
        # a bus so large that a stalled test machine does not lose it
        self.bus = SimulatedBus(2, capacitance_f=0.5, start_v=345.0)
        self.taker = ControlLoop(self.bus.stage(0), converter=QUICK)  # holds the voltage
        self.giver = ControlLoop(self.bus.stage(1), converter=QUICK)
        self.taker.set_mode(REFERENCE, hold_s=60.0, voltage_v=350.0)
        wait_for(lambda: self.taker.snapshot().bus_v > 348.0)
        self.giver.set_mode(DISCHARGE, hold_s=HOLD_S, current_a=2.0, energy_limit_wh=50.0)
        self.renewed_s = ControlLoop.now_s()
        wait_for(lambda: self.giver.snapshot().moved_wh > 0.01)

    def renew(self) -> None:
        """What a driver does as long as its node lives."""
        self.renewed_s = ControlLoop.now_s()
        self.giver.hold(HOLD_S)

    def end(self) -> None:
        self.giver.end()
        self.taker.end()


@pytest.fixture
def deal() -> Iterator[Deal]:
    made = Deal()
    yield made
    made.end()


def lateness_s(loop: ControlLoop) -> float:
    """The longest that the machine let the loop wait: nothing of a real-time machine. [s]"""
    return 1e-6 * loop.timing().jitter_max_us


def check_stopped_in_time(deal: Deal) -> None:
    end = deal.giver.snapshot()
    assert (end.mode, end.stop_cause) == (WAIT, HOLD_EXPIRED)
    assert "not renewed within its hold time of 1 s" in end.stop_detail
    assert end.waiting_since_s - deal.renewed_s < HOLD_S + 0.02 + lateness_s(deal.giver)
    # what the snapshot of the step that stopped it shows was measured before
    wait_for(lambda: deal.giver.snapshot().ticks > end.ticks)
    assert deal.giver.snapshot().current_a == pytest.approx(0.0, abs=1e-6)


def test_thread_that_holds_the_interpreter_does_not_hold_the_dead_man(deal):
    is_over = threading.Event()

    def renew() -> None:
        while not is_over.wait(0.1):
            deal.renew()

    keeper = threading.Thread(target=renew)
    keeper.start()
    wait_for(lambda: deal.giver.snapshot().moved_wh > 0.2)  # renewed for more than a hold time
    assert deal.giver.snapshot().mode == DISCHARGE
    ticks = deal.giver.snapshot().ticks
    is_over.set()
    keeper.join()
    deal.renew()

    began_s = time.monotonic()
    ctypes.PyDLL(None).usleep(5_000_000)  # unlike CDLL it keeps the interpreter's lock
    assert time.monotonic() - began_s >= 5.0

    check_stopped_in_time(deal)
    assert deal.giver.snapshot().ticks > ticks + 1000


KEEPER = """
import sys, time
while True:
    print("renewed", flush=True)
    time.sleep(0.05)
"""


def test_keeper_process_that_is_stopped(deal):
    keeper = subprocess.Popen([sys.executable, "-c", KEEPER], stdout=subprocess.PIPE)

    def forward() -> None:
        for _ in keeper.stdout:
            try:
                deal.renew()
            except NotObeyed:
                return

    reader = threading.Thread(target=forward)
    reader.start()
    try:
        wait_for(lambda: deal.giver.snapshot().moved_wh > 0.2)
        os.kill(keeper.pid, signal.SIGSTOP)
        wait_for(lambda: deal.giver.snapshot().mode == WAIT)
        check_stopped_in_time(deal)
    finally:
        keeper.kill()
        keeper.wait()
        reader.join()


def test_it_stops_at_the_agreed_energy_and_compensates(deal):
    deal.bus.set_stage_offset_a(1, 0.1)
    deal.giver.hold(30.0, energy_limit_wh=0.6)
    wait_for(lambda: deal.giver.snapshot().mode == WAIT)
    end = deal.giver.snapshot()
    assert end.stop_cause == ENERGY_REACHED
    assert end.stop_detail == "0.6 Wh have moved"
    late_wh = 750.0 * lateness_s(deal.giver) / 3600.0
    assert end.discharged_wh == pytest.approx(0.6, abs=0.0005 + late_wh)
    assert -0.2 <= end.trim_a < 0.2


def test_trip_is_told_with_its_reason(deal):
    deal.bus.set_temp_degc(1, 90.0)
    with ControlLoop(deal.bus.stage(1), converter=QUICK | {"over_temp_trip_degc": 60.0}) as loop:
        loop.set_mode(CHARGE, hold_s=10.0, current_a=1.0)
        wait_for(lambda: loop.snapshot().stop_cause == TRIP)
        assert "over-temperature: 90.0 degC, limit 60 degC" in loop.snapshot().stop_detail
        assert loop.snapshot().alarm == 3


def test_orders_that_cannot_be_obeyed(deal):
    with pytest.raises(NotObeyed, match="VOLTAGE_REFERENCE"):
        deal.giver.set_voltage(350.0)
    deal.giver.wait()
    wait_for(lambda: deal.giver.snapshot().mode == WAIT)
    with pytest.raises(NotObeyed, match="WAIT"):
        deal.giver.set_current(1.0)
    for value in (-1.0, 8.0, math.nan):
        with pytest.raises(InvalidValue, match="current_a"):
            deal.giver.set_mode(CHARGE, hold_s=1.0, current_a=value)
    with pytest.raises(InvalidValue, match="hold_s"):
        deal.giver.set_mode(CHARGE, hold_s=0.0, current_a=1.0)
    deal.giver.end()
    with pytest.raises(NotObeyed, match="ended"):
        deal.giver.set_mode(CHARGE, hold_s=1.0, current_a=1.0)


def test_mailbox_whose_meters_fall_silent():
    stage = MailboxStage(fresh_s=0.2)
    with ControlLoop(stage, converter=QUICK) as loop:
        stage.post(350.0, 0.0)
        loop.set_mode(CHARGE, hold_s=60.0, current_a=2.0)
        end_s = time.monotonic() + 0.4
        while time.monotonic() < end_s:
            is_on, current_a = stage.fetch()
            stage.post(350.0, current_a)
            time.sleep(0.01)
        assert is_on
        assert current_a == pytest.approx(2.0, abs=0.2)
        wait_for(lambda: loop.snapshot().stop_cause == TRIP)
        assert "no measurement" in loop.snapshot().stop_detail
        assert stage.fetch() == (False, 0.0)


def test_jitter_is_counted(deal):
    deal.giver.reset_timing()
    wait_for(lambda: deal.giver.timing().ticks > 200)
    timing = deal.giver.timing()
    assert 0.0 < timing.jitter_p50_us <= timing.jitter_p99_us <= timing.jitter_p999_us
