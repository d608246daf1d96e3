"""The grid master: each deal from the locks of its slots to their release, and the bus voltage."""
