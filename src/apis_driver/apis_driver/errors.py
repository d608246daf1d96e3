"""What can go wrong with a device, finer than the core needs to know.

DeviceError                   (apis_core)
 ├─ PortError                 the port is not there, is not ours to open, or has gone
 ├─ ForeignDevice             something answers, but not the device that the configuration names
 ├─ OutOfRange                a value is refused before a byte is sent
 ├─ ReadBackMismatch          the device does not hold what it was told
 ├─ DeadManFired              something below Python has said WAIT, and we did not know yet
 ├─ DeviceTimeout             (apis_core) silence
 ├─ BadFrame                  (apis_core) bytes that make no sense
 │   ├─ BadChecksum
 │   ├─ WrongCommand          a whole frame, but of another command
 │   ├─ WrongAddress          a whole frame, but of another device
 │   ├─ WrongTransaction      a whole frame, but the answer to another question
 │   ├─ WrongLength           a whole frame, but of a length that its command does not have
 │   └─ ImplausibleReply      a whole frame with a value that the device cannot have
 └─ DeviceRefused             (apis_core) the device understood and refused
     └─ DeviceBusy            ... for now; asking again makes sense
"""

from __future__ import annotations

from apis_core.model.errors import BadFrame, DeviceError, DeviceRefused, DeviceTimeout

__all__ = [
    "BadChecksum",
    "BadFrame",
    "DeadManFired",
    "DeviceBusy",
    "DeviceError",
    "DeviceRefused",
    "DeviceTimeout",
    "ForeignDevice",
    "ImplausibleReply",
    "OutOfRange",
    "PortError",
    "ReadBackMismatch",
    "WrongAddress",
    "WrongCommand",
    "WrongLength",
    "WrongTransaction",
]


class PortError(DeviceError):
    """The port is not there, is not ours to open, or has gone."""


class ForeignDevice(DeviceError):
    """Something answers, but not the device that the configuration names."""


class OutOfRange(DeviceError):
    """A value is refused before a byte is sent."""


class ReadBackMismatch(DeviceError):
    """The device does not hold what it was told."""


class DeadManFired(DeviceError):
    """Something below Python has said WAIT, and we did not know yet."""


class BadChecksum(BadFrame):
    """A frame whose sum does not fit its bytes."""


class WrongCommand(BadFrame):
    """A whole frame, but of another command."""


class WrongAddress(BadFrame):
    """A whole frame, but of another device."""


class WrongTransaction(BadFrame):
    """A whole frame, but the answer to another question."""


class WrongLength(BadFrame):
    """A whole frame, but of a length that its command does not have."""


class ImplausibleReply(BadFrame):
    """A whole frame with a value that the device cannot have."""


class DeviceBusy(DeviceRefused):
    """The device cannot accept it now; asking again makes sense."""
