from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from pymodbus.exceptions import ModbusIOException

from apis_core.errors import ConfigError
from apis_driver.device import BatteryDevice, SharingPermit
from apis_driver.devices.modbus_battery import ModbusBattery, ModbusBatterySettings
from apis_driver.errors import (
    BadFrame,
    DeviceRefused,
    DeviceTimeout,
    ImplausibleReply,
    PortError,
)

MAP = """
name: another battery
byte_order: big
fields:
  rsoc: {type: u16, unit: percent, min: 0, max: 100}
  permit: {type: u16, codes: {0: none, 1: charge, 2: discharge, 3: both}}
  temp: {type: s16, scale: 0.1, unit: degC}
blocks:
  state: {code: 100, reply: [rsoc, permit]}
  cells: {code: 200, reply: [temp]}
"""


class FakeClient:
    def __init__(self, **registers: int) -> None:
        self.registers = {0x1D: 700, 0x1E: 0}
        self.connected = True
        self.can_connect = True
        self.script: list[object] = []
        self.asked: list[tuple[str, int, int, int]] = []

    def connect(self) -> bool:
        return self.can_connect

    def close(self) -> None:
        pass

    def read_input_registers(self, address, *, count, device_id):
        return self._read("input", address, count, device_id)

    def read_holding_registers(self, address, *, count, device_id):
        return self._read("holding", address, count, device_id)

    def _read(self, kind, address, count, unit):
        self.asked.append((kind, address, count, unit))
        if self.script:
            said = self.script.pop(0)
            if isinstance(said, Exception):
                raise said
            return said
        values = [self.registers[address + i] for i in range(count)]
        return SimpleNamespace(isError=lambda: False, registers=values)


def refusal(code: int):
    return SimpleNamespace(isError=lambda: True, exception_code=code)


def soon() -> float:
    return time.monotonic() + 1.0


def make(client=None, **settings):
    client = client or FakeClient()
    return ModbusBattery(ModbusBatterySettings(port="/dev/fake", **settings), client), client


def test_the_original_battery_is_one_request():
    battery, client = make()
    assert isinstance(battery, BatteryDevice)
    battery.open(soon())
    assert client.asked == [("input", 0x1D, 2, 1)]
    status = battery.read(soon())
    assert (status.soc_ratio, status.permit) == (0.7, SharingPermit.BOTH)
    assert (status.voltage_v, status.current_a) == (None, None)


@pytest.mark.parametrize(
    ("register", "permit"),
    [
        (0, SharingPermit.BOTH),
        (1, SharingPermit.NONE),
        (2, SharingPermit.BOTH),
        (3, SharingPermit.NONE),
    ],
)
def test_its_flag_is_inverted_and_the_reserved_bits_are_ignored(register, permit):
    battery, client = make()
    client.registers[0x1E] = register
    assert battery.read(soon()).permit is permit


def test_another_map_is_read_from_a_file(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text(MAP)
    battery, client = make(registers=str(path), function="holding", unit=7)
    client.registers = {100: 55, 101: 2, 200: 0xFF9C}
    status = battery.read(soon())
    assert client.asked == [("holding", 100, 2, 7), ("holding", 200, 1, 7)]
    assert (status.soc_ratio, status.permit) == (0.55, SharingPermit.DISCHARGE_ONLY)
    assert status.temp_degc == -10.0
    client.registers[101] = 9
    with pytest.raises(ImplausibleReply):
        battery.read(soon())


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("rsoc", "soc", "fields.soc: unknown; a battery has rsoc"),
        ("u16, unit", "u8, unit", "whole registers"),
        ("[temp]", "[warmth]", "warmth"),
    ],
)
def test_a_wrong_map_is_told(tmp_path, wrong, right, said):
    path = tmp_path / "map.yaml"
    path.write_text(MAP.replace(wrong, right))
    with pytest.raises(ConfigError) as raised:
        make(registers=str(path))
    assert said in str(raised.value)


def test_a_state_of_charge_of_6553_percent_is_not_believed():
    battery, client = make()
    client.registers[0x1D] = 65535
    with pytest.raises(
        ImplausibleReply, match=r"rsoc is 6553\.5 percent, it must be from 0 to 100"
    ):
        battery.read(soon())


@pytest.mark.parametrize(
    ("script", "kind", "attempts"),
    [
        ([ModbusIOException("x")] * 3, DeviceTimeout, 3),
        ([refusal(2)], DeviceRefused, 1),
        ([SimpleNamespace(isError=lambda: False, registers=[1])] * 3, BadFrame, 3),
        ([OSError("gone")], PortError, 1),
    ],
)
def test_failures_are_retried_by_their_kind(script, kind, attempts):
    battery, client = make(retries=2)
    client.script = list(script)
    with pytest.raises(kind, match="/dev/fake"):
        battery.read(soon())
    assert len(client.asked) == attempts


def test_a_busy_battery_is_asked_again():
    battery, client = make()
    client.script = [refusal(6), ModbusIOException("x")]
    assert battery.read(soon()).soc_ratio == 0.7


def test_a_port_that_does_not_open_is_told():
    battery, client = make()
    client.can_connect = False
    with pytest.raises(PortError, match="cannot be opened"):
        battery.open(soon())
