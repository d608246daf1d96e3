"""A grid with keys, on real nodes: what the wrong one says, or says again, has no effect."""

from __future__ import annotations

import math
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray

from apis_bringup.graph import Graph
from apis_bringup.observer import GridObserver
from apis_bringup.overrides import Overrides
from apis_bringup.session import GridOptions, PreparedGrid, _child_environment, _command, prepare
from apis_interfaces import msg, srv
from apis_ros import qos
from apis_ros.authenticator import MessageAuthenticator
from apis_site.keys import Keys, make_keys, read_keys

pytestmark = [pytest.mark.ros, pytest.mark.timeout(180)]
IDS = {"E001", "E002", "E003"}
HEARD_S = 20.0
NAN = math.nan


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    make_keys(tmp_path / "keys", sorted(IDS), ["operator"])
    return read_keys(tmp_path / "keys")


@pytest.fixture
def prepared(
    monkeypatch: pytest.MonkeyPatch, domains: tuple[int, int], keys: Keys
) -> Iterator[PreparedGrid]:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domains[0]))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    # slow and in one process: a busy machine must not bring about elections
    overrides = Overrides(units=3, speed=5.0, composition="shared", keys=keys.folder)
    with prepare(GridOptions(overrides=overrides, web=False, quiet=True)) as grid:
        yield grid


@pytest.fixture
def processes(prepared: PreparedGrid) -> Iterator[None]:
    prepared.run.log_folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        started = []
        for process in prepared.processes:
            log = open(prepared.run.log_folder / f"{process.name}.txt", "wb")  # noqa: SIM115
            stack.enter_context(log)
            env = dict(_child_environment(prepared.run))
            started.append(subprocess.Popen(_command(process), env=env, stdout=log, stderr=log))
        yield
        for process in started:
            process.send_signal(signal.SIGINT)
        assert [process.wait(30) for process in started] == [0] * len(started)


