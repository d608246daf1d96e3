"""The grid as RViz markers and TF frames."""
