"""Drivers of real converters and batteries: EZA2500 on RS-485, batteries on Modbus, HTTP devices.

The map of the modules is in the package's ``README.md``. ``docs/drivers.md`` is for those who use
it, ``docs/adding-a-device.md`` for those who extend it.
"""
