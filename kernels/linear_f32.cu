// y[m, o] = sum_k x[m, k] w[o, k] for few rows m of fp32; a tile table may stand in for squares of w.
//
//   x      fp32 [M, K], w [O, K], y [M, O]; rows `..._stride` elements apart, dense in themselves
//   table  null, or [O / edge, K / edge] addresses of contiguous [edge, edge] squares, 0 for w's own
//
// Order of summation: a lane takes packs of 4 lane, lane + 32, ... in ascending order, and the lanes are added as warp_sum does: a row
// has the same bits in any batch and through any table.
// Launch: blocks of 128 threads, grid (ceil(O / 4), ceil(M / 8)): a warp takes one row of w for 8 of x.
// Floor: O K elements; a plain kernel, for models that are kept in fp32. Reference: ScalarKernels.linear.
#include "inlay.cuh"

#define WARPS 4

__device__ __forceinline__ float weight(const float* w, long long w_stride, const unsigned long long* table, int edge, int columns,
                                        int row, int k) {
    const unsigned long long tile =
        table == nullptr ? 0 : table[static_cast<long long>(row / edge) * (columns / edge) + k / edge];
    return tile != 0 ? reinterpret_cast<const float*>(tile)[static_cast<long long>(row % edge) * edge + k % edge] : w[row * w_stride + k];
}

extern "C" __global__ void __launch_bounds__(128)
    linear_f32(const float* x, long long x_stride, const float* w, long long w_stride, const unsigned long long* table, int edge, float* y,
               long long y_stride, int m, int o, int k) {
    const int row = blockIdx.x * WARPS + threadIdx.x / INLAY_WARP, lane = threadIdx.x % INLAY_WARP, first = blockIdx.y * 8;
    if (row >= o) {
        return;
    }
    const bool packed = table == nullptr && aligned_rows(x, x_stride) && aligned_rows(w, w_stride);
    float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int at = lane * 4; at < k; at += INLAY_WARP * 4) {
        const int count = min(4, k - at);
        const bool whole = packed && count == 4;
        Pack<float> weights = {{0, 0, 0, 0}};
        if (whole) {
            weights = load_pack(w + row * w_stride + at);
        } else {
            for (int j = 0; j < count; j++) {
                weights.at[j] = weight(w, w_stride, table, edge, k, row, at + j);
            }
        }
#pragma unroll
        for (int i = 0; i < 8; i++) {
            if (first + i < m) {
                const float* from = x + (first + i) * x_stride + at;
                Pack<float> values = {{0, 0, 0, 0}};
                if (whole) {
                    values = load_pack(from);
                } else {
                    for (int j = 0; j < count; j++) {
                        values.at[j] = from[j];
                    }
                }
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    sum[i] = fmaf(weights.at[j], values.at[j], sum[i]);
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const float total = warp_sum(sum[i]);
        if (lane == 0 && first + i < m) {
            y[(first + i) * y_stride + row] = total;
        }
    }
}
INLAY_KERNEL(linear_f32);
