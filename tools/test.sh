#!/usr/bin/env bash
# All tests; with arguments those that pytest understands by them.
# What needs neither ROS nor a browser runs on all cores. Real nodes and pages keep time: two files at once, whatever the machine has,
# each worker in ROS domains of its own. They wait more than they reckon.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ $# -gt 0 ]] && exec python -m pytest "$@"
failed=0
python -m pytest -q -n auto -m "not ros and not browser" || failed=1
python -m pytest -q -n 2 --dist loadfile -m "ros or browser" || failed=1
exit "$failed"
