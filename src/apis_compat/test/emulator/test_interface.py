"""Requests and answers: what the original answers, and what it should have answered."""

from __future__ import annotations

import http.client
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from apis_compat.emulator.full import FullEmulation
from apis_compat.emulator.inputs import Inputs, constant_after
from apis_compat.emulator.interface import Interface
from apis_compat.emulator.model import Emulation
from apis_compat.emulator.server import Beat, Server


@pytest.fixture(params=[Emulation, FullEmulation])
def emulation(request) -> Emulation:
    inputs = Inputs(constant_after([0.0]), lambda _number: constant_after([0.3]), 5)
    emulation = request.param(inputs, 600)
    for _ in range(4):
        emulation.add_unit()
    emulation.step()
    return emulation


@pytest.fixture
def get(emulation, tmp_path) -> Callable[..., tuple[int, Any]]:
    interface = Interface(emulation, tmp_path / "state" / "last_save.json")

    def get(target: str, method: str = "GET") -> tuple[int, Any]:
        answer = interface.answer(method, target, 0.0)
        return answer.status, json.loads(answer.body)

    return get


BAD = [
    ("/get/unit/E999", 404, "no unit E999; there are E001 E002 E003 E004"),
    ("/get/emu/E999", 404, "no unit E999"),
    ("/get/dcdc/E999", 404, "no unit E999"),
    ("/get/dcdc/status/E999", 404, "no unit E999"),
    ("/set/emu/E999?rsoc=3", 404, "no unit E999"),
    ("/set/dcdc/E999", 404, "no unit E999"),
    ("/set/dcdc/voltage/E999", 404, "no unit E999"),
    ("/set/dcdc/current/E999", 404, "no unit E999"),
    ("/no/such/path", 404, "no /no/such/path; there are / /get/log"),
    ("/set/emu/E001?rsoc=40&nosuch=1", 400, "nosuch is no field that can be set"),
    ("/set/emu/E001?system_time=1", 400, "system_time is no field that can be set"),
    ("/set/emu/E001?rsoc=101", 400, "rsoc is 101, it must be from 0 to 100 %"),
    ("/set/emu/E001?rsoc=nan", 400, "rsoc is nan, it must be a number"),
    ("/set/acc/abc", 400, "acceleration is abc, it must be a number"),
    ("/set/acc/0", 400, "acceleration is 0, it must be from 0.1 to 10000"),
    ("/set/dcdc/E001?dvg=350&dig=2", 400, "mode is missing"),
    ("/set/dcdc/E001?mode=0x14&dvg=350&dig=2", 400, "mode is 0x14, it must be one of 0x0000"),
    ("/set/dcdc/E001?mode=0x9999&dvg=350&dig=2", 400, "mode is 0x9999"),
    ("/set/dcdc/E001?mode=0x0014&dig=2", 400, "dvg is missing"),
    ("/set/dcdc/E001?mode=0x0014&dvg=350", 400, "dig is missing"),
    ("/set/dcdc/E001?mode=0x0014&dvg=&dig=2", 400, "dvg is missing"),
    ("/set/dcdc/E001?mode=0x0002&dvg=350&dig=abc", 400, "dig is abc, it must be a number"),
    ("/set/dcdc/E001?mode=0x0002&dvg=350&dig=-1", 400, "dig is -1, it must be a number of at"),
    ("/set/dcdc/E001?mode=0x0002&dvg=350&dig=1&drg=x", 400, "drg is x, it must be a number"),
    ("/set/dcdc/E001?mode=0x0002&dvg=350&dig=1&p1=1", 400, "p2 is missing"),
    ("/set/dcdc/voltage/E001", 400, "dvg is missing"),
    ("/set/dcdc/current/E001?dig=inf", 400, "dig is inf, it must be a number"),
    ("/get/last", 404, "no state has been saved yet; /save does it"),
]


@pytest.mark.parametrize(("target", "status", "message"), BAD)
def test_what_is_wrong_is_said_and_changes_nothing(get, emulation, target, status, message):
    before = emulation.save()
    found, content = get(target)
    assert (found, list(content)) == (status, ["error"])
    assert message in content["error"]
    assert emulation.save() == before
    assert get("/set/dcdc/E002?mode=0x0000&dvg=0&dig=0")[0] == 200  # and nothing is locked


