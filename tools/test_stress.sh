#!/usr/bin/env bash
# Whole grids, nodes and pages beside two busy loops, three times, and no test gets a second try. ROUNDS=1 for one round; arguments are
# those of pytest.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
loops=()
for _ in 1 2; do
  python -c 'while True: pass' &
  loops+=($!)
done
trap 'kill "${loops[@]}"' EXIT
for ((round = 1; round <= ${ROUNDS:-3}; round++)); do
  echo "== round $round of ${ROUNDS:-3}"
  python -m pytest -q -m "ros or browser" "$@" || exit 1
done
