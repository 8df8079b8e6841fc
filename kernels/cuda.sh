#!/usr/bin/env bash
# Compiles the CUDA kernels: cuda.sh [--check] [OUTPUT_FOLDER, target/cuda]
#
# Every NAME.cu becomes NAME.ptx beside it (sm_80, committed: the driver of any later GPU compiles it on) and cubins for sm_80 and sm_90 in
# the output folder, with warnings as errors; registers, spills and shared memory of each kernel are printed. --check writes no PTX and
# fails where one that is committed is not of its source, by the hash in its first line; without an nvcc that is all it does.
#
# nvcc is the one of CUDA_HOME, or on PATH, or NVIDIA's packages of the Python index, put in the user's cache once.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
check=
if [ "${1:-}" = "--check" ]; then
    check=yes
    shift
fi
out=${1:-$here/../target/cuda}

hash_of() { cat "$here/$1.cu" "$here/inlay.cuh" | sha256sum | cut -c1-64; }

stamp() { echo "// sha256 of $1.cu and inlay.cuh: $(hash_of "$1")"; }

names=$(cd "$here" && ls ./*.cu | sed 's:^\./::; s:\.cu$::')
if [ -n "$check" ]; then
    stale=
    for name in $names; do
        [ -f "$here/$name.ptx" ] && [ "$(head -n 1 "$here/$name.ptx")" = "$(stamp "$name")" ] || stale="$stale $name"
    done
    for ptx in "$here"/*.ptx; do
        [ -f "${ptx%.ptx}.cu" ] || stale="$stale $(basename "$ptx" .ptx)"
    done
    if [ -n "$stale" ]; then
        echo "PTX that is not of its source:$stale; run kernels/cuda.sh and commit what it writes" >&2
        exit 1
    fi
fi

nvcc_here() {
    local cuda=${CUDA_HOME:-}
    if [ -n "$cuda" ] && [ -x "$cuda/bin/nvcc" ]; then
        echo "$cuda/bin/nvcc"
        return
    fi
    command -v nvcc && return
    local packages env
    packages="nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96"
    env="${XDG_CACHE_HOME:-$HOME/.cache}/inlay/nvcc-13.0.88"
    if [ ! -f "$env/complete" ]; then
        command -v python3 > /dev/null || return 1
        echo "putting nvcc in $env (100 MB, once) ..." >&2
        rm -rf "$env"
        # shellcheck disable=SC2086
        PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$env" $packages >&2 \
            || return 1
        touch "$env/complete"
    fi
    echo "$env/nvidia/cu13/bin/nvcc"
}

if ! nvcc=$(nvcc_here); then
    echo "there is no nvcc, and none could be fetched; set CUDA_HOME to a CUDA of version 13" >&2
    [ -n "$check" ] && exit 0
    exit 1
fi

mkdir -p "$out"
for name in $names; do
    compile() { "$nvcc" -std=c++17 -O3 -Werror all-warnings -I "$here" "$@" "$here/$name.cu"; }
    if [ -z "$check" ]; then
        compile -ptx -arch=compute_80 -o "$out/$name.ptx"
        { stamp "$name"; cat "$out/$name.ptx"; } > "$here/$name.ptx"
    fi
    for arch in 80 90; do
        compile -cubin "-arch=sm_$arch" -Xptxas -v -o "$out/$name.sm_$arch.cubin" 2> "$out/$name.log" \
            || { cat "$out/$name.log" >&2; exit 1; }
        awk -v arch="sm_$arch" '
            /Compiling entry function/ { split($0, part, "\047"); kernel = part[2] }
            /spill stores/ { spills = $5 " bytes spilled" }
            /Used [0-9]+ registers/ { match($0, /[0-9]+ registers/); used = substr($0, RSTART, RLENGTH)
                shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH) : "0 bytes smem"
                printf "%-36s %s  %14s  %-16s  %s\n", kernel, arch, used, spills, shared }' "$out/$name.log"
    done
done
