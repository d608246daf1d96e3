"""Drivers of real converters and batteries: EZA2500 on RS-485, batteries on Modbus, HTTP devices.

From the line upward, each module knows only those above it:

================  =================================================================================
transport         bytes, by a deadline: the only one that blocks
line              question and answer, retries by kind of failure
frame, codec      bytes to frames, numbers to bytes as ``registers/*.yaml`` say; both ways
device, devices   what a device must offer, and the devices that come with us
sequence          in which order settings change with the mode
counting          energy of a converter that has no counters
governor          the rules round a converter, the same for every make
unit_hardware     a thread for each device
shell, node       the ROS node
================  =================================================================================

``docs/drivers.md`` is for those who use it, ``docs/adding-a-device.md`` for those who extend it.
"""
