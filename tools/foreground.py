"""Run a command so that Ctrl-C in a terminal reaches the command alone.

    python tools/foreground.py COMMAND [ARGUMENT ...]

A terminal sends Ctrl-C to its whole foreground process group. `make` is in it, and `make` that
gets it ends with "Interrupt" and an error, even when the command that it ran stopped in good
order. So the command gets a process group of its own and the terminal; the exit code is the
command's. Without a terminal, or in the background, this file only starts the command; a shell
script has then made it ignore SIGINT, which the command is to obey all the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def terminal() -> int | None:
    """The controlling terminal when this process is in its foreground, or None."""
    try:
        tty = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.tcgetpgrp(tty) == os.getpgrp():
            return tty
    except OSError:
        pass
    os.close(tty)
    return None


def run_in_foreground(command: list[str], tty: int) -> int:
    """Run a command as the terminal's foreground; its exit code, 128 + n for signal n."""
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # one who gives away the terminal would stop
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        os.setpgid(0, 0)
        os.read(ready, 1)  # until the terminal is ours
        os.close(ready)
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        try:
            os.execvp(command[0], command)
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
            os._exit(127)
    os.close(ready)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, lambda number, _: os.killpg(pid, number))
    with contextlib.suppress(OSError):  # it may have been faster
        os.setpgid(pid, pid)
    os.tcsetpgrp(tty, pid)
    os.close(go)
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            break
        os.tcsetpgrp(tty, os.getpgrp())  # Ctrl-Z: stop with it, go on with it
        os.killpg(0, signal.SIGSTOP)
        if os.tcgetpgrp(tty) == os.getpgrp():
            os.tcsetpgrp(tty, pid)
        os.killpg(pid, signal.SIGCONT)
    with contextlib.suppress(OSError):  # the terminal may be gone
        os.tcsetpgrp(tty, os.getpgrp())
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def main() -> int:
    """Entry point; returns the exit code."""
    command = sys.argv[1:]
    tty = terminal()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if tty is None:
        os.execvp(command[0], command)
    return run_in_foreground(command, tty)


if __name__ == "__main__":
    sys.exit(main())
