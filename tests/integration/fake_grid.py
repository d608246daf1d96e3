"""Runs fake children under the real runner, in a process that tests can send signals.

Usage: fake_grid.py FOLDER '[["name", "behaviour", "ROLE"], ...]' [--fail-fast | SECONDS ...]
Every fake child says "ready" and its process id, and writes its name into FOLDER/stopped when it
was asked to stop. What puts the converter of a driver to WAIT writes "rescue" there, and fails if
the driver is "cut off". SECONDS are the times before each restart.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from apis_bringup.roles import RESTART_DELAYS_S, Role
from apis_bringup.runner import Child, Runner

CHILD = """
import os, signal, sys, threading
name, behaviour, folder = sys.argv[1:]
stop = threading.Event()
def on_stop(*_):
    with open(folder + "/stopped", "a") as file:
        file.write(name + "\\n")
    if behaviour != "stubborn":
        stop.set()
signal.signal(signal.SIGINT, on_stop)
signal.signal(signal.SIGTERM, on_stop)
print("ready", os.getpid(), flush=True)
if behaviour == "leaves":  # an operator has shut it down
    sys.exit(0)
if behaviour == "dies":
    print("I see no bus", flush=True)
    sys.exit(3)
while not stop.wait(3600.0):
    pass
if behaviour == "hangs":  # in leaving the graph, and its alarm goes off
    os.kill(os.getpid(), signal.SIGALRM)
sys.exit(4 if behaviour == "fails" else 0)
"""
RESCUE = """
import sys
name, behaviour, folder = sys.argv[1:]
with open(folder + "/stopped", "a") as file:
    file.write("rescue\\n")
if behaviour == "cut off":
    print("no answer", flush=True)
    sys.exit(1)
"""


def main() -> int:
    """Run the children that the command line names."""
    folder = Path(sys.argv[1])
    children = [
        Child(
            name,
            _program(CHILD, name, behaviour, folder),
            Role[role],
            stop_s=1.0,
            rescue=_program(RESCUE, name, behaviour, folder) if role == "DRIVER" else (),
        )
        for name, behaviour, role in json.loads(sys.argv[2])
    ]
    is_fast = "--fail-fast" in sys.argv
    delays_s = [] if is_fast else [float(word) for word in sys.argv[3:]]
    return Runner(
        children,
        log_folder=folder / "log",
        fail_fast=is_fast,
        restart_delays_s=delays_s or RESTART_DELAYS_S,
    ).run()


def _program(script: str, name: str, behaviour: str, folder: Path) -> tuple[str, ...]:
    return (sys.executable, "-c", script, name, behaviour, str(folder))


if __name__ == "__main__":
    sys.exit(main())
