"""Readings as messages."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

from apis_driver.battery_message import battery_state
from apis_driver.device import BatteryStatus, SharingPermit

pytestmark = pytest.mark.ros


@pytest.mark.parametrize("status", [None, BatteryStatus(soc_ratio=0.5, permit=SharingPermit.BOTH)])
def test_every_reading_says_whose_it_is(status):
    battery = battery_state("E001", status, 1_000_000_000)
    assert (battery.location, battery.header.frame_id) == ("E001", "e001")
    assert battery.header.stamp.sec == 1
