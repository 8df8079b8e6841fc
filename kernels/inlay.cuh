// What the CUDA kernels share: element types, 16-byte packs, reductions of fixed order, copies into shared memory, tensor cores.
//
// Everything compiles twice: by nvcc for a GPU, and by a C++ compiler for the CPU with tests/cuda/host.h in place of CUDA, where the
// warp-collective functions are made by the host.
#pragma once

typedef unsigned short bf16;  // the upper half of a float

#ifdef __CUDACC__
// Makes a kernel known by its name and the types of its parameters to the host; a GPU finds it in its module.
#define INLAY_KERNEL(name) static_assert(true, #name)
// Dynamic shared memory as an array of `type`, aligned to 16 bytes; all uses in one kernel are the same bytes.
#define INLAY_DYNAMIC_SHARED(type, name)                                        \
    extern __shared__ __align__(16) unsigned char inlay_dynamic_shared[];       \
    type* name = reinterpret_cast<type*>(inlay_dynamic_shared)
#endif

#define INLAY_WARP 32
#define INLAY_ALL_LANES 0xffffffffu

// ---- elements ----

__device__ __forceinline__ float to_float(bf16 x) {
    return __uint_as_float(static_cast<unsigned>(x) << 16);
}

__device__ __forceinline__ float to_float(float x) {
    return x;
}

// To bf16 by rounding to the nearest, ties to even; NaN stays NaN.
__device__ __forceinline__ bf16 to_bf16(float x) {
#ifdef __CUDACC__
    bf16 bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
#else
    const unsigned bits = __float_as_uint(x);
    return static_cast<bf16>(x != x ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
#endif
}

// Two of them in one register, the first in the lower half, as the tensor cores take them.
__device__ __forceinline__ unsigned to_bf16x2(float low, float high) {
    return static_cast<unsigned>(to_bf16(low)) | static_cast<unsigned>(to_bf16(high)) << 16;
}

__device__ __forceinline__ void set(bf16* at, float value) {
    *at = to_bf16(value);
}

__device__ __forceinline__ void set(float* at, float value) {
    *at = value;
}

// ---- 16 bytes at a time ----

template <typename T>
struct __align__(16) Pack {
    static const int N = 16 / sizeof(T);
    T at[N];
};

template <typename T>
__device__ __forceinline__ bool aligned16(const T* at) {
    return (reinterpret_cast<unsigned long long>(at) & 15) == 0;
}

// Whether rows that are `stride` elements apart, the first at `at`, all begin at multiples of 16 bytes.
template <typename T>
__device__ __forceinline__ bool aligned_rows(const T* at, long long stride) {
    return aligned16(at) && (stride * static_cast<long long>(sizeof(T)) & 15) == 0;
}

// One load of 16 bytes; `at` must be a multiple of 16.
template <typename T>
__device__ __forceinline__ Pack<T> load_pack(const T* at) {
#ifndef __CUDACC__
    inlay_host::require_aligned(at, 16, "load_pack");
#endif
    return *reinterpret_cast<const Pack<T>*>(at);
}

template <typename T>
__device__ __forceinline__ void store_pack(T* at, const Pack<T>& pack) {
#ifndef __CUDACC__
    inlay_host::require_aligned(at, 16, "store_pack");
#endif
    *reinterpret_cast<Pack<T>*>(at) = pack;
}

// ---- eight elements of a row of `columns` dense ones, from `first` on; those behind the row's end read as 0 and are not written ----

// `packed`: the row begins at a multiple of 16 bytes.
template <typename T>
__device__ __forceinline__ void read8(float to[8], const T* row, long long first, long long columns, bool packed) {
    if (packed && first + 8 <= columns) {
#pragma unroll
        for (int i = 0; i < 8; i += Pack<T>::N) {
            const Pack<T> pack = load_pack(row + first + i);
#pragma unroll
            for (int j = 0; j < Pack<T>::N; j++) {
                to[i + j] = to_float(pack.at[j]);
            }
        }
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            to[i] = first + i < columns ? to_float(row[first + i]) : 0;
        }
    }
}

template <typename T>
__device__ __forceinline__ void write8(T* row, const float from[8], long long first, long long columns, bool packed) {
    if (packed && first + 8 <= columns) {
#pragma unroll
        for (int i = 0; i < 8; i += Pack<T>::N) {
            Pack<T> pack;
#pragma unroll
            for (int j = 0; j < Pack<T>::N; j++) {
                set(&pack.at[j], from[i + j]);
            }
            store_pack(row + first + i, pack);
        }
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            if (first + i < columns) {
                set(row + first + i, from[i]);
            }
        }
    }
}

// The same bits to another row; `packed`: both rows begin at multiples of 16 bytes.
template <typename T>
__device__ __forceinline__ void copy8(T* to, const T* from, long long first, long long columns, bool packed) {
    if (packed && first + 8 <= columns) {
#pragma unroll
        for (int i = 0; i < 8; i += Pack<T>::N) {
            store_pack(to + first + i, load_pack(from + first + i));
        }
    } else {
        for (int i = 0; i < 8 && first + i < columns; i++) {
            to[first + i] = from[first + i];
        }
    }
}

