"""The driver of the EZA2500: its codec, and a status over a line of 19,200 baud."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path

from apis_driver.devices.eza2500 import Eza2500, Eza2500Settings
from apis_driver.eza2500_protocol import ReplyReader, encode_reply, encode_request, table
from apis_emulator.physics.converter import Converter
from apis_emulator.physics.plant import Installation, Plant
from apis_emulator.servers.serving import DeviceServers
from apis_site.grid import Bus, ConverterLoss, UnitEntry
from bench.report import Report

BAUD, BITS_A_BYTE = 19_200, 10
STATUS = ("1-1", "2-1", "10-1")  # the questions of a status
FRAMES, SETTLING, READINGS = 20_000, 60, 60


def measure(report: Report) -> None:
    """Frames a second of CPU time; round trips against the bytes on the wire."""
    report.tell("driver.frames_decoded", _frames_per_s(), "1/s", "10-1 found, checked, in V and A")
    ratio, median_s, least_s = _round_trip()
    note = f"{1e3 * median_s:.1f} ms; the bytes alone take {1e3 * least_s:.1f} ms"
    report.at_most("driver.status_over_wire", ratio, "x", 1.3, note)


def _frames_per_s() -> float:
    block = table()["10-1"].reply
    frame = encode_reply("10-1", {field.name: 1000 for field in block.fields})
    begun_s = time.process_time()
    for _ in range(FRAMES):
        raw = ReplyReader("10-1").feed(frame)
        assert raw is not None
        block.values(raw)
    return FRAMES / (time.process_time() - begun_s)


def _round_trip() -> tuple[float, float, float]:
    """A status over a pseudo-terminal at the pace of the line: ratio, median [s], minimum [s]."""
    count = sum(len(encode_request(name)) + 7 + table()[name].reply.size for name in STATUS)
    least_s = count * BITS_A_BYTE / BAUD
    unit = Installation(
        capacity_wh=4800.0,
        stored_wh=2880.0,
        converter=Converter(loss=ConverterLoss(), bus=Bus()),
    )
    entry = UnitEntry(id="E001", hardware="-", scenario="-", device={"kind": "serial"})
    with tempfile.TemporaryDirectory() as folder:
        plant = Plant({"E001": unit}, Bus())
        servers = DeviceServers(plant, threading.RLock(), [entry], Path(folder))
        device = Eza2500(Eza2500Settings(port=f"{folder}/e001-dcdc", baud=BAUD))
        try:
            device.open(time.monotonic() + 5.0)
            for _ in range(SETTLING):  # until the line is trusted, every reading is taken twice
                device.read_status(time.monotonic() + 5.0)
            times_s = []
            for _ in range(READINGS):
                begun_s = time.perf_counter()
                device.read_status(time.monotonic() + 5.0)
                times_s.append(time.perf_counter() - begun_s)
        finally:
            device.close()
            servers.close()
    median_s = statistics.median(times_s)
    return median_s / least_s, median_s, least_s
