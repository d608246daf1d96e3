"""How programs begin and end: exit codes, a line for each problem, and signals from the start."""

from __future__ import annotations

import signal

import pytest

pytest.importorskip("rclpy")

from rclpy.context import Context

from apis_core.model.errors import ConfigError, Problem
from apis_ros import leaving, program
from apis_ros.leaving import LEFT_UNDONE, STOPPED, WRONG, StartError, run_in_graph


def run(work, arguments=(), capsys=None) -> tuple[int, str]:
    code = run_in_graph("unit", list(arguments), work, context=Context())
    return code, capsys.readouterr().err


def test_why_a_process_cannot_start_is_a_line_for_each_problem(capsys):
    def two():
        raise ConfigError([Problem("file", "a", "1", "wrong"), Problem("file", "b", "2", "wrong")])

    def one():
        raise StartError("no\nport")

    code, said = run(two, capsys=capsys)
    assert (code, said.count("\n"), said.count("unit: file")) == (WRONG, 2, 2)
    assert run(one, capsys=capsys) == (WRONG, "unit: no port\n")


def test_arguments_that_ros_cannot_read_are_one_line(capsys):
    code, said = run(lambda: STOPPED, ["--ros-args", "-p", "nonsense"], capsys)
    assert (code, said.count("\n"), said[:6]) == (WRONG, 1, "unit: ")


@pytest.mark.parametrize("code", [STOPPED, LEFT_UNDONE])
def test_what_the_work_says_is_the_exit_code(capsys, code):
    assert run(lambda: code, capsys=capsys) == (code, "")


def test_the_limit_holds_until_the_graph_is_left(monkeypatch, capsys):
    alarms: list[int] = []
    monkeypatch.setattr(leaving.signal, "alarm", alarms.append)

    def work() -> int:
        leaving.leave_within_limit()
        return STOPPED

    run(work, capsys=capsys)
    assert alarms == [3, 0]


def test_a_signal_is_noted_from_the_first_moment_on():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        signals = program.note_signals()
        for number in before:
            signal.raise_signal(number)
        assert len(signals) == 2
        assert signals == sorted(signals)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
