"""Converter and battery with their threads."""

from __future__ import annotations

import time

import pytest
from fake_eza import FakeEza

from apis_core.model.messages import ConverterOperation, ConverterOrder
from apis_core.model.types import ConverterError, ConverterMode
from apis_driver.device import BatteryStatus, SharingPermit
from apis_driver.devices.eza2500 import Eza2500, Eza2500Settings
from apis_driver.errors import DeviceTimeout, PortError
from apis_driver.rules import GovernorSettings
from apis_driver.unit_hardware import Timing, UnitHardware

CHARGE = ConverterOrder(
    operation=ConverterOperation.MODE,
    mode=ConverterMode.CHARGE,
    grid_current_a=2.0,
    hold_s=9.0,
    term=1,
)
WAIT = ConverterOrder(operation=ConverterOperation.MODE, mode=ConverterMode.WAIT)


class FakeBattery:
    address = "fake battery"
    Settings = None

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self.permit = SharingPermit.BOTH
        self.failure: Exception | None = None

        self.opened = 0

    def open(self, deadline_s):
        self.opened += 1
        self.read(deadline_s)

    def close(self):
        pass

    def read(self, deadline_s):
        if self.failure is not None:
            raise self.failure
        return BatteryStatus(soc_ratio=0.5, permit=self.permit)


class Rig:
    def __init__(self, **rules) -> None:
        self.fake, self.battery = FakeEza(), FakeBattery()
        self.readings, self.batteries, self.complaints = [], [], []
        settings = Eza2500Settings(port="fake", reply_timeout_s=0.02, late_reply_s=0.0)
        self.hardware = UnitHardware(
            Eza2500(settings, self.fake),
            self.battery,
            GovernorSettings(**rules),
            None,
            on_reading=self.readings.append,
            on_battery=self.batteries.append,
            on_complaint=self.complaints.append,
        )
        self.hardware.start()

    def open(self) -> None:
        self.hardware.open().result(5.0)
        self.hardware.is_active = True
        self.until(lambda: self.hardware.governor.permit is SharingPermit.BOTH)

    def order(self, order):
        return self.hardware.handle(order).result(5.0)

    def until(self, holds, within_s=20.0) -> None:
        end_s = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < end_s, "it did not come about in time"
            time.sleep(0.01)

    def codes(self) -> set[str]:
        return {complaint.code for complaint in self.complaints}


@pytest.fixture
def rig():
    made = Rig(battery_lost_s=0.2, permit_grace_s=0.2)
    yield made
    made.hardware.end()


def test_orders_are_refused_until_it_is_open_and_active(rig):
    assert rig.order(CHARGE).error is ConverterError.TIMEOUT
    rig.hardware.open().result(5.0)
    assert rig.order(CHARGE).error is ConverterError.REFUSED
    assert rig.order(WAIT).error is ConverterError.NONE
    rig.open()
    assert rig.order(CHARGE).error is ConverterError.NONE
    assert rig.hardware.settings_timing.count >= 1


def test_it_is_read_all_the_time(rig):
    rig.open()
    rig.order(CHARGE)
    before = len(rig.readings)
    rig.until(lambda: len(rig.readings) > before + 20)
    assert rig.readings[-1].mode is ConverterMode.CHARGE
    assert rig.hardware.status_timing.count > 20


def test_permission_withdrawn_is_told_and_ends_in_wait(rig):
    rig.open()
    rig.order(CHARGE)
    rig.battery.permit = SharingPermit.NONE
    rig.until(lambda: rig.fake.raw["mode"] == 0)
    assert "battery_denies_sharing" in rig.codes()
    assert "permission is NONE" in rig.order(CHARGE).message


def test_a_silent_battery_has_withdrawn_its_permission(rig):
    rig.open()
    rig.order(CHARGE)
    rig.battery.failure = DeviceTimeout("silent")
    rig.until(lambda: rig.fake.raw["mode"] == 0)
    assert rig.batteries[-1] is None
    assert "battery_unreachable" in rig.codes()
    rig.battery.failure = None
    rig.until(lambda: rig.hardware.governor.permit is SharingPermit.BOTH)
    assert rig.order(CHARGE).error is ConverterError.NONE


def test_a_battery_that_is_not_there_at_the_start_is_tried_again(rig):
    rig.battery.failure = PortError("no such port")
    rig.until(lambda: rig.hardware.battery_failure)
    rig.battery.failure = None
    rig.until(lambda: rig.batteries and rig.batteries[-1] is not None)


def test_closing_says_wait(rig):
    rig.open()
    rig.order(CHARGE)
    rig.hardware.close().result(5.0)
    assert rig.fake.raw["mode"] == 0
    assert not rig.hardware.is_open


def test_what_takes_longer_than_its_budget_is_counted():
    timing = Timing(0.5)
    for duration_s in (0.1, 0.6, 0.2):
        timing.note(duration_s)
    assert (timing.late, timing.count, timing.worst_s, timing.median_s) == (1, 3, 0.6, 0.2)


def test_a_battery_whose_port_has_gone_is_opened_again_at_once():
    rig = Rig(battery_lost_s=60.0)
    rig.open()
    rig.battery.failure = PortError("the port has gone")
    rig.until(lambda: rig.hardware.battery_failure)
    opened, rig.battery.failure = rig.battery.opened, None
    rig.until(lambda: rig.battery.opened > opened and not rig.hardware.battery_failure)
    rig.hardware.end()
