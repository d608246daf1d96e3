"""The process of the emulator."""

from __future__ import annotations

import signal
import sys
from types import FrameType

__all__ = ["main"]


def main(args: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; 0 then, 2 if the configuration is wrong."""
    signals: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        signals.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    # It takes a second to import; a signal in that time is to end the process, not to break it.
    from apis_ros.ros_environment import is_ros_usable

    if not is_ros_usable("emulator"):
        return 2
    from apis_emulator.emulator_node import run

    return run(args, signals)


if __name__ == "__main__":
    sys.exit(main())
