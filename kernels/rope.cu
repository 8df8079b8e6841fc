// x1' = x1 cos - x2 sin; x2' = x2 cos + x1 sin, in place, x1 and x2 the halves of a head's `dim` elements; `direction` -1 negates sin,
// which is the inverse and the backward.
//
//   x      T [tokens, heads, dim], tokens `token_stride` and heads `head_stride` elements apart, dim dense and even
//   table  fp32 [positions, dim], rows `table_stride` apart: dim / 2 cosines, then dim / 2 sines; positions int32 [tokens]
//
// A position outside the table gives NaN.
//
// Launch: blocks of 128 threads, a thread rotates 8 pairs of one head: grid x = ceil(heads ceil(dim / 16) / 128), grid y =
// min(tokens, 65535), tokens beyond by a loop. 16 bytes at a time where dim / 2 is a multiple of 8 and all begins at multiples of 16 bytes.
// Floor: 4 bytes an element of bf16, the table from the cache; meant to run at 0.8 of the bandwidth. Reference: ScalarKernels.rope.
#include "inlay.cuh"

template <typename T>
__device__ __forceinline__ void rotate8(T* head, const float* angles, int first, int half, float direction, bool known, bool packed) {
    float x1[8], x2[8], cosines[8], sines[8];
    read8(x1, head, first, half, packed);
    read8(x2, head + half, first, half, packed);
    if (known) {
        read8(cosines, angles, first, half, packed);
        read8(sines, angles + half, first, half, packed);
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const float cosine = known ? cosines[i] : __uint_as_float(0x7fc00000u);
        const float sine = known ? direction * sines[i] : cosine;
        const float first_half = x1[i] * cosine - x2[i] * sine;
        x2[i] = x2[i] * cosine + x1[i] * sine;
        x1[i] = first_half;
    }
    write8(head, x1, first, half, packed);
    write8(head + half, x2, first, half, packed);
}

template <typename T>
__device__ __forceinline__ void rotate(T* x, long long token_stride, long long head_stride, const float* table, long long table_stride,
                                       int table_rows, const int* positions, float direction, long long tokens, int heads, int half) {
    const bool packed = half % 8 == 0 && aligned_rows(x, token_stride) && aligned_rows(x, head_stride)
            && aligned_rows(table, table_stride);
    const int pieces = (half + 7) / 8;
    const int mine = blockIdx.x * blockDim.x + threadIdx.x;
    const int head = mine / pieces;
    for (long long n = blockIdx.y; n < tokens && head < heads; n += gridDim.y) {
        const int position = positions[n];
        const bool known = position >= 0 && position < table_rows;
        rotate8(x + n * token_stride + head * head_stride, table + (known ? position * table_stride : 0), mine % pieces * 8, half,
                direction, known, packed);
    }
}

#define ROPE(name, T) \
    extern "C" __global__ void __launch_bounds__(128) \
        name(T* x, long long token_stride, long long head_stride, const float* table, long long table_stride, int table_rows, \
             const int* positions, float direction, long long tokens, int heads, int half) { \
        rotate(x, token_stride, head_stride, table, table_stride, table_rows, positions, direction, tokens, heads, half); \
    } \
    INLAY_KERNEL(name)

ROPE(rope_bf16, bf16);
ROPE(rope_f32, float);
