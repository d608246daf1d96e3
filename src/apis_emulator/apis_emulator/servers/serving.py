"""Starts the devices that a grid description asks for, and what they need to be tampered with."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from apis_core.model.types import UnitId
from apis_emulator.physics.plant import Plant
from apis_emulator.servers.eza import SimulatedEza
from apis_emulator.servers.http_device import HttpDevice
from apis_emulator.servers.line import SerialLine
from apis_emulator.servers.plant_lock import PlantLock
from apis_emulator.servers.serial_devices import EzaTalker, ModbusBatteryTalker, SharingPermit
from apis_site.grid import UnitEntry

__all__ = ["DeviceServers", "UnitDevices"]


@dataclass
class UnitDevices:
    """The devices of one unit that does not use the emulator's own interface.

    Attributes:
        eza: Its converter.
        permit: What its battery allows.
        dcdc_line: The converter's line; None for HTTP.
        battery_line: The battery's line; None for HTTP.
        http: None for serial lines.
    """

    eza: SimulatedEza
    permit: SharingPermit
    dcdc_line: SerialLine | None = None
    battery_line: SerialLine | None = None
    http: HttpDevice | None = None


class DeviceServers:
    """All of them.

    Args:
        plant: What they stand on.
        lock: Of the plant; its owner takes it round every use of the plant.
        units: Those of the grid; the native ones are passed over.
        tty_folder: Gets ``e001-dcdc`` and ``e001-battery``, links to the pseudo-terminals.
    """

    def __init__(
        self,
        plant: Plant,
        lock: PlantLock,
        units: Iterable[UnitEntry],
        tty_folder: Path,
    ) -> None:
        self.by_unit: dict[UnitId, UnitDevices] = {}
        self.lock = lock
        for entry in units:
            if entry.device.kind != "native":
                self.by_unit[entry.id] = self._started(plant, entry, tty_folder)

    def watch(self, now_s: float) -> None:
        """The converters' own watchdogs; call it many times a second."""
        with self.lock:
            for devices in self.by_unit.values():
                devices.eza.watch(now_s)

    def close(self) -> None:
        """Unplug everything."""
        for devices in self.by_unit.values():
            for server in (devices.dcdc_line, devices.battery_line, devices.http):
                if server is not None:
                    server.close()

    def _started(self, plant: Plant, entry: UnitEntry, tty_folder: Path) -> UnitDevices:
        device, unit = entry.device, plant.units[entry.id]
        eza = SimulatedEza(plant, entry.id, device.silence_limit_s)
        devices = UnitDevices(eza, SharingPermit())
        if device.kind == "http":
            devices.http = HttpDevice(
                eza, unit, devices.permit, self.lock, port=device.http_port or 0
            )
            return devices
        name, seed = entry.id.lower(), zlib.crc32(entry.id.encode())
        devices.dcdc_line = SerialLine(
            EzaTalker(eza, self.lock),
            tty_folder / f"{name}-dcdc",
            baud=device.dcdc_baud,
            seed=seed,
        )
        devices.battery_line = SerialLine(
            ModbusBatteryTalker(unit, devices.permit, self.lock),
            tty_folder / f"{name}-battery",
            baud=device.battery_baud,
            seed=seed + 1,
        )
        for line in (devices.dcdc_line, devices.battery_line):
            line.faults.flips_per_bit = device.flips_per_bit
            line.plug_in()
        return devices
