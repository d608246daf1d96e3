"""Entry point of the dashboard. What it does stands in :mod:`apis_viz.dashboard.process`."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the dashboard; give the exit code."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: sys.exit(0))
    # Only now: loading the web server and ROS takes a second or two, in which a signal must not
    # end in a traceback.
    from apis_signing.ros_environment import is_ros_usable

    if not is_ros_usable("dashboard"):
        return 2
    from apis_viz.dashboard.process import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
