# Source this file to work in the environment that `make setup` built: `source tools/env.sh`.
_apis_tools="$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")" && pwd)"
if [ -f "$_apis_tools/../build/env.sh" ]; then
  . "$_apis_tools/../build/env.sh"
else
  echo "tools/env.sh: not set up yet; run \`make setup\` first" >&2
  unset _apis_tools
  return 2 2>/dev/null || exit 2
fi
unset _apis_tools
