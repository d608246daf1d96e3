"""What `make bench` measures: every module in :mod:`bench.parts` is a part."""
