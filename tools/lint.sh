#!/usr/bin/env bash
# Formatting, lint and types; with --fix it formats instead of complaining.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
failed=0
step() {
  "$@" || { echo "lint: failed: $*" >&2; failed=1; }
}

mapfile -t cpp < <(git ls-files --cached --others --exclude-standard 'src/*.cpp' 'src/*.hpp')
if [[ "${1:-}" == --fix ]]; then
  step ruff check --fix --quiet .
  step ruff format --quiet .
  clang_format=(clang-format -i)
else
  step ruff format --check --quiet .
  step ruff check --quiet .
  step mypy
  clang_format=(clang-format --dry-run --Werror)
fi
if command -v clang-format >/dev/null; then
  step "${clang_format[@]}" "${cpp[@]}"
else
  echo "lint: clang-format is missing; \`make lint\` installs it" >&2
  failed=1
fi
exit "$failed"
