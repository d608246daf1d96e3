"""What an operator may ask of a unit's program itself: to end, and how much to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.logging import LoggingSeverity

from apis_core.model.types import OperationMode
from apis_interfaces.srv import UnitMaintenance

__all__ = ["maintain"]

_LEVELS = {
    name: LoggingSeverity[name.upper()] for name in ("debug", "info", "warn", "error", "fatal")
}


def maintain(
    request: Any, response: Any, mode: OperationMode, log: Any, shut_down: Callable[[], None]
) -> Any:
    """Answer a request of ``UnitMaintenance``.

    Args:
        request: As it came.
        response: To fill in.
        mode: The unit's effective mode.
        log: The unit's logger.
        shut_down: Begins to end the program.
    """
    who = request.issuer or "somebody"
    if request.operation == UnitMaintenance.Request.OPERATION_SHUT_DOWN:
        if mode is not OperationMode.MANUAL:
            response.error_code = response.ERROR_NOT_MANUAL
            response.error_msg = f"the mode is {mode.name}; a unit shuts down in MANUAL only"
            return response
        log.info(f"{who} shuts it down")
        shut_down()
    elif request.operation == UnitMaintenance.Request.OPERATION_LOG_LEVEL:
        level = _LEVELS.get(request.log_level.lower())
        if level is None:
            response.error_code = response.ERROR_INVALID
            response.error_msg = (
                f"log_level is {request.log_level!r}, it must be one of {', '.join(_LEVELS)}"
            )
            return response
        log.set_level(level)
        log.info(f"{who} sets the log level to {request.log_level.lower()}")
    else:
        response.error_code = response.ERROR_INVALID
        response.error_msg = f"operation is {request.operation}, it must be 1 or 2"
    return response
