"""The process of the emulator."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from apis_ros.program import run_node

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; 0 then, 2 if the configuration is wrong."""
    return run_node("emulator", "apis_emulator.process", arguments)


if __name__ == "__main__":
    sys.exit(main())
