#!/usr/bin/env bash
# Prints the folder of llama.cpp's programs, built on first use outside the checkout, once the checkpoint is there as bf16 GGUF:
# llama-cpp.sh PYTHON CHECKPOINT GGUF. Needs cmake, ninja and a C++ compiler; the source comes with llama-cpp-python's from PyPI.
set -euo pipefail
python=$1 checkpoint=$2 gguf=$3
version=0.3.16
home="${XDG_CACHE_HOME:-$HOME/.cache}/inlay/llama-cpp-$version"
source="$home/llama_cpp_python-$version/vendor/llama.cpp"
say() { echo "$@" >&2; }
for tool in cmake ninja c++; do
    command -v "$tool" > /dev/null || { say "llama.cpp needs $tool to be built"; exit 1; }
done
mkdir -p "$home"
if [ ! -d "$source" ]; then
    say "fetching llama.cpp in $home (50 MB, once) ..."
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: --dest "$home" "llama-cpp-python==$version" >&2
    tar -xzf "$home/llama_cpp_python-$version.tar.gz" -C "$home"
fi
if [ ! -x "$home/build/bin/llama-batched-bench" ]; then
    say "building llama.cpp (some ten minutes on two cores, once) ..."
    cmake -S "$source" -B "$home/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF -DBUILD_SHARED_LIBS=OFF \
        -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF > "$home/build.log" 2>&1
    ninja -C "$home/build" llama-bench llama-batched-bench >> "$home/build.log" 2>&1 || { tail -5 "$home/build.log" >&2; exit 1; }
fi
if [ ! -f "$gguf" ]; then
    say "converting $checkpoint to GGUF (once) ..."
    PYTHONPATH="$source/gguf-py" "$python" "$(dirname "$0")/to_gguf.py" "$checkpoint" "$gguf.partial" >&2
    mv "$gguf.partial" "$gguf"
fi
echo "$home/build/bin"
