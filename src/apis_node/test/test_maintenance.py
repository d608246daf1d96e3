"""What an operator may ask of a unit's program, and what it says to nonsense."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("apis_interfaces.srv")

from rclpy.logging import LoggingSeverity, get_logger

from apis_core.model.types import OperationMode
from apis_interfaces.srv import UnitMaintenance
from apis_node.maintenance import maintain

pytestmark = pytest.mark.ros

LOG = get_logger("test_maintenance")


def ask(mode: OperationMode = OperationMode.RUN, **request: object) -> tuple[int, str, bool]:
    ended: list[bool] = []
    response = maintain(
        UnitMaintenance.Request(**request),
        UnitMaintenance.Response(),
        mode,
        LOG,
        lambda: ended.append(True),
    )
    return response.error_code, response.error_msg, bool(ended)


def test_a_unit_shuts_down_in_manual_only() -> None:
    operation = UnitMaintenance.Request.OPERATION_SHUT_DOWN
    for mode in OperationMode:
        code, message, has_ended = ask(mode, operation=operation)
        assert has_ended == (mode is OperationMode.MANUAL)
        assert (code == 0) == has_ended
        assert has_ended or mode.name in message


def test_the_log_level_is_set_or_the_choice_is_named() -> None:
    operation = UnitMaintenance.Request.OPERATION_LOG_LEVEL
    assert ask(operation=operation, log_level="Debug") == (0, "", False)
    assert LOG.get_effective_level() is LoggingSeverity.DEBUG
    code, message, _ = ask(operation=operation, log_level="loud")
    assert code == UnitMaintenance.Response.ERROR_INVALID
    assert message == "log_level is 'loud', it must be one of debug, info, warn, error, fatal"


def test_no_other_operation_is_known() -> None:
    assert ask(operation=9)[:2] == (501, "operation is 9, it must be 1 or 2")
