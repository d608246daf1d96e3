"""The program of this package, as `ros2 run` knows it."""

from __future__ import annotations

from apis_ros.program import run_program

__all__ = ["compat_http"]


def compat_http() -> int:
    """Serve the original's HTTP interfaces; give the exit code."""
    return run_program("compat_http", "apis_compat.clients.main")
