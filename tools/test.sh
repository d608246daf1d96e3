#!/usr/bin/env bash
# All tests; with arguments those that pytest understands by them.
# What needs neither ROS nor a browser runs on all cores. Nodes, pages and whole grids wait more than they reckon: two files at once, each
# worker in ROS domains of its own.
# A test that fails is run once more. If it then passes, so does the run, but the last lines name it (FLAKY) and build/flaky.json says
# how it failed: a fault to mend, in the test or in the product.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ $# -gt 0 ]] && exec python -m pytest "$@"
failed=0
rm -f build/flaky.json
part() {
  python -m pytest -q --reruns 1 --durations 15 "$@" || failed=1
}
part -n auto -m "not ros and not browser"
part -n 2 --dist loadfile -m "ros or browser"
if [[ -s build/flaky.json ]]; then
  python -c 'import json; [print("FLAKY:", flaky["test"]) for flaky in json.load(open("build/flaky.json"))]'
fi
exit "$failed"
