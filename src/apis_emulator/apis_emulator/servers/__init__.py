"""Emulated devices that speak the interfaces of the real ones, over the emulated physics.

``eza`` is a converter's registers on the plant; ``serial_devices`` puts it and a battery's
registers behind the bytes of their serial lines, ``line`` those behind a pseudo-terminal with the
pace and the faults of a real line, and ``http_device`` behind the HTTP interface of the original
drivers. ``serving`` starts what a grid description asks for.

What goes over the lines is defined once, in :mod:`apis_driver`'s tables and frames; both are held
against recorded bytes by the tests of that package. Beside it the emulator uses that neighbour for
one thing more: the messages by which a converter is ordered and read.
"""
