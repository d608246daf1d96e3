"""`make run` and Ctrl-C: the command stops in order and make reports success."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOREGROUND = ROOT / "tools" / "foreground.py"

COMMAND = """
import signal, sys
got = []
signal.signal(signal.SIGINT, lambda *_: got.append(1))
print("started", flush=True)
while not got:
    signal.pause()
print("stopped in order", flush=True)
sys.exit(int(sys.argv[1]))
"""


def in_terminal(command, cwd, until=b"started", keys=b"\x03"):
    """Run a command in a terminal, type keys when it has said something; (code, output)."""
    pid, tty = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execvp(command[0], command)
    output = b""
    deadline = time.monotonic() + 30
    sent = False
    while time.monotonic() < deadline:
        if not select.select([tty], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(tty, 4096)
        except OSError:
            break  # the other side is closed
        if not data:
            break
        output += data
        if not sent and until in output:
            os.write(tty, keys)
            sent = True
    else:
        os.kill(pid, 9)
    _, status = os.waitpid(pid, 0)
    os.close(tty)
    return os.waitstatus_to_exitcode(status), output.decode()


@pytest.fixture
def command(tmp_path):
    path = tmp_path / "command.py"
    path.write_text(COMMAND)
    return path


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.parametrize(("code", "expected"), [(0, 0), (3, 2)])
def test_ctrl_c_under_make(tmp_path, command, code, expected):
    (tmp_path / "Makefile").write_text(
        f"run:\n\t@exec {sys.executable} {FOREGROUND} {sys.executable} {command} {code}\n"
    )
    got, output = in_terminal(["make", "run"], tmp_path)
    assert "stopped in order" in output
    assert "Interrupt" not in output
    assert got == expected


@pytest.mark.parametrize("code", [0, 5])
def test_exit_code_passes_through(tmp_path, command, code):
    line = [sys.executable, str(FOREGROUND), sys.executable, str(command), str(code)]
    got, output = in_terminal(line, tmp_path)
    assert got == code
    assert "stopped in order" in output


def test_without_a_terminal_it_becomes_the_command():
    done = subprocess.run(
        [sys.executable, str(FOREGROUND), "sh", "-c", "echo $$; exit 4"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert done.returncode == 4


def test_a_terminated_wrapper_terminates_the_command(tmp_path):
    line = [sys.executable, str(FOREGROUND), "sh", "-c", "echo started $PPID; sleep 30"]
    pid, tty = pty.fork()
    if pid == 0:
        os.execvp(line[0], line)
    while b"started" not in os.read(tty, 4096):
        pass
    os.kill(pid, 15)
    started = time.monotonic()
    _, status = os.waitpid(pid, 0)
    os.close(tty)
    assert time.monotonic() - started < 10
    assert os.waitstatus_to_exitcode(status) == 128 + 15
