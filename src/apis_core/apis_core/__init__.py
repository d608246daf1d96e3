"""The APIS protocol: pure Python, no ROS, no threads, no clock, no files.

The map of the modules is in the package's ``README.md``, the order in which to read them in
``CONTRIBUTING.md``. Nothing is imported from them here: each program pays for what it uses.
"""
