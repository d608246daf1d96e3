"""A unit's services on real nodes: bad requests, and deals by hand, followed and cancelled."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator

import pytest
import rclpy
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from apis_interfaces.action import Interchange
from apis_interfaces.msg import Deal
from apis_interfaces.srv import SubmitDeal, UnitControl

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(240)]


class Operator:
    """A node that sends goals to E003 and waits for what becomes of them."""

    def __init__(self, domain: int) -> None:
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._node = Node("operator", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        name = "/apis/village/e003/interchange"
        self.client = ActionClient(self._node, Interchange, name)
        self.feedback: list[Deal] = []

    def wait_for(self, condition: Callable[[], bool]) -> None:
        while not condition():  # the test's own time limit ends it
            self._executor.spin_once(timeout_sec=0.1)

    def ask(self, **changes: object) -> object:
        """Send a goal; its handle once it was accepted."""
        wanted = {"peer_unit_id": "E002", "type": Interchange.Goal.TYPE_DISCHARGE}
        numbers = {"energy_wh": 20.0, "current_a": math.nan, "price_point_per_wh": math.nan}
        self.wait_for(self.client.server_is_ready)
        goal = Interchange.Goal(**{**wanted, **numbers, **changes})
        sent = self.client.send_goal_async(
            goal, feedback_callback=lambda news: self.feedback.append(news.feedback.deal)
        )
        self.wait_for(sent.done)
        return sent.result()

    def result(self, handle: object) -> tuple[int, Interchange.Result]:
        """How a goal ended."""
        ended = handle.get_result_async()
        self.wait_for(ended.done)
        return ended.result().status, ended.result().result

    def call(self, type_: type, name: str, **fields: object) -> object:
        """The answer of a service of E003."""
        client = self._node.create_client(type_, f"/apis/village/e003/{name}")
        self.wait_for(client.service_is_ready)
        answer = client.call_async(type_.Request(**fields))
        self.wait_for(answer.done)
        return answer.result()

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)


@pytest.fixture
def operator(apisctl, domains) -> Iterator[Operator]:
    apisctl.start("run", "--no-web", "--speed", "60").read_until("is the grid master")
    done = apisctl("mode", "soft-stop")  # so that nobody else deals
    assert done.returncode == 0, done.stderr
    operator = Operator(domains[0])
    yield operator
    operator.close()


def test_bad_requests_are_refused_and_deals_by_hand_run(operator, apisctl):
    malformed = operator.call(UnitControl, "control", operation=99)
    assert malformed.error_code == UnitControl.Response.ERROR_OUT_OF_RANGE
    assert malformed.error_msg.startswith("operation is 99; it must be one of 1 ACQUIRE")
    malformed = operator.call(SubmitDeal, "submit_deal", deal=Deal(deal_id="d", state=99))
    assert malformed.error_code == SubmitDeal.Response.ERROR_INVALID

    status, result = operator.result(operator.ask(peer_unit_id="E009"))
    assert (status, result.error_code) == (
        GoalStatus.STATUS_ABORTED,
        Interchange.Result.ERROR_INVALID,
    )
    assert "E001, E002, E004" in result.error_msg

    # a deal from before the soft stop may hold the slots, and a lease may just have run out
    passing = ("slots are taken", "there is no grid master")
    status, result = operator.result(operator.ask())
    while any(words in result.error_msg for words in passing):
        status, result = operator.result(operator.ask())
    assert (status, result.error_msg) == (GoalStatus.STATUS_SUCCEEDED, "")
    assert result.deal.state == Deal.STATE_COMPLETED
    assert result.deal.received_wh == pytest.approx(20.0, rel=0.01)
    moved = [deal.moved_wh for deal in operator.feedback]
    assert moved == sorted(moved)
    assert len(moved) > 5

    handle = operator.ask(energy_wh=5000.0)
    operator.wait_for(lambda: operator.feedback[-1].state == Deal.STATE_RUNNING)
    cancelled = handle.cancel_goal_async()
    operator.wait_for(cancelled.done)
    status, result = operator.result(handle)
    assert (status, result.error_code) == (
        GoalStatus.STATUS_CANCELED,
        Interchange.Result.ERROR_CANCELLED,
    )
    assert "the operator ends the deal" in result.error_msg

    asked = ("deal", "E003", "E002", "--energy-wh", "5", "--json")
    by_command = apisctl(*asked)
    while "slots are taken" in by_command.stdout:  # by the deal that is just being ended
        by_command = apisctl(*asked)
    assert by_command.returncode == 0, by_command.stdout
    assert json.loads(by_command.stdout)["deal"]["state"] == "completed"
