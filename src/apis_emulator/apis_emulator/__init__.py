"""The emulated hardware of a grid: houses, batteries, converters and the DC bus between them.

:mod:`apis_emulator.physics` (the plant, in C++) and :mod:`apis_emulator.profiles` know no ROS;
:mod:`apis_emulator.driver` guards the converters as a real driver does; :mod:`apis_emulator.node`
is the ROS shell over both.
"""
