// x1' = x1 cos - x2 sin; x2' = x2 cos + x1 sin, in place, x1 and x2 the halves of a head's `dim` elements; `direction` -1 negates sin,
// which is the inverse and the backward. Products and sums are rounded each by itself, so that every kernel here gives the same bits.
//
//   x      T [tokens, heads, dim], tokens `token_stride` and heads `head_stride` elements apart, dim dense and even
//   table  fp32 [positions, dim], rows `table_stride` apart: dim / 2 cosines, then dim / 2 sines; positions int32 [tokens]
//
// A position outside the table gives NaN.
//
// rope_keep does it to a query and a key, and writes the key and a value to the last position of each token's sequence, in one launch: the
// bits of rope, rope and keep.cu.
//
//   query         as x; key, value T [tokens, groups, dim], dense
//   pages         addresses [tokens, `most`] and lengths int [tokens], as paged_attention.cu has them, with offsets in bytes
//
// Launch: blocks of 128 threads, a thread rotates 8 pairs of one head (and copies as many of the value): grid x = ceil(heads
// ceil(dim / 16) / 128), where rope_keep's heads are the query's and then the key's, grid y = min(tokens, 65535), tokens beyond by a loop.
// 16 bytes at a time where dim / 2 is a multiple of 8 and all begins at multiples of 16 bytes.
// Floor: 4 bytes an element of bf16, the table from the cache; meant to run at 0.8 of the bandwidth; one launch's latency at the sizes of
// decoding. References: ScalarKernels.rope, Kernels.ropeAndKeep.
#include "inlay.cuh"
#include "pages.cuh"

// Eight pairs of a head, rotated.
template <typename T>
__device__ __forceinline__ void rotated8(float x1[8], float x2[8], const T* head, const float* angles, int first, int half, float direction,
                                         bool known, bool packed) {
    float cosines[8], sines[8];
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
        const float first_half = __fsub_rn(__fmul_rn(x1[i], cosine), __fmul_rn(x2[i], sine));
        x2[i] = __fadd_rn(__fmul_rn(x2[i], cosine), __fmul_rn(x1[i], sine));
        x1[i] = first_half;
    }
}

template <typename T>
__device__ __forceinline__ void write_pairs(T* head, const float x1[8], const float x2[8], int first, int half, bool packed) {
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
    const int head = mine / pieces, first = mine % pieces * 8;
    for (long long n = blockIdx.y; n < tokens && head < heads; n += gridDim.y) {
        const int position = positions[n];
        const bool known = position >= 0 && position < table_rows;
        T* at = x + n * token_stride + head * head_stride;
        float x1[8], x2[8];
        rotated8(x1, x2, at, table + (known ? position * table_stride : 0), first, half, direction, known, packed);
        write_pairs(at, x1, x2, first, half, packed);
    }
}

template <typename T>
__device__ __forceinline__ void rotate_and_keep(T* query, long long token_stride, long long head_stride, T* key, const T* value,
                                                const float* table, long long table_stride, int table_rows, const int* positions,
                                                const unsigned long long* pages, long long most, const int* lengths, long long key_offset,
                                                long long value_offset, long long tokens, int heads, int groups, int half) {
    const bool whole = half % 8 == 0, table_packed = whole && aligned_rows(table, table_stride);
    const int dim = 2 * half, pieces = (half + 7) / 8;
    const int mine = blockIdx.x * blockDim.x + threadIdx.x;
    const int head = mine / pieces, group = head - heads, first = mine % pieces * 8;
    for (long long n = blockIdx.y; n < tokens && head < heads + groups; n += gridDim.y) {
        const int position = positions[n];
        const bool known = position >= 0 && position < table_rows;
        const long long row = (n * groups + group) * dim;
        T* at = group < 0 ? query + n * token_stride + head * head_stride : key + row;
        const bool packed = table_packed && aligned16(at);
        float x1[8], x2[8];
        rotated8(x1, x2, at, table + (known ? position * table_stride : 0), first, half, 1, known, packed);
        write_pairs(at, x1, x2, first, half, packed);
        if (group >= 0) {
            const int last = lengths[n] - 1;
            T* key_at = row_in_pages<T>(pages + n * most, key_offset, group, last, dim);
            T* value_at = reinterpret_cast<T*>(reinterpret_cast<char*>(key_at) + (value_offset - key_offset));
            write_pairs(key_at, x1, x2, first, half, whole && aligned16(key_at));
            const bool copied = whole && aligned16(value_at) && aligned16(value + row);
            copy8(value_at, value + row, first, half, copied);
            copy8(value_at + half, value + row + half, first, half, copied);
        }
    }
}

#define ROPE(name, T) \
    extern "C" __global__ void __launch_bounds__(128) \
        name(T* x, long long token_stride, long long head_stride, const float* table, long long table_stride, int table_rows, \
             const int* positions, float direction, long long tokens, int heads, int half) { \
        rotate(x, token_stride, head_stride, table, table_stride, table_rows, positions, direction, tokens, heads, half); \
    } \
    INLAY_KERNEL(name)

#define ROPE_KEEP(name, T) \
    extern "C" __global__ void __launch_bounds__(128) \
        name(T* query, long long token_stride, long long head_stride, T* key, const T* value, const float* table, long long table_stride, \
             int table_rows, const int* positions, const unsigned long long* pages, long long most, const int* lengths, \
             long long key_offset, long long value_offset, long long tokens, int heads, int groups, int half) { \
        rotate_and_keep(query, token_stride, head_stride, key, value, table, table_stride, table_rows, positions, pages, most, lengths, \
                        key_offset, value_offset, tokens, heads, groups, half); \
    } \
    INLAY_KERNEL(name)

ROPE(rope_bf16, bf16);
ROPE(rope_f32, float);
ROPE_KEEP(rope_keep_bf16, bf16);
ROPE_KEEP(rope_keep_f32, float);
