"""Entry point of the marker node."""

from __future__ import annotations

import sys

from apis_ros.window import run_window
from apis_viz.markers.node import build

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Draw until a signal comes; give the exit code."""
    return run_window("markers", (), build, arguments)


if __name__ == "__main__":
    sys.exit(main())
