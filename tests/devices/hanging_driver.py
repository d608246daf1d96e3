"""A driver that switches a converter on, hangs, and wakes up late.

Usage: python hanging_driver.py PORT HOLD_S HANG_S. What it says: "on", and after the hang whether
the dead man has fired and what became of its next order.
"""

from __future__ import annotations

import ctypes
import sys
import time

from apis_core.model.types import ConverterMode
from apis_driver.devices.eza2500 import Eza2500, Eza2500Settings
from apis_driver.errors import DeadManFired


def main(port: str, hold_s: float, hang_s: float) -> None:
    """Hang with the GIL held, as an extension that loops: no thread of Python runs meanwhile."""
    eza = Eza2500(Eza2500Settings(port=port))
    eza.open(time.monotonic() + 5.0)
    guard = eza.dead_man
    assert guard is not None
    eza.set_current(1.0, time.monotonic() + 5.0)
    guard.renew(hold_s)
    eza.set_mode(ConverterMode.CHARGE, time.monotonic() + 5.0)
    guard.renew(hold_s)
    print("on", flush=True)
    ctypes.PyDLL(None).usleep(int(hang_s * 1e6))
    print(guard.fired, guard.renew(hold_s), flush=True)
    try:
        eza.set_mode(ConverterMode.CHARGE, time.monotonic() + 5.0)
    except DeadManFired:
        print("refused", flush=True)
    guard.disarm()
    print(eza.read_status(time.monotonic() + 5.0).mode.name, flush=True)
    eza.close()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
