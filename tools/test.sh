#!/usr/bin/env bash
# All tests; with arguments those that pytest understands by them.
# Two parts run side by side. What needs neither ROS nor a browser computes all the time, a little below the priority of the others. Nodes,
# pages and whole grids wait more than they compute: two files at once, each worker in ROS domains of its own.
# A test that fails is run once more. If it then passes, so does the run, but the last lines name it (FLAKY) and build/flaky.json says
# how it failed: a fault to mend, in the test or in the product.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ $# -gt 0 ]] && exec python -m pytest "$@"
set -m # else what runs in the background would have SIGINT ignored, and all its children with it
rm -f build/flaky.json
mkdir -p build/log
# Some hundred processes start: none compiles our sources anew, and who runs nodes and pages looks for tests only where such are.
unset PYTHONDONTWRITEBYTECODE
mapfile -t with_nodes < <(grep -rlE 'mark\.(ros|browser)\b' --include='test_*.py' src tests)
part() {
  nice -n "$1" python -m pytest -q --reruns 1 --durations 15 "${@:2}"
}
part 5 -n auto -m "not ros and not browser" >build/log/test-core.txt 2>&1 &
computing=$!
trap 'kill -- "-$computing" 2>/dev/null' EXIT
failed=0
echo "Nodes, pages and whole grids; all others at the same time, into build/log/test-core.txt"
part 0 -n 2 --dist loadfile -m "ros or browser" "${with_nodes[@]}" || failed=1
echo "All others:"
wait "$computing" || failed=1
cat build/log/test-core.txt
if [[ -s build/flaky.json ]]; then
  python -c 'import json; [print("FLAKY:", flaky["test"]) for flaky in json.load(open("build/flaky.json"))]'
fi
exit "$failed"
