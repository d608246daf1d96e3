"""The programs of this package, as `ros2 run` knows them."""

from __future__ import annotations

from apis_ros.program import run_program

__all__ = [
    "grid_window",
    "markers",
    "metrics",
    "player",
    "recorder",
]


def grid_window() -> int:
    """Show the grid in a window of the desktop; give the exit code."""
    return run_program("grid_window", "apis_viz.rqt.main")


def markers() -> int:
    """Draw the grid for RViz; give the exit code."""
    return run_program("markers", "apis_viz.markers.main")


def metrics() -> int:
    """Serve metrics for Prometheus; give the exit code."""
    return run_program("metrics", "apis_viz.metrics.main")


def player() -> int:
    """Play a recorded day; give the exit code."""
    return run_program("player", "apis_viz.recorder.play")


def recorder() -> int:
    """Record a grid; give the exit code."""
    return run_program("recorder", "apis_viz.recorder.record")
