#!/bin/sh
# Compiles libcuda.so.1 for the CPU over the kernels of tests/cuda/build.sh: build.sh OUTPUT_FOLDER FOLDER_OF_THE_KERNELS
#
# Skips with one line on standard error, and exit 0, when there is no C++ compiler. Compiles only what is older than its sources. CXX
# chooses the compiler.
set -u
out=${1:?build.sh needs the output folder}
host=${2:?build.sh needs the folder of the kernels}
here=$(cd "$(dirname "$0")" && pwd)
sh "$here/../build.sh" "$host" || exit 1
cxx=${CXX:-$(command -v g++ || command -v clang++ || command -v c++ || true)}
if [ -z "$cxx" ]; then
    echo "tests/cuda/driver: no C++ compiler found; JCuda's calls are not tested. Install g++." >&2
    exit 0
fi
mkdir -p "$out"
host=$(cd "$host" && pwd)
library=$out/libcuda.so.1
flags="-O1 -std=c++17 -fPIC -fvisibility=hidden -fno-exceptions -pthread -Wall -Wextra -Werror"
changed=
for source in "$here"/*.cpp; do
    object=$out/$(basename "$source" .cpp).o
    if [ -f "$object" ] && [ -z "$(find "$source" "$here"/*.h "$here/build.sh" -newer "$object")" ]; then
        continue
    fi
    changed=yes
    # shellcheck disable=SC2086
    "$cxx" $flags -c "$source" -o "$object.new" || { rm -f "$object.new" "$library"; exit 1; }
    mv "$object.new" "$object"
done
# Only its own symbols are seen: whoever loads it may have other code of these names.
if [ -n "$changed" ] || [ ! -f "$library" ]; then
    # shellcheck disable=SC2046
    "$cxx" -shared -pthread -Wl,-z,defs -Wl,-soname,libcuda.so.1 -Wl,-rpath,"$host" -o "$library.new" \
        $(for source in "$here"/*.cpp; do echo "$out/$(basename "$source" .cpp).o"; done) -L "$host" -linlay-cuda-host || exit 1
    mv "$library.new" "$library"
fi
