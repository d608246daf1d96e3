"""The real-time loop beside a busy Python thread and a busy second process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np

from apis_control import ControlLoop, SimulatedBus
from bench.report import Report

SECONDS, PYTHON_SECONDS = 10.0, 4.0
RATE_HZ = 1000.0
BUSY = "while True: pass"


def python_jitter_us() -> np.ndarray:
    """How late the turns of the same loop are, written in Python. [us]"""
    period_s, late_s = 1.0 / RATE_HZ, []
    due_s = time.monotonic() + period_s
    end_s = due_s + PYTHON_SECONDS
    while due_s < end_s:
        time.sleep(max(due_s - time.monotonic(), 0.0))
        now_s = time.monotonic()
        late_s.append(now_s - due_s)
        due_s = max(due_s + period_s, now_s)
    return 1e6 * np.array(late_s)


def measure(report: Report) -> None:
    """Lateness of ticks at 1 kHz. The machine is the user's: figures, and no bar."""
    is_over = threading.Event()

    def spin() -> None:
        while not is_over.is_set():
            sum(range(1000))

    bus = SimulatedBus(1, start_v=350.0, capacitance_f=1.0)
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    thread = threading.Thread(target=spin)
    try:
        thread.start()
        with ControlLoop(bus.stage(0), rate_hz=RATE_HZ, priority=50) as loop:
            loop.set_mode(3, hold_s=10.0 * SECONDS, current_a=1.0)
            loop.reset_timing()
            is_over.wait(SECONDS)
            timing = loop.timing()
        in_python_us = python_jitter_us()
    finally:
        is_over.set()
        thread.join()
        process.kill()
        process.wait()
    how = (
        "SCHED_FIFO"
        if timing.is_realtime
        else "ordinary scheduling (no permission for SCHED_FIFO)"
    )
    report.tell("loop.jitter_p50_us", timing.jitter_p50_us, "us", how)
    report.tell(
        "loop.jitter_p99_us", timing.jitter_p99_us, "us", "beside a busy thread and process"
    )
    report.tell("loop.jitter_p999_us", timing.jitter_p999_us, "us")
    slow_us = float(np.percentile(in_python_us, 99.0))
    report.tell("loop.python_jitter_p99_us", slow_us, "us", "a loop in Python in its place")
    ratio = timing.misses / max(timing.ticks + timing.misses, 1)
    report.tell("loop.miss_ratio", ratio, "", f"of {timing.ticks + timing.misses} ticks")
