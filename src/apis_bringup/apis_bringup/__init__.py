"""From a grid description to running processes, and the ``apisctl`` command.

The map of the modules is in the package's ``README.md``.
"""
