#!/bin/sh
# Compiles the CPU kernels into shared libraries, one per instruction set: build.sh OUTPUT_FOLDER
#
# Skips with one line on standard error, and exit 0, when there is no C compiler or it refuses: the Vector API kernels then serve alone.
# Recompiles only what is older than the sources. CC chooses the compiler.
set -u
out=${1:?build.sh needs the output folder}
here=$(cd "$(dirname "$0")" && pwd)
cc=${CC:-$(command -v gcc || command -v clang || command -v cc || true)}
if [ -z "$cc" ]; then
    echo "kernels/cpu: no C compiler found; Inlay runs on its Vector API kernels (slower). Install gcc for the native ones." >&2
    exit 0
fi
case "$(uname -s) $(uname -m)" in
    "Linux x86_64")
        variants="x86-64-v3 x86-64-v4 x86-64-v4-bf16" ;;
    "Linux aarch64")
        variants="aarch64" ;;
    *)
        echo "kernels/cpu: no native kernels for $(uname -s) on $(uname -m); Inlay runs on its Vector API kernels." >&2
        exit 0 ;;
esac
flags_of() {
    case $1 in
        x86-64-v3) echo "-march=x86-64-v3" ;;
        x86-64-v4) echo "-march=x86-64-v4 -mprefer-vector-width=512" ;;
        x86-64-v4-bf16) echo "-march=x86-64-v4 -mavx512bf16 -mprefer-vector-width=512" ;;
        aarch64) echo "-march=armv8-a" ;;
    esac
}
compile() {
    # shellcheck disable=SC2046
    if ! log=$("$cc" -O2 -std=gnu11 -fPIC -shared -fvisibility=hidden -pthread -Wall -Wextra -Wno-psabi $(flags_of "$1") \
            -o "$2.new" "$here"/*.c -lm 2>&1); then
        rm -f "$2.new" "$2"
        echo "kernels/cpu: $cc cannot compile for $1, which is left out: $(echo "$log" | grep -m 1 -i error)" >&2
        return
    fi
    [ -n "$log" ] && echo "$log" >&2
    mv "$2.new" "$2"
}
mkdir -p "$out"
for variant in $variants; do
    library=$out/libinlay-$variant.so
    if [ -f "$library" ] && [ -z "$(find "$here" -newer "$library" \( -name '*.c' -o -name '*.h' -o -name build.sh \))" ]; then
        continue
    fi
    compile "$variant" "$library" &
done
wait
exit 0
