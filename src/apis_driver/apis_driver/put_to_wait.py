"""Tells one converter WAIT and sees that it gets there; for one whose driver is gone."""

from __future__ import annotations

from apis_driver.device import DcdcDevice
from apis_driver.errors import DeviceError
from apis_driver.governor import Governor
from apis_driver.rules import GovernorSettings, Times

__all__ = ["put_to_wait"]

_TRY_S = 2.0
_PAUSE_S = 0.1
_OPEN_S = 1.0  # on top of what the converter may take


def put_to_wait(dcdc: DcdcDevice, rules: GovernorSettings, times: Times | None = None) -> str:
    """Open a converter, with WAIT as the first word, until it is seen in WAIT.

    Args:
        dcdc: Not yet open; closed when this returns.
        rules: Say how long the converter may take.
        times: Its clocks.

    Returns:
        Why it is not in WAIT; empty = it is.
    """
    times = times or Times()
    ends_s = times.now_s() + _OPEN_S + rules.wait_limit_s
    governor = Governor(dcdc, rules, times=times)
    is_open, why = False, "it has not answered"
    try:
        while True:
            try:
                if not is_open:
                    governor.start(times.now_s() + _TRY_S)
                    is_open = True
                else:
                    governor.poll()
                    is_open = not governor.lost
                if governor.is_off:
                    return ""
                why = governor.lost or f"it is in {governor.reading().mode.name}"
            except DeviceError as failure:
                why = str(failure)
            if times.now_s() >= ends_s:
                return why
            times.pause(_PAUSE_S)
    finally:
        governor.close()
