// What makes a row's bits in linear.cu, gated_linear.cu and linear_any.cu: where weights lie, slices of K, the products of a stage and the
// sum of slices.
#pragma once

#include "inlay.cuh"

#define GROUP 128
#define SLICES 4
#define STEP 64  // of k, in one stage of the pipeline
#define WARPS 4

struct Linear {
    const bf16* x;
    const bf16* w;
    void* y;
    long long x_stride, w_stride, y_stride;
    int m, o, k, y_f32;
};

__device__ __forceinline__ void put(const Linear& a, int row, int o, float value) {
    if (a.y_f32) {
        static_cast<float*>(a.y)[row * a.y_stride + o] = value;
    } else {
        set(static_cast<bf16*>(a.y) + row * a.y_stride + o, value);
    }
}

// The k at which a stage of a slice begins.
__device__ __forceinline__ int begin_of(int stage, int slice) {
    const unsigned at = stage;  // whose division by a power of two is a shift
    return (at / (GROUP / STEP) * SLICES + slice) * GROUP + at % (GROUP / STEP) * STEP;
}

__device__ __forceinline__ int stages_of(int k, int slice) {
    return ((k + GROUP - 1) / GROUP - slice + SLICES - 1) / SLICES * (GROUP / STEP);
}

// Where [rows from `row`, k from `k`] of the weight begins, and how far its rows are apart.
struct Source {
    const bf16* at;
    long long stride;

    // Row r of a warp's squares of 16 rows, how far it is to the next, and whose output it is, counted from the warp's first.
    __device__ __forceinline__ const bf16* row(int square, int r) const { return at + r * stride + square * 16 * stride; }
    __device__ __forceinline__ long long stride_of(int) const { return stride; }
    static __device__ __forceinline__ int output(int square, int r) { return square * 16 + r; }
};

__device__ __forceinline__ unsigned long long entry(const unsigned long long* table, int edge, int columns, int row, int k) {
    return table == nullptr || k >= columns ? 0 : table[static_cast<long long>(row / edge) * (columns / edge) + k / edge];
}

__device__ __forceinline__ Source source(const Linear& a, unsigned long long tile, int edge, int row, int k) {
    Source from;
    if (tile != 0) {
        from.at = reinterpret_cast<const bf16*>(tile) + static_cast<long long>(row % edge) * edge + k % edge;
        from.stride = edge;
    } else {
        from.at = a.w + row * a.w_stride + k;
        from.stride = a.w_stride;
    }
    return from;
}

// d[MT][NT] += w x^T over STEP of k. A lane has elements 8t to 8t + 7 of 32 where the tensor core's fragment means 2t, 2t + 1, 2t + 8,
// 2t + 9 of two times 16: the same exchange of k in both operands.
template <int MT, int NT, bool MIXED>
__device__ __forceinline__ void multiply(float d[MT][NT][4], const uint4* w, const uint4* x, const unsigned mask[2]) {
    const int lane = threadIdx.x % INLAY_WARP;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        uint4 upper[MT], lower[MT];
#pragma unroll
        for (int i = 0; i < MT; i++) {
            upper[i] = w[(i * 4 + half) * INLAY_WARP + lane];
            lower[i] = w[(i * 4 + 2 + half) * INLAY_WARP + lane];
        }
#pragma unroll
        for (int n = 0; n < NT; n++) {
            const unsigned rows = MIXED ? mask[n / 4] >> (n % 4 * 8) & 0xff : 0xff;
            if (MIXED && rows == 0) {
                continue;
            }
            const uint4 b = x[(n * 2 + half) * INLAY_WARP + lane];
            const unsigned b0[2] = {b.x, b.y}, b1[2] = {b.z, b.w};
#pragma unroll
            for (int i = 0; i < MT; i++) {
                const unsigned a0[4] = {upper[i].x, lower[i].x, upper[i].y, lower[i].y};
                const unsigned a1[4] = {upper[i].z, lower[i].z, upper[i].w, lower[i].w};
                if (MIXED && rows != 0xff) {
                    // Rows of x that have another source keep their sums, whatever is not finite here.
                    float all[4] = {d[i][n][0], d[i][n][1], d[i][n][2], d[i][n][3]};
                    mma_bf16_16x8x16(all, a0, b0);
                    mma_bf16_16x8x16(all, a1, b1);
                    const unsigned mine = rows >> (lane % 4 * 2);
#pragma unroll
                    for (int j = 0; j < 4; j++) {
                        d[i][n][j] = mine >> (j & 1) & 1 ? all[j] : d[i][n][j];
                    }
                } else {
                    mma_bf16_16x8x16(d[i][n], a0, b0);
                    mma_bf16_16x8x16(d[i][n], a1, b1);
                }
            }
        }
    }
}

template <int MT, int NT>
__device__ __forceinline__ void zero(float d[MT][NT][4]) {
#pragma unroll
    for (int i = 0; i < MT; i++) {
#pragma unroll
        for (int n = 0; n < NT; n++) {
            d[i][n][0] = d[i][n][1] = d[i][n][2] = d[i][n][3] = 0;
        }
    }
}

// ---- sums of slices: those of a block lie one after another, [M, rows of w] each ----

// The sum at `at` in the first slice, `size` elements before the next, in the order of slices.
template <typename From>
__device__ __forceinline__ float sum_of_slices(From at, long long size) {
    float sum = at[0];
#pragma unroll
    for (int slice = 1; slice < SLICES; slice++) {
        sum += at[slice * size];
    }
    return sum;
}

// A warp's slice goes from its registers to [8, 16 MT] of `sums`.
template <int MT>
__device__ __forceinline__ void keep_in_block(float d[MT][1][4], float* sums) {
    const int warp = threadIdx.x / INLAY_WARP, lane = threadIdx.x % INLAY_WARP, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < MT; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            sums[(warp * 8 + 2 * t + (j & 1)) * 16 * MT + i * 16 + j / 2 * 8 + g] = d[i][0][j];
        }
    }
    __syncthreads();
}

template <int MT>
__device__ __forceinline__ void finish_in_block(const Linear& a, int row, int first_m, float d[MT][1][4], float* sums) {
    const int rows = 16 * MT;
    keep_in_block<MT>(d, sums);
    for (int i = threadIdx.x; i < 8 * rows; i += blockDim.x) {
        const int m = first_m + i / rows, o = row + i % rows;
        if (m < a.m && o < a.o) {
            put(a, m, o, sum_of_slices(sums + i, 8 * rows));
        }
    }
}
