"""One module per part; each has ``measure(report)``. A new file here is found by itself."""