__device__ __forceinline__ void set_nan(bf16* at) {
    *at = 0x7fc0;
}

__device__ __forceinline__ void set_nan(float* at) {
    *at = __uint_as_float(0x7fc00000u);
}

// What a value becomes by being stored as a T.
__device__ __forceinline__ float rounded(float x, bf16) {
    return to_float(to_bf16(x));
}

__device__ __forceinline__ float rounded(float x, float) {
    return x;
}

// ---- reductions: their order depends on the block's size alone, and every lane gets the same bits ----

template <typename V>
__device__ __forceinline__ V warp_sum(V value) {
#pragma unroll
    for (int distance = INLAY_WARP / 2; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(INLAY_ALL_LANES, value, distance);
    }
    return value;
}

// NaN wins, as in a comparison that asks what is not smaller.
__device__ __forceinline__ float larger(float a, float b) {
    return a > b || a != a ? a : b;
}

__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
    for (int distance = INLAY_WARP / 2; distance > 0; distance /= 2) {
        value = larger(value, __shfl_xor_sync(INLAY_ALL_LANES, value, distance));
    }
    return value;
}

// The sum over a one-dimensional block of whole warps, for every thread: within warps, then over warps in order. All threads call it.
template <typename V>
__device__ __forceinline__ V block_sum(V value) {
    __shared__ V partial[INLAY_WARP];
    const int warps = blockDim.x / INLAY_WARP;
    value = warp_sum(value);
    if (threadIdx.x % INLAY_WARP == 0) {
        partial[threadIdx.x / INLAY_WARP] = value;
    }
    __syncthreads();
    V sum = partial[0];
    for (int warp = 1; warp < warps; warp++) {
        sum += partial[warp];
    }
    __syncthreads();
    return sum;
}

__device__ __forceinline__ float block_max(float value) {
    __shared__ float partial[INLAY_WARP];
    const int warps = blockDim.x / INLAY_WARP;
    value = warp_max(value);
    if (threadIdx.x % INLAY_WARP == 0) {
        partial[threadIdx.x / INLAY_WARP] = value;
    }
    __syncthreads();
    float top = partial[0];
    for (int warp = 1; warp < warps; warp++) {
        top = larger(top, partial[warp]);
    }
    __syncthreads();
    return top;
}

// ---- copies from global to shared memory that go on while the thread computes (sm_80) ----

// Begins a copy of 16 bytes, both addresses multiples of 16; where not `valid`, 16 zero bytes are written and nothing is read.
__device__ __forceinline__ void cp_async16(void* shared, const void* global, bool valid = true) {
#ifdef __CUDACC__
    const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes) : "memory");
#else
    inlay_host::begin_copy(shared, global, valid);
#endif
}

// Ends a group: the copies that this thread began since the last one.
__device__ __forceinline__ void cp_async_commit() {
#ifdef __CUDACC__
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    inlay_host::commit_copies();
#endif
}

// Waits until at most the N groups committed last are under way. Other threads see the bytes after a barrier.
template <int N>
__device__ __forceinline__ void cp_async_wait() {
#ifdef __CUDACC__
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#else
    inlay_host::finish_copies(N);
#endif
}

// ---- tensor cores (sm_80), by a whole warp. Fragments as in the PTX manual, with g = lane / 4 and t = lane % 4 ----

// d += a b for a [16, 16] and b [16, 8] of bf16, d [16, 8] of fp32. A lane holds of d rows g, g + 8 (d[0..1], d[2..3]) at columns 2t,
// 2t + 1; of a, two elements a register, rows g, g + 8, g, g + 8 at columns 2t, 2t, 2t + 8, 2t + 8; of b rows 2t, 2t + 8 of column g.
__device__ __forceinline__ void mma_bf16_16x8x16(float d[4], const unsigned a[4], const unsigned b[2]) {
#ifdef __CUDACC__
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    inlay_host::mma_bf16_16x8x16(d, a, b);
#endif
}

// Four 8 x 8 matrices of bf16 from shared memory: lane l gives the address (a multiple of 16) of row l % 8 of matrix l / 8, and gets of
// each matrix the elements 2t, 2t + 1 of row g. Matrices at rows and columns (0, 0), (8, 0), (0, 8), (8, 8) make the fragment a above.
__device__ __forceinline__ void ldmatrix_x4(unsigned to[4], const void* shared_row) {
#ifdef __CUDACC__
    const unsigned from = static_cast<unsigned>(__cvta_generic_to_shared(shared_row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
#else
    inlay_host::ldmatrix_x4(to, shared_row, false);
#endif
}

// The same, each matrix transposed: the elements of rows 2t, 2t + 1 in column g.
__device__ __forceinline__ void ldmatrix_x4_transposed(unsigned to[4], const void* shared_row) {
#ifdef __CUDACC__
    const unsigned from = static_cast<unsigned>(__cvta_generic_to_shared(shared_row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
#else
    inlay_host::ldmatrix_x4(to, shared_row, true);
#endif
}
