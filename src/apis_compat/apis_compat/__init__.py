"""The HTTP interfaces of the original APIS, for programs that were written for it."""