def test_only_get_is_understood(get):
    assert get("/get/log", "POST") == (
        405,
        {"error": "POST is not understood; every request here is a GET"},
    )


def test_the_acceleration_on_the_fly(get, emulation):
    assert get("/set/acc/0.5") == (200, 0.5)
    assert get("/set/acc/3600") == (200, 3600)
    before_s = emulation.time_s
    emulation.step()
    assert emulation.time_s == before_s + 3600
    assert get("/get/acc") == (200, 3600)


def test_units_come_and_go(get):
    assert list(get("/add/unit")[1]) == ["E001", "E002", "E003", "E004", "E005"]
    assert get("/add/unit") == (400, {"error": "there is sun and load for 5 units only"})
    assert list(get("/remove/unit")[1]) == ["E001", "E002", "E003", "E004"]


def test_a_state_is_saved_and_loaded(get):
    before = get("/set/emu/E003?rsoc=77.5")[1]
    assert get("/save")[1] == before
    get("/set/dcdc/E001?mode=0x0014&dvg=350&dig=2")
    get("/remove/unit")
    assert get("/get/last") == (200, before)
    assert get("/restart")[1]["E003"]["emu"]["rsoc"] == 50


def test_a_state_of_the_original_is_loaded(get, tmp_path):
    units = get("/get/log")[1]
    units["E001"]["emu"]["rsoc"] = 19
    file = tmp_path / "state" / "last_save.json"
    file.parent.mkdir()
    file.write_text(json.dumps(units))
    assert get("/get/last") == (200, units)


def test_an_older_state_of_the_original_is_loaded(get, tmp_path):
    # as the file that the original ships: fewer values, counted from E000, in no order
    units = get("/get/log")[1]
    old = {f"E{int(unit_id[1:]) - 1:03}": unit for unit_id, unit in reversed(units.items())}
    old["E001"]["emu"]["rsoc"] = 19
    for unit in old.values():
        del unit["emu"]["ups_operation_schedule"], unit["dcdc"]["status"]["alarm"]
        del unit["oesunit"]["sn"]
    file = tmp_path / "state" / "last_save.json"
    file.parent.mkdir()
    file.write_text(json.dumps(old))
    status, loaded = get("/get/last")
    assert status == 200
    assert list(loaded) == ["E001", "E002", "E003", "E004"]
    assert loaded["E002"]["emu"]["rsoc"] == 19
    assert loaded["E002"]["oesunit"]["id"] == "E002"
    assert "sn" in loaded["E002"]["oesunit"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda units: units["E002"]["emu"].pop("rsoc"), "E002: emu.rsoc is missing"),
        (lambda units: units["E002"].pop("emu"), "E002: emu is missing"),
        (lambda units: units["E002"]["emu"].update(rsoc="x"), "emu.rsoc is 'x', it must be a num"),
        (lambda units: units.pop("E001"), "is E002 E003 E004, it must have the units E001,"),
        (lambda units: units["_emulator"].update(time_s="x"), "_emulator is"),
    ],
)
def test_a_broken_state_is_not_loaded(get, tmp_path, change, message):
    get("/save")
    file = tmp_path / "state" / "last_save.json"
    units = json.loads(file.read_text())
    change(units)
    file.write_text(json.dumps(units))
    before = get("/get/log")
    status, content = get("/get/last")
    assert status == 400
    assert message in content["error"]
    assert get("/get/log") == before


def test_steps_are_made_up_for_but_not_many_at_once():
    beat = Beat(1.0)
    assert [beat.due(now_s) for now_s in (10.0, 10.5, 11.0, 13.2, 100.0, 100.9)] == [
        *(1, 0, 1, 2, 5, 0)
    ]


@contextmanager
def serving(emulation: Emulation, folder: Path, period_s: float | None = None) -> Iterator[Server]:
    interface = Interface(emulation, folder / "state.json")
    server = Server(emulation, interface, host="127.0.0.1", port=0, period_s=period_s)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(5.0)
    assert not thread.is_alive()


