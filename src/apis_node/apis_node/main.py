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

import sys
from collections.abc import Sequence

from apis_ros.program import run_node

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; 0 then, 1 if a converter was not seen in WAIT, 2 if the
    configuration is wrong.
    """
    return run_node("unit", "apis_node.process", arguments)


if __name__ == "__main__":
    sys.exit(main())
