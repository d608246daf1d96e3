"""Becomes another program that cannot outlive its parent.

The runner starts every child through this file (by its path, in an isolated interpreter, which
costs some 10 ms)::

    python -I -S child.py <pid of the runner> <signal> <program> <argument>...

Even if the runner is killed with SIGKILL, the kernel then sends the child that signal, with which
it ends in order. A ``preexec_fn`` could do the same, but Python code between fork and exec may
deadlock in a process that has threads, and the runner has. `ros2 launch` starts its children
through it, too.

The child shares a lock on the file that the variable ``APIS_MEMBERS_FILE`` names, if there is one,
until it ends: so that others know that something of this grid still runs (see run_lock.py).
"""

import ctypes
import fcntl
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def main() -> None:
    """Tie this process to its parent, then exec the program."""
    parent, last_signal, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    # A shell that starts the runner in the background makes it ignore SIGINT, and that would be
    # inherited.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, last_signal) != 0:
        sys.exit("prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died before the line above
        sys.exit("the runner is gone")
    if os.getsid(0) != os.getpid():
        os.setsid()  # Ctrl-C in a terminal is for the runner alone
    members_file = os.environ.pop("APIS_MEMBERS_FILE", "")
    if members_file:
        handle = os.open(members_file, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(handle, fcntl.LOCK_SH)
        os.set_inheritable(handle, True)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
