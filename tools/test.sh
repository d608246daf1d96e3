#!/usr/bin/env bash
# All tests; with arguments those that pytest understands by them.
# What needs neither ROS nor a browser runs on all cores. A package's own nodes and pages wait more than they reckon: two files at once,
# each worker in ROS domains of its own. Whole grids keep time, and run one after the other.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ $# -gt 0 ]] && exec python -m pytest "$@"
failed=0
python -m pytest -q -n auto -m "not ros and not browser" || failed=1
python -m pytest -q -n 2 --dist loadfile -m "ros or browser" src tests/architecture || failed=1
python -m pytest -q -m "ros or browser" tests/integration || failed=1
exit "$failed"
