"""Ports: pseudo-terminals and sockets, and what is said of those that do not work."""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import threading
import time
import tty

import pytest
from fake_eza import FakeEza

from apis_core.model.types import ConverterMode
from apis_driver.devices.eza2500 import Eza2500, Eza2500Settings
from apis_driver.errors import DeadManFired, PortError
from apis_driver.transport import SerialSettings, SerialTransport

WAIT = b"\x05\x02\x00\x10\x00\x00\x00\x10\x00"


def soon(limit_s: float = 2.0) -> float:
    return time.monotonic() + limit_s


@pytest.fixture
def terminal():
    """Master descriptor and name of a pseudo-terminal."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    for descriptor in (master, slave):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def opened(port: str, **settings) -> SerialTransport:
    transport = SerialTransport(SerialSettings(port=port, **settings), WAIT)
    transport.open()
    return transport


def test_bytes_go_both_ways_and_old_ones_are_dropped(terminal):
    master, name = terminal
    port = opened(name)
    port.write(b"question")
    assert os.read(master, 100) == b"question"
    os.write(master, b"old")
    port.drop_input()
    os.write(master, b"answer")
    assert port.read(soon()) == b"answer"
    begun_s = time.monotonic()
    assert port.read(begun_s + 0.05) == b""
    assert 0.03 < time.monotonic() - begun_s < 0.5
    port.close()


def test_the_dead_man_below_python_says_wait(terminal):
    master, name = terminal
    port = opened(name)
    assert port.dead_man.renew(0.05)
    assert os.read(master, 100)[: len(WAIT)] == WAIT
    with pytest.raises(DeadManFired):
        port.write(b"on again")
    assert port.dead_man.disarm()
    port.write(b"now I know")
    port.close()


def test_a_port_that_is_pulled_is_told(terminal):
    master, name = terminal
    port = opened(name)
    os.close(master)
    with pytest.raises(PortError, match="the port has gone"):
        port.read(soon())
    port.close()
    port.close()


@pytest.mark.parametrize(
    ("port", "said"),
    [
        ("/dev/no-such-port", "there is no such port; is the adapter plugged in?"),
        ("/dev/null", "it is no serial port"),
        ("socket://127.0.0.1:1", "nobody listens"),
    ],
)
def test_a_port_that_does_not_open_is_told_with_what_is_wrong(port, said):
    with pytest.raises(PortError) as raised:
        opened(port)
    assert said in str(raised.value)
    assert port in str(raised.value)


@pytest.mark.parametrize("port", ["nonsense://x", "socket://x", "socket://:1", "socket://x:0"])
def test_an_address_that_is_none_is_told_before_anything_opens(port):
    with pytest.raises(ValueError, match="socket://host:port"):
        SerialSettings(port=port)


def test_a_port_that_another_program_has_is_told(terminal):
    _, name = terminal
    first = opened(name)
    with pytest.raises(PortError, match="another program has it open"):
        opened(name)
    first.close()


def test_a_gpio_line_needs_its_package_or_its_chip(terminal):
    _, name = terminal
    with pytest.raises(PortError, match="gpio"):
        opened(name, direction="gpio", gpio_line=3, gpio_chip="/dev/no-gpiochip")


@pytest.mark.parametrize("scheme", ["socket", "rfc2217"])
def test_a_serial_server_on_the_network_reaches_the_same_converter(scheme):
    fake, listener = FakeEza(), socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(
        target=serve, args=(listener, fake, scheme == "rfc2217"), daemon=True
    )
    thread.start()
    settings = Eza2500Settings(
        port=f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", reply_timeout_s=0.3
    )
    device = Eza2500(settings)
    device.open(soon(20.0))
    assert fake.raw["mode"] == 0
    device.set_current(2.0, soon())
    assert device.read_status(soon()).mode is ConverterMode.WAIT
    assert (device.dead_man is None) == (scheme == "rfc2217")
    device.close()
    listener.close()
    thread.join(5.0)


def serve(listener: socket.socket, fake: FakeEza, is_rfc2217: bool) -> None:
    """A serial server with the converter behind it."""
    import serial.rfc2217

    connection, _ = listener.accept()
    with connection:

        class Lines:  # what pyserial's server wants of the serial port
            baudrate, bytesize, parity, stopbits = 19200, 8, "N", 1
            xonxoff = rtscts = dsrdtr = break_condition = False
            rts = dtr = cts = dsr = ri = cd = True

            def reset_input_buffer(self): ...

            def reset_output_buffer(self): ...

        class Out:
            def write(self, data: bytes) -> None:
                connection.sendall(data)

        manager = serial.rfc2217.PortManager(Lines(), Out()) if is_rfc2217 else None
        while True:
            try:
                data = connection.recv(4096)
            except OSError:
                return
            if not data:
                return
            if manager is not None:
                data = b"".join(manager.filter(data))
            if not data:
                continue
            fake.write(data)
            while fake.incoming:
                answer = fake.incoming.popleft()
                escaped = b"".join(manager.escape(answer)) if manager is not None else answer
                connection.sendall(escaped)
