"""The program of the dashboard, as `ros2 run` knows it."""

from __future__ import annotations

import sys

from apis_ros.program import run_program

__all__ = ["main"]


def main() -> int:
    """Run the dashboard; give the exit code."""
    return run_program("dashboard", "apis_dashboard.process", "run")


if __name__ == "__main__":
    sys.exit(main())
