"""A small plant whose converters stand on pseudo-terminals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apis_driver.devices.eza2500 import Eza2500, Eza2500Settings
from apis_emulator.physics.converter import Converter
from apis_emulator.physics.plant import Installation, Plant
from apis_emulator.servers.plant_lock import PlantLock
from apis_emulator.servers.serving import DeviceServers
from apis_site.grid import Bus, ConverterLoss, UnitEntry


class Site:
    """Two units: E001 on pseudo-terminals; E002 is moved by the tests themselves."""

    def __init__(self, folder: Path, **device: object) -> None:
        self.lock = PlantLock()
        self.plant = Plant({"E001": _installation(), "E002": _installation()}, Bus())
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


def _installation() -> Installation:
    return Installation(
        capacity_wh=4800.0,
        stored_wh=2880.0,
        converter=Converter(loss=ConverterLoss(), bus=Bus()),
        solar=500.0,
        load=300.0,
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
