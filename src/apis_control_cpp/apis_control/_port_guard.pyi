"""The dead man of a serial port, below Python."""

from types import TracebackType
from typing import Literal

class GuardFired(RuntimeError):
    """The guard has ordered WAIT, and the caller has not acknowledged that by ``disarm()``."""

class PortGuard:
    """Writes a prepared WAIT frame to a port when nobody has renewed in time.

    A C++ thread waits on a steady clock. It needs neither the GIL nor anything else of Python: it
    acts while the interpreter hangs. It cannot act when the whole process is stopped or killed;
    what then helps is what stands outside of it (the device's own communication watchdog, and a
    supervisor that starts the driver again, which says WAIT first).

    All bytes for the port go through :meth:`write`, so that they never mix with the guard's.

    Args:
        fd: Descriptor of the open port. It is duplicated, and the port becomes non-blocking.
        frame: Bytes that order WAIT; sending them again must do no harm.
        direction: How the sender of a half-duplex line is switched on for its own time: not at
            all (the adapter or the kernel does it), by RTS, or by a GPIO line.
        gpio_fd: Descriptor of a line request of libgpiod (``gpiod.LineRequest.fd``) for one line.
        is_active_high: The level of RTS or of the GPIO line while sending.
        repeat_s: Time between two WAIT frames once it has fired; longer than a reply takes. [s]
        times: How often it writes the frame then, >= 1.

    Raises:
        ValueError: An argument makes no sense.
        OSError: ``fd`` is not open.
    """

    def __init__(
        self,
        fd: int,
        frame: bytes,
        *,
        direction: Literal["none", "rts", "gpio"] = "none",
        gpio_fd: int | None = None,
        is_active_high: bool = True,
        repeat_s: float = 0.2,
        times: int = 10,
    ) -> None: ...
    def renew(self, hold_s: float) -> bool:
        """WAIT is sent after so long [s, > 0] if there is no other renewal.

        Returns False, and nothing changes, when it has fired or is closed.
        """
    def disarm(self) -> bool:
        """Stop waiting and repeating; returns whether it had fired, which is forgotten."""
    def set_frame(self, frame: bytes) -> None:
        """Bytes to send from now on; not empty."""
    def write(self, data: bytes) -> None:
        """Write all of it, without the GIL.

        Raises:
            GuardFired: It has fired; nothing was written. Call :meth:`disarm` first, and mind that
                the converter is in WAIT.
            TimeoutError: The port takes no more bytes.
            OSError: The port is gone, or the guard closed.
        """
    def close(self) -> None:
        """Let the port go; armed, it sends WAIT a last time."""
    def __enter__(self) -> PortGuard: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    @property
    def armed(self) -> bool:
        """Whether it will send WAIT unless something happens."""
    @property
    def fired(self) -> bool:
        """Whether it has sent WAIT, or tried to, since the last :meth:`disarm`."""
    @property
    def written(self) -> int:
        """WAIT frames sent since the start."""
    @property
    def last_error(self) -> int:
        """Errno of its own last write; 0 = none."""
