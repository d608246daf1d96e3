"""Runs fake children under the real runner, in a process that tests can send signals.

Usage: python fake_grid.py FOLDER '[["name", "behaviour", stop_turn], ...]'
Every fake child says "ready" and its process id, and writes its name into FOLDER/stopped when it
was asked to stop.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

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


def main() -> int:
    """Run the children that the command line names."""
    folder = Path(sys.argv[1])
    children = [
        Child(name, (sys.executable, "-c", CHILD, name, behaviour, str(folder)), stop_turn)
        for name, behaviour, stop_turn in json.loads(sys.argv[2])
    ]
    runner = Runner(children, log_folder=folder / "log", first_stop_s=1.0, then_stop_s=1.0)
    return runner.run()


if __name__ == "__main__":
    sys.exit(main())
