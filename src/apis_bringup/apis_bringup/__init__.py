"""From a grid description to running processes: the process list, the process manager, and the ``apisctl`` command."""
