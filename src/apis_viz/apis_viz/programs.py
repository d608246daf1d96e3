"""The programs of this package, as `ros2 run` knows them; the dashboard has a file of its own.

Each looks at its environment before it loads ROS, which would end the process with a text of its
own (see :mod:`apis_signing.ros_environment`).
"""

from __future__ import annotations

import importlib
import signal
import sys

__all__ = [
    "compat_http",
    "grid_window",
    "markers",
    "metrics",
    "player",
    "recorder",
]


def compat_http() -> int:
    """Serve the original's HTTP interfaces; give the exit code."""
    return _run("compat_http", "apis_viz.compat.main")


def grid_window() -> int:
    """Show the grid in a window of the desktop; give the exit code."""
    return _run("grid_window", "apis_viz.rqt.main")


def markers() -> int:
    """Draw the grid for RViz; give the exit code."""
    return _run("markers", "apis_viz.markers.main")


def metrics() -> int:
    """Serve metrics for Prometheus; give the exit code."""
    return _run("metrics", "apis_viz.metrics.main")


def player() -> int:
    """Play a recorded day; give the exit code."""
    return _run("player", "apis_viz.recorder.play")


def recorder() -> int:
    """Record a grid; give the exit code."""
    return _run("recorder", "apis_viz.recorder.record")


def _run(program: str, module: str) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    # Only now: loading takes a second or two, in which a signal must not end in a traceback.
    from apis_signing.ros_environment import is_ros_usable

    if not is_ros_usable(program):
        return 2
    code: int = importlib.import_module(module).main()
    return code
