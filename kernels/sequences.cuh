// What the kernels of whole sequences share (causal_attention.cu, causal_gradient.cu): where rows lie, tiles of them in shared memory, and
// products of tiles on tensor cores.
#pragma once

#include "inlay.cuh"
#include "pages.cuh"

#define ROWS 64
#define THREADS 128

// Elements of shared memory from a row to the next: eight rows of a matrix lie in different banks.
#define PITCH(D) ((D) + 8)

struct Strides {
    long long row, head;
};

// ---- where rows lie ----

// Of a sequence's positions, those below `length`; null beyond.
template <typename T>
struct RowsOf {
    const T* first;
    long long stride;
    int length;

    __device__ __forceinline__ const T* row(int position) const { return position < length ? first + position * stride : nullptr; }
};

template <typename T>
struct PagesOf {
    const unsigned long long* pages;
    long long offset;
    int head, dim, length;

    __device__ __forceinline__ const T* row(int position) const {
        return position < length ? row_in_pages<const T>(pages, offset, head, position, dim) : nullptr;
    }
};

struct Sequence {
    int start, length, tile;  // tile < 0: this block has nothing to do
};

// Of blockIdx.x the sequence, and which of its tiles of ROWS; the longest rows first.
__device__ __forceinline__ Sequence sequence_of(const int* starts, int sequences, bool descending) {
    int left = blockIdx.x;
    for (int s = 0; s < sequences; s++) {
        const int start = starts[s], length = starts[s + 1] - start, tiles = (length + ROWS - 1) / ROWS;
        if (left < tiles) {
            const Sequence found = {start, length, descending ? tiles - 1 - left : left};
            return found;
        }
        left -= tiles;
    }
    const Sequence none = {0, 0, -1};
    return none;
}

// The sequence of row n.
__device__ __forceinline__ Sequence sequence_with(const int* starts, int n) {
    int s = 0;
    while (starts[s + 1] <= n) {
        s++;
    }
    const Sequence found = {starts[s], starts[s + 1] - starts[s], 0};
    return found;
}

// Begins the copies of COUNT rows from `position` into shared memory, zeros beyond the sequence and beyond `dim`.
template <int D, int COUNT, typename Rows>
__device__ __forceinline__ void fetch(bf16* to, const Rows& rows, int position, int dim) {
#pragma unroll
    for (int i = 0; i < COUNT * D / 8 / THREADS; i++) {
        const int pack = i * THREADS + threadIdx.x, r = pack / (D / 8), c = pack % (D / 8) * 8;
        const bf16* from = rows.row(position + r);
        const int count = from == nullptr ? 0 : dim - c;
        bf16* target = to + r * PITCH(D) + c;
        if (count >= 8 && aligned16(from + c)) {
            cp_async16(target, from + c);
        } else {
            Pack<bf16> values;
#pragma unroll
            for (int j = 0; j < 8; j++) {
                values.at[j] = j < count ? from[c + j] : 0;
            }
            store_pack(target, values);
        }
    }
}

// ---- products of tiles in shared memory ----

// The A fragment of 16 rows at columns k to k + 15.
template <int D>
__device__ __forceinline__ void rows_fragment(unsigned a[4], const bf16* rows, int k) {
    const int lane = threadIdx.x % INLAY_WARP;
    ldmatrix_x4(a, rows + lane % 16 * PITCH(D) + k + lane / 16 * 8);
}

// B fragments, rows being columns of the product: columns k to k + 31 of 8 rows.
template <int D>
__device__ __forceinline__ void across_fragments(unsigned b[4], const bf16* rows, int k) {
    const int lane = threadIdx.x % INLAY_WARP;
    ldmatrix_x4(b, rows + lane % 8 * PITCH(D) + k + lane / 8 * 8);
}

// d[N][4] = a b^T with a [16, D] and b [8 N, D] in shared memory.
template <int D, int N>
__device__ __forceinline__ void multiply_rows(float d[N][4], const bf16* a, const bf16* b) {
#pragma unroll
    for (int n = 0; n < N; n++) {
        d[n][0] = d[n][1] = d[n][2] = d[n][3] = 0;
    }
#pragma unroll
    for (int k = 0; k < D; k += 32) {
        unsigned first[4], second[4];
        rows_fragment<D>(first, a, k);
        rows_fragment<D>(second, a, k + 16);
#pragma unroll
        for (int n = 0; n < N; n++) {
            unsigned bs[4];
            across_fragments<D>(bs, b + n * 8 * PITCH(D), k);
            mma_bf16_16x8x16(d[n], first, bs);
            mma_bf16_16x8x16(d[n], second, bs + 2);
        }
    }
}

__device__ __forceinline__ float bf16_rest(float x) {
    return x - to_float(to_bf16(x));
}

