"""The process: one unit node, or several of one cluster (``composition: shared``).

    unit --cluster village --units E001 --ros-args --params-file params.yaml

Each unit's node is ``/apis/<cluster>/<unit>/unit``; its parameters:

    unit_id          such as E001
    cluster          such as village
    policy_file      policy of the cluster (the original's JSON); this and the next two are read
                     again when they change
    hardware_file    hwConfig of the unit
    scenario_file    scenario of the unit
    journal_file     SQLite file; empty = in the user's state folder
    battery          name of a battery that other units of this host use, too; empty = none
    timezone         IANA name; the scenario's times of day are local
    keys             key folder of the grid; empty = an open grid, where every word counts
    speed            simulated seconds per wall second; 1 = real time
    bus_down_s       how long a voltage reference may take to WAIT after the order [s, simulated]
    use_sim_time     true = deadlines run on /clock
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; 0 then, 1 if a converter was not seen in WAIT, 2 if the
    configuration is wrong.
    """
    stop_asked_s: list[float] = []

    def note(_number: int, _frame: object) -> None:
        stop_asked_s.append(time.monotonic())

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    # It takes a second to import; a signal in that time is to end the process, not to break it.
    from apis_ros.ros_environment import is_ros_usable

    if not is_ros_usable("unit"):
        return 2
    from apis_node.process import run

    return run(list(sys.argv[1:] if arguments is None else arguments), stop_asked_s)


if __name__ == "__main__":
    sys.exit(main())
