"""Register tables of devices, as data; :mod:`apis_driver.codec` says what stands in them."""
