"""Windows on a running grid: dashboard, RViz markers, rqt, recorder, metrics, the original's HTTP.

The map of the modules is in the package's ``README.md``.
"""
