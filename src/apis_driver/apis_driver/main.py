"""The process: the driver of one unit's converter and battery.

    driver --cluster village --unit E001 --ros-args --params-file params.yaml

With ``--put-to-wait`` it only tells the converter WAIT and sees that it gets there: exit code 0,
or 1 with the reason.

Its node is ``/apis/<cluster>/<unit>/driver``; its parameters, which are read when it starts (any
other is refused):

    hardware_file    hwConfig of the unit, whose limits hold; needed
    converter.kind   such as eza2500; converter.* are that kind's settings
    battery.kind     such as modbus; battery.* are that kind's settings; absent = no battery
    rules.*          what does not depend on the make (see GovernorSettings)
    http.port        serve the original drivers' interface there; absent or 0 = do not
    http.*           see HttpServerSettings
    autostart        false = somebody else walks the lifecycle up
    speed            simulated seconds per wall second; 1 = real time
    keys             folder of the grid's keys; empty = nobody signs
    use_sim_time     true = energy flows by /clock
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; 0 then, 2 if the configuration is wrong."""
    signals: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        signals.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    # It takes a second to import; a signal in that time is to end the process, not to break it.
    from apis_ros.ros_environment import is_ros_usable

    if not is_ros_usable("driver"):
        return 2
    from apis_driver.process import run

    return run(list(sys.argv[1:] if arguments is None else arguments), signals)


if __name__ == "__main__":
    sys.exit(main())
