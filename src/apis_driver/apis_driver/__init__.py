"""Drivers of real converters and batteries: EZA2500 on RS-485, batteries on Modbus, HTTP devices.

Empty so far: today only the emulated hardware of `apis_emulator` answers a unit's orders.
"""
