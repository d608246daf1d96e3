"""Programs that a script has started in the background, where the shell has SIGINT ignored."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ros, pytest.mark.timeout(180)]
ROOT = Path(__file__).resolve().parents[2]
SIGNALS = [signal.SIGINT, signal.SIGTERM]
IN_BACKGROUND = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
APISCTL = [sys.executable, "-m", "apis_bringup.cli"]
ONE_UNIT = {
    "cluster": "village",
    "policy": "p.json",
    "units": [{"id": "E001", "hardware": "h.json", "scenario": "s.json"}],
}
SAYS_SO = [sys.executable, "-c", "print('started', flush=True); import time; time.sleep(100)"]


@pytest.fixture
def begin() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a program with SIGINT ignored, and waits for its first line if it has one."""
    with ExitStack() as stack:

        def _begin(command: list[str], env: dict[str, str], *, speaks: bool = True):
            process = subprocess.Popen(
                [*IN_BACKGROUND, *command], env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            assert process.stdout is not None
            assert not speaks or process.stdout.readline()
            return process

        yield _begin


def workers_of(pid: int) -> list[int]:
    """Processes that this one has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def has_ended(pid: int) -> bool:
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True


def wait_for(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.05)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("words", ["status --watch --json", "echo /clock --json"])
def test_a_command_that_looks(on_grid, begin, words, number):
    process = begin([*APISCTL, *words.split()], on_grid.env)

    process.send_signal(number)

    assert process.wait(30) == 128 + number


@pytest.mark.parametrize("number", SIGNALS)
def test_the_recorder(on_grid, begin, tmp_path, number):
    file = tmp_path / "day.mcap"
    process = begin([*APISCTL, "record", str(file)], on_grid.env, speaks=False)
    wait_for(file.exists)

    process.send_signal(number)

    assert process.wait(30) == 0


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A day of a grid of one unit, in which nothing is said but at its ends."""
    from rclpy.serialization import serialize_message
    from rosgraph_msgs.msg import Clock

    from apis_ros.qos import TELEMETRY
    from apis_viz.recorder.recording import GRID, RecordingWriter

    file = tmp_path / "day.mcap"
    with RecordingWriter(file, {GRID: json.dumps(ONE_UNIT)}, {"speed": "1"}) as writer:
        writer.add_topic("/clock", "rosgraph_msgs/msg/Clock", TELEMETRY)
        for second in (0, 86_400):
            data = serialize_message(Clock())
            writer.write("/clock", data, time_ns=(1_750_474_800 + second) * 10**9)
    return file


@pytest.mark.parametrize("number", SIGNALS)
def test_a_replay(begin, domains, recording, number):
    from apis_bringup.picture import free_port

    env = {**os.environ, "ROS_DOMAIN_ID": str(domains[0])}
    process = begin([*APISCTL, "replay", str(recording), "--port", str(free_port())], env)
    while "replays 24.00 h" not in process.stdout.readline():
        assert process.poll() is None

    process.send_signal(number)

    assert process.wait(30) == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_a_player_and_the_interfaces_of_the_original(begin, domains, recording, tmp_path, number):
    from apis_bringup.picture import free_port
    from apis_compat.clients.main import PORTS

    grid_file = tmp_path / "grid.json"
    grid_file.write_text(json.dumps(ONE_UNIT))
    own = {
        "apis_viz.programs:player": {"file": recording},
        "apis_compat.clients.program:compat_http": {name: free_port() for name in PORTS},
    }
    env = {**os.environ, "ROS_DOMAIN_ID": str(domains[0]), "PYTHONUNBUFFERED": "1"}
    for program, parameters in own.items():
        given = {"grid_file": grid_file, **parameters}.items()
        words = [word for name, value in given for word in ("-p", f"{name}:={value}")]
        module, _, function = program.partition(":")
        script = f"import sys; from {module} import {function}; sys.exit({function}())"
        process = begin([sys.executable, "-c", script, "--ros-args", *words], env)

        process.send_signal(number)

        assert process.wait(30) == 0, program


@pytest.mark.parametrize("number", SIGNALS)
def test_the_simulator_and_its_workers(begin, number):
    words = ["simtest", "--seeds", "0:400", "--interpreted"]
    process = begin([*APISCTL, *words], dict(os.environ), speaks=False)
    wait_for(lambda: len(workers_of(process.pid)) == len(os.sched_getaffinity(0)))
    workers = workers_of(process.pid)

    process.send_signal(number)

    assert process.wait(30) == -number
    wait_for(lambda: all(map(has_ended, workers)))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_command_under_make(begin, number):
    process = begin([sys.executable, "tools/foreground.py", *SAYS_SO], dict(os.environ))

    process.send_signal(number)

    assert process.wait(30) in (-number, 1)  # Python's own end after an interrupt, or the signal's


@pytest.mark.parametrize("number", SIGNALS)
def test_a_measurement(begin, number):
    process = begin([sys.executable, "-m", "bench", "plant"], dict(os.environ))

    process.send_signal(number)

    assert process.wait(30) != 0


def test_every_node_of_a_grid(begin, domains, monkeypatch):
    """SIGINT only, which is ignored until a node says otherwise; it does so for both at once."""
    from apis_bringup.graph import Graph
    from apis_bringup.observer import GridObserver
    from apis_bringup.overrides import Overrides
    from apis_bringup.picture import free_port
    from apis_bringup.processes import Extras
    from apis_bringup.session import GridOptions, _child_environment, _command, prepare

    monkeypatch.setenv("ROS_DOMAIN_ID", str(domains[0]))
    overrides = Overrides(units=1, device="serial", port=free_port())
    extras = Extras(markers=True, metrics_port=free_port(), compat_http=False)
    with prepare(GridOptions(None, overrides, extras=extras)) as grid:
        env = dict(_child_environment(grid.run))
        started = [begin(_command(p), env, speaks=False) for p in grid.processes]
        with Graph(grid.grid.cluster) as graph:
            observer = GridObserver(graph)
            windows = {f"/apis/village/{name}" for name in ("dashboard", "markers", "metrics")}

            def is_up() -> bool:
                nodes = {f"{space}/{n}" for n, space in graph.node.get_node_names_and_namespaces()}
                return bool(observer.statuses and observer.converters) and windows <= nodes

            graph.every(0.2, lambda: None)
            assert graph.wait_for(is_up, within_s=90.0)
        for process in reversed(started):  # the emulator last
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0, process.args
