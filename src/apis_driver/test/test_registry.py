from __future__ import annotations

import pytest

from apis_core.model.errors import ConfigError
from apis_driver.devices.eza2500 import Eza2500
from apis_driver.registry import check_settings, make_battery, make_dcdc


def test_devices_are_found_by_their_kind():
    device = make_dcdc({"kind": "eza2500", "port": "/dev/ttyUSB0", "baud": 9600}, "grid.yaml")
    assert isinstance(device, Eza2500)
    assert device.address == "/dev/ttyUSB0"


@pytest.mark.parametrize(
    ("make", "settings", "said"),
    [
        (make_dcdc, {}, "converter.kind: must be the kind of a converter: control_loop, e"),
        (make_dcdc, {"kind": "eza250"}, "did you mean eza2500?"),
        (
            make_dcdc,
            {"kind": "eza2500"},
            "converter.port: required: a serial port such as /dev/ttyUSB0",
        ),
        (make_dcdc, {"kind": "eza2500", "port": "x", "boud": 1}, "did you mean baud?"),
        (make_dcdc, {"kind": "eza2500", "port": "x", "direction": "gpio"}, "gpio_line is needed"),
        (make_dcdc, {"kind": "eza2500", "port": "x", "grid_over_voltage_v": 500.0}, "ogv is 500"),
        (make_dcdc, {"kind": "http", "url": "192.168.0.7"}, "converter.url"),
        (make_battery, {"kind": "modbus"}, "battery.port: required"),
        (make_battery, {"kind": "modbus", "port": "x", "registers": "none"}, "cannot be read"),
    ],
)
def test_wrong_settings_are_told_with_their_place(make, settings, said):
    with pytest.raises(ConfigError) as raised:
        make(settings, "grid.yaml")
    assert said in str(raised.value)
    assert str(raised.value).startswith(("grid.yaml: ", "none: "))


def test_everything_that_is_wrong_with_a_driver_is_told_at_once():
    problems = check_settings(
        {
            "converter": {"kind": "eza2500"},
            "battery": {"kind": "lead"},
            "rules": {"lost_s": -1},
            "http": {"host": "0.0.0.0", "port": 4380},
        },
        "grid.yaml",
        "units[0].driver",
    )
    keys = [problem.key for problem in problems]
    assert keys[:3] == [
        "units[0].driver.converter.port",
        "units[0].driver.battery.kind",
        "units[0].driver.rules.lost_s",
    ]
    assert len(problems) == 4
