"""What ends a command: SIGINT and SIGTERM, whoever started it."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

__all__ = ["ENDED_BY_SIGTERM", "obey_signals"]

ENDED_BY_SIGTERM = 128 + signal.SIGTERM


def obey_signals() -> None:
    """Have SIGINT raise KeyboardInterrupt, and SIGTERM SystemExit, in the main thread.

    A shell script starts what it puts in the background with SIGINT ignored, and Python leaves
    that as it is.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _end)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(ENDED_BY_SIGTERM)
