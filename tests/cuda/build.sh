#!/bin/sh
# Compiles kernels/*.cu and probe.cu for the CPU into one shared library: build.sh OUTPUT_FOLDER
#
# Skips with one line on standard error, and exit 0, when there is no C++ compiler; an error in a kernel fails. Compiles only what is older
# than its sources. CXX chooses the compiler.
set -u
out=${1:?build.sh needs the output folder}
here=$(cd "$(dirname "$0")" && pwd)
kernels=$(cd "$here/../../kernels" && pwd)
cxx=${CXX:-$(command -v g++ || command -v clang++ || command -v c++ || true)}
if [ -z "$cxx" ]; then
    echo "tests/cuda: no C++ compiler found; the CUDA kernels are not tested on the CPU. Install g++." >&2
    exit 0
fi
mkdir -p "$out"
# Kernels read and write memory by several types, as CUDA lets them, and __fmul_rn with __fadd_rn is never one rounding.
flags="-O2 -std=c++17 -fPIC -fvisibility=hidden -fno-strict-aliasing -ffp-contract=off -fno-exceptions -pthread"
flags="$flags -Wall -Wextra -Werror -Wno-unknown-pragmas -Wno-psabi"
changed=
for source in "$here"/*.cpp "$here"/*.cu "$kernels"/*.cu; do
    object=$out/$(basename "$source" | sed 's/\.[^.]*$//').o
    if [ -f "$object" ] && [ -z "$(find "$source" "$here"/*.h "$here/build.sh" "$kernels"/*.cuh -newer "$object")" ]; then
        continue
    fi
    changed=yes
    case $source in
        *.cu) set -- -x c++ -include "$here/host.h" -I "$kernels" ;;
        *) set -- -x c++ ;;
    esac
    # shellcheck disable=SC2086
    "$cxx" $flags "$@" -c "$source" -o "$object.new" || { rm -f "$object.new" "$out/libinlay-cuda-host.so"; exit 1; }
    mv "$object.new" "$object"
done
library=$out/libinlay-cuda-host.so
# An object without a source is of a kernel that is no more.
for object in "$out"/*.o; do
    name=$(basename "$object" .o)
    [ -f "$kernels/$name.cu" ] || [ -f "$here/$name.cu" ] || [ -f "$here/$name.cpp" ] || { rm -f "$object"; changed=yes; }
done
if [ -n "$changed" ] || [ ! -f "$library" ]; then
    "$cxx" -shared -pthread -Wl,-z,defs -o "$library.new" "$out"/*.o -lm || exit 1
    mv "$library.new" "$library"
fi
