# Source this file to work in the environment that `make setup` built: `source tools/env.sh`.
_apis_root="$(cd -P "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)"
_apis_line=""
[ -f "$_apis_root/build/env.sh" ] && IFS= read -r _apis_line < "$_apis_root/build/env.sh"
if [ "$_apis_line" != "# The environment of $_apis_root" ]; then
  if [ -n "$_apis_line" ]; then
    echo "tools/env.sh: this folder was moved since it was set up; run \`make setup\` first" >&2
  else
    echo "tools/env.sh: not set up yet; run \`make setup\` first" >&2
  fi
  unset _apis_root _apis_line
  return 2 2>/dev/null || exit 2
fi
. "$_apis_root/build/env.sh"
unset _apis_root _apis_line