class Attacker:
    """Somebody on the network, who hears everything and can publish anything."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._node = graph.node
        self.refusals: list[tuple[str, str]] = []  # unit, what its diagnostics say
        self._publishers: dict[str, Any] = {}
        graph.subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.EVENT)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.refusals += [
            (status.hardware_id, status.message)
            for status in message.status
            if status.message.startswith("refused: ")
        ]

    def is_ready_on(self, topic: str, message: Any, count: int) -> bool:
        """Whether so many subscribers have found what will be published there."""
        with self._graph.changed:
            if topic not in self._publishers:
                publisher = self._node.create_publisher(type(message), topic, qos.ORDER)
                self._publishers[topic] = publisher
        publisher = self._publishers[topic]
        return self._graph.wait_for(
            lambda: publisher.get_subscription_count() >= count, within_s=HEARD_S
        )

    def say(self, topic: str, message: Any, why: str) -> None:
        """Publish; every unit must refuse it, and say so."""
        assert self.is_ready_on(topic, message, len(IDS))
        self._must_be_refused(lambda: self._publishers[topic].publish(message), message, why)

    def _must_be_refused(self, act: Callable[[], None], message: Any, why: str) -> None:
        with self._graph.changed:
            self.refusals.clear()
        act()
        name = type(message).__name__

        def who_refused() -> set[str]:
            return {u for u, text in self.refusals if name in text and why in text}

        assert self._graph.wait_for(lambda: who_refused() >= IDS, within_s=HEARD_S), (
            name, why, self.refusals,
        )  # fmt: skip

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """Call a service; its response."""
        with self._graph.changed:
            client = self._node.create_client(kind, name)
        assert self._graph.wait_for(client.service_is_ready, within_s=HEARD_S)
        future = client.call_async(request)
        assert self._graph.wait_for(future.done, within_s=HEARD_S)
        return future.result()


def test_w35_forged_heartbeat_vote_order_and_mode_are_refused(prepared, processes, keys):
    operator, insider = MessageAuthenticator(keys, "operator"), MessageAuthenticator(keys, "E003")
    with Graph(prepared.grid.cluster, operator) as graph:
        graph.every(0.05, lambda: None)  # futures and counts do not notify
        grid, attacker = GridObserver(graph), Attacker(graph)
        space = graph.namespace
        assert grid.wait_for(
            lambda: (
                grid.statuses.keys() >= IDS
                and len({s.grid_master_id for s in grid.statuses.values()} - {""}) == 1
                and all(status.grid_master_id for status in grid.statuses.values())
            ),
            within_s=90.0,
        )
        # what nobody listens to yet is not repeated
        assert grid.wait_for(grid.is_listened_to, within_s=HEARD_S)
        # no deals, so that only the attacker can change anything; one may have begun already
        grid.set_mode(msg.OperationMode.MODE_FORCE_STOP)
        assert grid.wait_for(
            lambda: (
                modes(grid) == {msg.OperationMode.MODE_FORCE_STOP}
                and not any(status.deal_ids for status in grid.statuses.values())
                and not grid.converters_on()
            ),
            within_s=60,
        )
        grid.set_mode(msg.OperationMode.MODE_SOFT_STOP)
        assert grid.wait_for(
            lambda: modes(grid) == {msg.OperationMode.MODE_SOFT_STOP}, within_s=30
        )
        before = {u: (s.grid_master_id, s.term) for u, s in grid.statuses.items()}
        master, term = before["E001"]
        victim = next(u for u in sorted(IDS) if u != master)

        # heartbeat: as the grid master of a far later term, and a status
        claim = msg.GridMasterClaim(
            kind=msg.GridMasterClaim.KIND_MASTER, unit_id="E002", term=term + 50, lease_s=30.0
        )
        attacker.say("grid_master", claim, "it is not signed")
        attacker.say(
            "grid_master", insider.sign(claim, f"{space}/grid_master"), "E003 says it for"
        )
        stolen = deepcopy(grid.statuses["E002"])
        stolen.term += 50
        stolen.signature.stamp_ns += 1_000_000_000
        attacker.say("e002/status", stolen, "the signature is not that of E002")

        # vote: for the grid master, in the name of a unit
        vote = msg.LeaseGrant(
            unit_id="E002", grid_master_id=master, term=term, granted=True, known_term=term + 50
        )
        heard_by_master_alone(attacker, graph, vote, master)

        # order: from the network, by a unit that is not grid master, to the unit and its converter
        order = srv.UnitControl.Request(
            operation=srv.UnitControl.Request.OPERATION_WAIT,
            grid_master_id=master,
            term=term,
            **dict.fromkeys(
                ("grid_voltage_v", "grid_current_a", "energy_limit_wh", "hold_s"), NAN
            ),
        )
        name = f"{victim.lower()}/control"
        answer = attacker.call(srv.UnitControl, name, order)
        assert (answer.error_code, answer.error_msg) == (201, "it is not signed")
        liar = MessageAuthenticator(keys, victim)
        answer = attacker.call(srv.UnitControl, name, liar.sign(order, f"{space}/{name}"))
        assert (answer.error_code, answer.error_msg) == (201, f"{victim} says it for {master}")
        command = srv.ConverterCommand.Request(
            operation=srv.ConverterCommand.Request.OPERATION_MODE,
            mode=msg.ConverterState.MODE_VOLTAGE_REFERENCE,
            grid_voltage_v=350.0,
            grid_current_a=1.0,
            hold_s=60.0,
            term=term + 50,
            energy_limit_wh=NAN,
            next_current_a=NAN,
        )
        answer = attacker.call(
            srv.ConverterCommand, f"{victim.lower()}/converter/command", command
        )
        assert (answer.error_code, answer.error_msg) == (103, "it is not signed")

        # mode: from the network, from a unit, and an operator's own word said again
        mode = msg.OperationMode(mode=msg.OperationMode.MODE_RUN, version=1000, issuer="x")
        topic = f"{space}/operation_mode"
        attacker.say("operation_mode", mode, "it is not signed")
        attacker.say("operation_mode", insider.sign(mode, topic), "only an operator may say this")
        spoken = operator.sign(msg.OperationMode(mode=msg.OperationMode.MODE_MANUAL), topic)
        attacker.is_ready_on("operation_mode", spoken, len(IDS))
        attacker._publishers["operation_mode"].publish(spoken)
        assert grid.wait_for(lambda: modes(grid) == {msg.OperationMode.MODE_MANUAL}, within_s=30)
        grid.set_mode(msg.OperationMode.MODE_SOFT_STOP)
        assert grid.wait_for(
            lambda: modes(grid) == {msg.OperationMode.MODE_SOFT_STOP}, within_s=30
        )
        attacker.say("operation_mode", spoken, "has said it, or something newer, before")
        answer = attacker.call(
            srv.UnitMaintenance,
            f"{victim.lower()}/maintenance",
            srv.UnitMaintenance.Request(operation=1, issuer="operator"),
        )
        assert (answer.error_code, answer.error_msg) == (503, "it is not signed")

        after = {u: (s.grid_master_id, s.term) for u, s in grid.statuses.items()}
        assert after == before
        assert modes(grid) == {msg.OperationMode.MODE_SOFT_STOP}
        assert grid.converters_on() == []


def modes(grid: GridObserver) -> set[int]:
    """Global modes that the units know."""
    return {status.global_mode for status in grid.statuses.values()}


def heard_by_master_alone(
    attacker: Attacker, graph: Graph, vote: msg.LeaseGrant, master: str
) -> None:
    """Units filter votes by whom they are for."""
    assert attacker.is_ready_on("grid_master_grants", vote, 1)
    with graph.changed:
        attacker.refusals.clear()
    attacker._publishers["grid_master_grants"].publish(vote)
    assert graph.wait_for(
        lambda: any(u == master and "LeaseGrant" in text for u, text in attacker.refusals),
        within_s=HEARD_S,
    )


def test_a_unit_does_not_start_with_a_key_that_others_can_read(prepared, keys):
    (keys.folder / "E002.pem").chmod(0o644)
    units = next(process for process in prepared.processes if process.package == "apis_node")
    env = dict(_child_environment(prepared.run))
    done = subprocess.run(_command(units), env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "E002.pem: is open to others (mode 0644), it must be 0600" in done.stderr
