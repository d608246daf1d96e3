"""Drivers of real converters and batteries: EZA2500 on RS-485, batteries on Modbus, HTTP devices.

The map of the modules is in the package's ``README.md``. ``docs/drivers.md`` is for those who use
it, ``docs/adding-a-device.md`` for those who extend it.
"""

import apis_core.config  # noqa: F401 - first of all, tells a pydantic that is too old