// d[D / 8][4] += p b with p [16, 8 N] as multiply_rows left it and b [8 N, D] in shared memory; p as the sum of two bf16.
template <int D, int N>
__device__ __forceinline__ void add_product(float d[D / 8][4], const float p[N][4], const bf16* b) {
    const int lane = threadIdx.x % INLAY_WARP;
#pragma unroll
    for (int k = 0; k < N; k += 2) {
        const unsigned high[4] = {to_bf16x2(p[k][0], p[k][1]), to_bf16x2(p[k][2], p[k][3]), to_bf16x2(p[k + 1][0], p[k + 1][1]),
                                  to_bf16x2(p[k + 1][2], p[k + 1][3])};
        const unsigned low[4] = {to_bf16x2(bf16_rest(p[k][0]), bf16_rest(p[k][1])), to_bf16x2(bf16_rest(p[k][2]), bf16_rest(p[k][3])),
                                 to_bf16x2(bf16_rest(p[k + 1][0]), bf16_rest(p[k + 1][1])),
                                 to_bf16x2(bf16_rest(p[k + 1][2]), bf16_rest(p[k + 1][3]))};
#pragma unroll
        for (int n = 0; n < D / 8; n += 2) {
            unsigned bs[4];
            ldmatrix_x4_transposed(bs, b + (k * 8 + lane / 8 % 2 * 8 + lane % 8) * PITCH(D) + (n + lane / 16) * 8);
            mma_bf16_16x8x16(d[n], high, bs);
            mma_bf16_16x8x16(d[n], low, bs);
            mma_bf16_16x8x16(d[n + 1], high, bs + 2);
            mma_bf16_16x8x16(d[n + 1], low, bs + 2);
        }
    }
}

template <int D>
__device__ __forceinline__ void zero(float d[D / 8][4]) {
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
        d[n][0] = d[n][1] = d[n][2] = d[n][3] = 0;
    }
}

// Writes a warp's rows g, g + 8 of [16, D] where they are below `rows`, times `factor`.
template <int D>
__device__ __forceinline__ void write_rows(bf16* to, long long stride, const float d[D / 8][4], const float factor[2], int rows, int dim) {
    const int lane = threadIdx.x % INLAY_WARP, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        bf16* row = to + (g + 8 * i) * stride;
        if (g + 8 * i < rows) {
#pragma unroll
            for (int n = 0; n < D / 8; n++) {
                const int c = n * 8 + 2 * t;
                const float a = d[n][2 * i] * factor[i], b = d[n][2 * i + 1] * factor[i];
                if (c + 1 < dim && (reinterpret_cast<unsigned long long>(row + c) & 3) == 0) {
                    *reinterpret_cast<unsigned*>(row + c) = to_bf16x2(a, b);
                } else {
                    if (c < dim) {
                        set(row + c, a);
                    }
                    if (c + 1 < dim) {
                        set(row + c + 1, b);
                    }
                }
            }
        }
    }
}

__device__ __forceinline__ float quad_max(float x) {
    x = larger(x, __shfl_xor_sync(INLAY_ALL_LANES, x, 1));
    return larger(x, __shfl_xor_sync(INLAY_ALL_LANES, x, 2));
}

__device__ __forceinline__ float quad_sum(float x) {
    x += __shfl_xor_sync(INLAY_ALL_LANES, x, 1);
    return x + __shfl_xor_sync(INLAY_ALL_LANES, x, 2);
}

struct Packed {
    const int* starts;
    int sequences, heads, groups, dim;
    long long tokens;
    float scale;
};

// ---- any D up to 256, bf16 or fp32: a warp for each row ----

#define MOST 256
#define WARPS (THREADS / INLAY_WARP)
#define PART (MOST / INLAY_WARP)  // elements of a row that a lane has: lane, lane + 32, ...

template <typename T>
__device__ __forceinline__ void load_row(float* to, const T* from, int dim) {
    for (int d = threadIdx.x % INLAY_WARP; d < dim; d += INLAY_WARP) {
        to[d] = to_float(from[d]);
    }
}

template <typename T>
__device__ __forceinline__ float dot(const float* a, const T* b, int dim) {
    float sum = 0;
#pragma unroll 4
    for (int d = 0; d < dim; d++) {
        sum = fmaf(a[d], to_float(b[d]), sum);
    }
    return sum;
}

// sum += factors[j] rows[position + j] for j < count.
template <typename Rows>
__device__ __forceinline__ void add_rows(float sum[PART], const float* factors, const Rows& rows, int position, int count, int dim) {
#pragma unroll 1
    for (int j = 0; j < count; j++) {
        const auto* row = rows.row(position + j);
#pragma unroll
        for (int i = 0; i < PART; i++) {
            const int d = threadIdx.x % INLAY_WARP + INLAY_WARP * i;
            sum[i] += d < dim ? factors[j] * to_float(row[d]) : 0;
        }
    }
}

template <typename T>
__device__ __forceinline__ void write_row(T* to, const float sum[PART], float factor, int dim) {
#pragma unroll
    for (int i = 0; i < PART; i++) {
        const int d = threadIdx.x % INLAY_WARP + INLAY_WARP * i;
        if (d < dim) {
            set(to + d, sum[i] * factor);
        }
    }
}
