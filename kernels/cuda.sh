#!/usr/bin/env bash
# Compiles the CUDA kernels: cuda.sh [--check | --build] [OUTPUT_FOLDER, target/cuda]
#
# Every NAME.cu becomes NAME.ptx beside it (sm_80, committed: any later GPU's driver compiles it on) and cubins for sm_80 and sm_90 in the
# output folder, with warnings and spilled registers as errors; registers and shared memory of each kernel are printed. kernels.txt says
# which file has which kernel. --check writes nothing beside the sources and fails where what is committed is not of its source, by the
# hash in its first line; without an nvcc that is all it does. --build is --check where nvcc is installed, and nothing where it is not.
#
# nvcc is the one of CUDA_HOME, or on PATH, or NVIDIA's packages of the Python index, put in the user's cache once (not for --build).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
check='' build=''
while [ $# -gt 0 ]; do
    case "$1" in
        --check) check=yes ;;
        --build) check=yes build=yes ;;
        -*) echo "cuda.sh does not know '$1'; it takes --check, --build and a folder" >&2; exit 2 ;;
        *) break ;;
    esac
    shift
done
out=${1:-$here/../target/cuda}
names=$(cd "$here" && for source in *.cu; do echo "${source%.cu}"; done)

stamp() {
    local headers
    headers=$(sed -n 's:^#include "\(.*\)"$:\1:p' "$here/$1.cu" | paste -sd ' ')
    # shellcheck disable=SC2086
    echo "// sha256 of $1.cu and $headers: $(cd "$here" && cat "$1.cu" $headers | sha256sum | cut -c1-64)"
}

# Lines "KERNEL FILE", after the version of CUDA that a driver must have.
list() {
    sed -n 's:^// Cuda compilation tools, release \([0-9.]*\),.*:cuda \1:p' "$here"/*.ptx | sort -u
    for name in $names; do
        sed -n "s/^\.visible \.entry \([a-z0-9_]*\)(.*/\1 $name/p" "$here/$name.ptx"
    done
}

nvcc_here() {
    local cuda=${CUDA_HOME:-} packages env
    if [ -n "$cuda" ] && [ -x "$cuda/bin/nvcc" ]; then
        echo "$cuda/bin/nvcc"
        return
    fi
    command -v nvcc && return
    [ -z "$build" ] || return 1
    packages="nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96"
    env="${XDG_CACHE_HOME:-$HOME/.cache}/inlay/nvcc-13.0.88"
    if [ ! -f "$env/complete" ]; then
        command -v python3 > /dev/null || return 1
        echo "putting nvcc in $env (100 MB, once) ..." >&2
        rm -rf "$env"
        # shellcheck disable=SC2086
        PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --retries 1 --timeout 20 --no-deps \
            --target "$env" $packages >&2 || return 1
        touch "$env/complete"
    fi
    echo "$env/nvidia/cu13/bin/nvcc"
}

if [ -n "$build" ] && ! nvcc_here > /dev/null; then
    exit 0
fi
if [ -n "$check" ]; then
    stale=
    for name in $names; do
        [ -f "$here/$name.ptx" ] && [ "$(head -n 1 "$here/$name.ptx")" = "$(stamp "$name")" ] || stale="$stale $name.ptx"
    done
    for ptx in "$here"/*.ptx; do
        [ -f "${ptx%.ptx}.cu" ] || stale="$stale $(basename "$ptx")"
    done
    [ -n "$stale" ] || [ "$(list)" = "$(cat "$here/kernels.txt")" ] || stale=" kernels.txt"
    if [ -n "$stale" ]; then
        echo "not of their sources:$stale; run kernels/cuda.sh and commit what it writes" >&2
        exit 1
    fi
fi

if ! nvcc=$(nvcc_here); then
    [ -n "$check" ] && exit 0
    echo "there is no nvcc, and none could be fetched; set CUDA_HOME to a CUDA of version 13" >&2
    exit 1
fi

mkdir -p "$out"
for cubin in "$out"/*.cubin; do
    [ -f "$here/$(basename "${cubin%.sm_*.cubin}").cu" ] || rm -f "$cubin"
done
for name in $names; do
    compile() { "$nvcc" -std=c++17 -O3 -Werror all-warnings -I "$here" "$@" "$here/$name.cu"; }
    if [ -z "$check" ]; then
        ptx=$(mktemp)
        compile -ptx -arch=compute_80 -o "$ptx"
        { stamp "$name"; cat "$ptx"; } > "$here/$name.ptx"
        rm -f "$ptx"
    fi
    for arch in 80 90; do
        cubin=$out/$name.sm_$arch.cubin
        if [ -f "$cubin" ] && [ -z "$(find "$here/$name.cu" "$here"/*.cuh "$here/cuda.sh" -newer "$cubin")" ]; then
            continue
        fi
        log=$(compile -cubin "-arch=sm_$arch" -Xptxas -v,--warn-on-spills -o "$cubin" 2>&1) || { rm -f "$cubin"; echo "$log" >&2; exit 1; }
        echo "$log" | awk -v arch="sm_$arch" '
            /Compiling entry function/ { split($0, part, "\047"); kernel = part[2] }
            /spill stores/ { spills = $5 " bytes spilled" }
            /Used [0-9]+ registers/ { match($0, /[0-9]+ registers/); used = substr($0, RSTART, RLENGTH)
                shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH) : "0 bytes smem"
                printf "%-36s %s  %14s  %-16s  %s\n", kernel, arch, used, spills, shared }'
    done
done
[ -n "$check" ] || list > "$here/kernels.txt"
