"""Each effect of an agent means one thing; what cannot be remembered is not promised."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

pytest.importorskip("apis_interfaces.msg", reason="needs the ROS environment")

from apis_core import events
from apis_core.model import messages
from apis_core.model.origin import Asker, Origin, Requester
from apis_core.model.types import (
    NOBODY,
    ControlError,
    ControlOperation,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    OperationMode,
)
from apis_node.effect_runner import EffectRunner
from apis_node.journal_writer import JournalWriter
from apis_site.unit_journal import JournalError

ORIGIN = Origin(Asker.PEER, 1)
NOW_NS = 7
ACCEPT = messages.InterchangeAccept(request_id="r", unit_id="E001", type=None)
CONTROL = messages.ControlRequest(
    operation=ControlOperation.ACQUIRE, grid_master_id="E001", term=1, deal_id="d"
)
FAULT = messages.Fault(
    unit_id="E001",
    reporter_id="E001",
    category=FaultCategory.HARDWARE,
    extent=FaultExtent.LOCAL,
    level=FaultLevel.WARN,
    code="code",
    message="why",
)
STATUS = messages.UnitStatus(
    unit_id="E001",
    instance_id="i",
    sequence=1,
    global_mode=OperationMode.RUN,
    global_mode_version=1,
    local_mode=OperationMode.UNSET,
    effective_mode=OperationMode.RUN,
    capacity_wh=1.0,
)
GRANT = messages.LeaseGrant(
    unit_id="E001", grid_master_id="E002", term=1, sequence=1, granted=True, known_term=1
)


@pytest.fixture
def unit():
    """An effect runner of E001 and what it acts on."""
    parts = SimpleNamespace(
        queue=deque(),
        endpoints=Mock(),
        calls=Mock(),
        requests=Mock(),
        deals=Mock(),
        battery=Mock(),
        writer=Mock(write=lambda effects: effects),
        log=Mock(),
    )
    parts.runner = EffectRunner("E001", *vars(parts).values())
    parts.do = lambda *effects: parts.runner.carry_out(list(effects), NOW_NS)
    return parts


def test_what_is_said_goes_to_all_or_to_one(unit):
    unit.do(events.Broadcast(STATUS), events.PublishFault(FAULT), events.Send("E002", ACCEPT))
    assert [call.args for call in unit.endpoints.say.call_args_list] == [
        (STATUS, NOW_NS),
        (FAULT, NOW_NS),
    ]
    unit.endpoints.say_to.assert_called_once_with("E002", ACCEPT, NOW_NS)
    assert unit.runner.status is STATUS
    unit.log.warning.assert_called_once_with("fault code: why")


def test_others_are_called_and_the_unit_itself_is_only_asked(unit):
    unit.do(events.Call(ORIGIN, "E002", CONTROL))
    client = unit.endpoints.peer.return_value
    unit.calls.call.assert_called_once_with(client, ORIGIN, "E002", CONTROL, NOW_NS)
    unit.endpoints.peer.assert_called_once_with("E002", messages.ControlRequest)
    assert not unit.queue
    unit.do(events.Call(ORIGIN, "E001", CONTROL))
    assert list(unit.queue) == [events.RequestReceived(Requester("E001", ORIGIN), CONTROL)]
    unit.calls.call.assert_called_once()


def test_an_answer_goes_to_whoever_asked(unit):
    reply = messages.ControlReply()
    unit.do(events.Answer(Requester("E001", ORIGIN), reply))
    assert list(unit.queue) == [events.ReplyReceived(ORIGIN, reply)]
    peer = Requester(NOBODY, ORIGIN)
    unit.do(events.Answer(peer, reply))
    unit.requests.answer.assert_called_once_with(peer, reply, NOW_NS)


def test_the_process_may_end_when_the_agent_allows_it(unit):
    assert not unit.runner.may_exit
    unit.do(events.AllowExit())
    assert unit.runner.may_exit


class Full:
    """A journal on a disk that is full, until it is not."""

    is_full = True

    def write(self, *_):
        if self.is_full:
            raise JournalError("no space left")

    def try_out(self):
        self.write()


def test_what_cannot_be_remembered_is_not_promised():
    journal, node, reported = Full(), Mock(), []
    writer = JournalWriter(journal, node, reported.append)
    requester = Requester(NOBODY, ORIGIN)
    wanted = [
        events.Record(Mock()),
        events.Broadcast(GRANT),
        events.Broadcast(STATUS),
        events.Answer(requester, messages.ControlReply()),
    ]

    kept = writer.write(wanted)

    assert kept[0] == events.Broadcast(STATUS)
    assert (kept[1].reply.error, len(kept)) == (ControlError.NOT_READY, 2)
    assert reported == [events.JournalFailed("no space left")]
    assert writer.try_again()
    assert len(reported) == 2
    node.get_logger().error.assert_called_once()  # people are told once
    journal.is_full = False
    assert not writer.try_again()
    assert writer.error == ""
    assert writer.write(wanted) == wanted
