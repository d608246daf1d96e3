"""A small plant whose converters stand on pseudo-terminals."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apis_core.grid import Bus, ConverterLoss, UnitEntry
from apis_driver.devices.eza2500 import Eza2500, Eza2500Settings
from apis_emulator.physics.battery import Battery
from apis_emulator.physics.converter import Converter
from apis_emulator.physics.house import House
from apis_emulator.physics.plant import Plant, Unit
from apis_emulator.servers.serving import DeviceServers


class Site:
    """Two units: E001 on pseudo-terminals; E002 is moved by the tests themselves."""

    def __init__(self, folder: Path, **device: object) -> None:
        self.lock = threading.RLock()
        self.plant = Plant({"E001": _unit(), "E002": _unit()}, Bus())
        entry = UnitEntry(
            id="E001", hardware="-", scenario="-", device={"kind": "serial", **device}
        )
        self.servers = DeviceServers(self.plant, self.lock, [entry], folder)
        self.devices = self.servers.by_unit["E001"]
        self.port = folder / "e001-dcdc"
        self.battery_port = folder / "e001-battery"

    def eza(self, **settings: object) -> Eza2500:
        return Eza2500(Eza2500Settings(port=str(self.port), **settings))

    def step(self, seconds: float) -> None:
        with self.lock:
            self.plant.step(seconds)


def _unit() -> Unit:
    return Unit(
        house=House(Battery(4800.0, 2880.0)),
        converter=Converter(loss=ConverterLoss(), current_slew_a_per_s=1.0),
        profile=lambda _time_s: (500.0, 300.0),
    )


@pytest.fixture
def make_site(tmp_path) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def make(**device: object) -> Site:
        sites.append(Site(tmp_path / f"tty{len(sites)}", **device))
        return sites[-1]

    yield make
    for site in sites:
        site.servers.close()