def test_it_serves_and_lets_time_pass(emulation, tmp_path):
    stepped = threading.Event()
    step = emulation.step
    emulation.step = lambda parts: (step(parts), stepped.set())  # type: ignore[method-assign]
    with serving(emulation, tmp_path, 0.01) as server:
        assert stepped.wait(5.0)
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5.0)
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert b"APIS emulator" in answer.read()
        assert answer.headers["Content-Type"] == "text/html; charset=UTF-8"
        connection.request("GET", "/get/unit/E001")
        assert json.loads(connection.getresponse().read())["time"] > "2020/01/01-00:10:00"


def exchange(port: int, said: bytes) -> list[tuple[int, bytes]]:
    """What a client gets that says something and then listens to the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=10.0) as client:
        client.sendall(said)
        heard = b""
        while part := client.recv(65536):
            heard += part
    answers = []
    while heard:
        head, _, heard = heard.partition(b"\r\n\r\n")
        size = int(re.search(rb"Content-Length: (\d+)", head)[1])
        answers.append((int(head.split()[1]), heard[:size]))
        heard = heard[size:]
    return answers


def test_a_connection_is_kept_and_its_answers_come_in_order(emulation, tmp_path):
    said = b"GET /get/acc HTTP/1.1\r\n\r\nGET /set/acc/700 HTTP/1.1\r\n\r\n" * 600
    with serving(emulation, tmp_path) as server:
        answers = exchange(server.port, said + b"GET /get/acc HTTP/1.0\r\n\r\n")
        assert answers == [(200, b"600"), *[(200, b"700")] * 1200]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"no request at all\r\n\r\n", 400),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 413),
        (b"BREW /get/acc HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_nonsense_ends_its_own_connection_only(emulation, tmp_path, said, status):
    with serving(emulation, tmp_path) as server:
        assert exchange(server.port, said)[0][0] == status
        assert exchange(server.port, b"GET /get/acc HTTP/1.0\r\n\r\n") == [(200, b"600")]


def test_clients_that_give_up_make_no_noise(emulation, tmp_path, capfd):
    with serving(emulation, tmp_path) as server:
        for _ in range(20):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=10.0)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(b"GET /get/log HTTP/1.1\r\n\r\n" * 20)
            client.close()
        assert exchange(server.port, b"GET /get/acc HTTP/1.0\r\n\r\n") == [(200, b"600")]
    assert capfd.readouterr() == ("", "")


def test_many_clients_at_once_are_all_let_in(emulation, tmp_path):
    """One too many for the backlog would try again after a second."""
    with serving(emulation, tmp_path) as server, ExitStack() as open_ones, server.lock:
        for _ in range(200):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=0.9)
            open_ones.enter_context(client)
            client.sendall(b"GET /get/acc HTTP/1.0\r\n\r\n")


def test_an_unknown_bug_is_told(emulation, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(Interface, "_route", lambda *_: 1 / 0)
    with serving(emulation, tmp_path) as server:
        assert exchange(server.port, b"GET /get/acc HTTP/1.0\r\n\r\n")[0][0] == 500
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_what_is_read_is_never_stale(get, emulation):
    """What is kept of answers is forgotten with every change."""
    paths = ("/get/log", "/get/unit/E002", "/get/emu/E002", "/get/dcdc/E002", "/get/unit/E009")
    changes = [
        lambda: emulation.step(),
        lambda: get("/set/emu/E002?rsoc=44"),
        lambda: get("/set/dcdc/E002?mode=0x0014&dvg=350&dig=2"),
        lambda: get("/set/dcdc/voltage/E002?dvg=340"),
        lambda: emulation.step(),
        lambda: get("/add/unit"),
        lambda: get("/save"),
        lambda: get("/remove/unit"),
        lambda: get("/get/last"),
        lambda: get("/restart"),
    ]
    for change in changes:
        for path in paths:
            get(path)
        change()
        for path in paths:
            before = get(path)
            emulation.version += 1
            assert get(path) == before
