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

import sys
from collections.abc import Sequence

from apis_ros.program import run_node

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; 0 then, 2 if the configuration is wrong."""
    return run_node("driver", "apis_driver.process", arguments)


if __name__ == "__main__":
    sys.exit(main())
