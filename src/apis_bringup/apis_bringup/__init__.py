"""From a grid description to running processes, and the ``apisctl`` command."""
