"""The unit's ROS node: a thin shell round :mod:`apis_core`.

The map of the modules is in the package's ``README.md``. A rule about deals that seems to belong
here belongs in the core.
"""
