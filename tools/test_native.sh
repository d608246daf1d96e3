#!/usr/bin/env bash
# The C++ of src/apis_control_cpp, without Python or ROS: its tests plain, with address and undefined-behaviour
# sanitizers, and with the thread sanitizer; then a program that uses it as an installed library.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
package=$PWD/src/apis_control_cpp
build=$PWD/build/native
for program in cmake c++; do
  command -v "$program" >/dev/null || { echo "test-native: $program is missing" >&2; exit 2; }
done
generator=()
command -v ninja >/dev/null && generator=(-G Ninja)

build_and_test() {  # name, sanitizers
  echo "== ${1}"
  cmake "${generator[@]}" -S "$package" -B "$build/$1" -DAPIS_CONTROL_PYTHON=OFF -DAPIS_CONTROL_REQUIRE_TESTS=ON \
    -DCMAKE_DISABLE_FIND_PACKAGE_ament_cmake=ON -DAPIS_CONTROL_SANITIZE="${2:-}" \
    -DCMAKE_INSTALL_PREFIX="$build/installed" >"$build/$1.log" 2>&1 ||
    { tail -20 "$build/$1.log" >&2; exit 1; }
  cmake --build "$build/$1" >>"$build/$1.log" 2>&1 || { tail -40 "$build/$1.log" >&2; exit 1; }
  ctest --test-dir "$build/$1" --output-on-failure --timeout 120 | tail -n 4
}

mkdir -p "$build"
build_and_test plain
build_and_test address address,undefined
build_and_test thread thread

echo "== a program that links the installed library"
rm -rf "$build/installed" "$build/consumer"
cmake --install "$build/plain" >/dev/null
cmake "${generator[@]}" -S "$package/test/consumer" -B "$build/consumer" -DCMAKE_PREFIX_PATH="$build/installed" >/dev/null
cmake --build "$build/consumer" >/dev/null
"$build/consumer/consumer"
