// linear.cu for operands of any alignment, any K and tables of any edge: the same sums of bf16, bit for bit, of operands that are gathered
// one element after another.
//
// Launch: linear_any_bf16 in blocks of 128 threads, grid (ceil(O / 16), ceil(M / 8)): a warp takes one slice.
// Floor: as linear.cu's, which this does not come near. Reference: ScalarKernels.linear.
#include "inlay.cuh"
#include "linears.cuh"

__device__ __forceinline__ bf16 weight(const Linear& a, const unsigned long long* table, int edge, int row, int k) {
    return row >= a.o || k >= a.k ? 0 : *source(a, entry(table, edge, a.k, row, k), edge, row, k).at;
}

extern "C" __global__ void __launch_bounds__(128)
    linear_any_bf16(const bf16* x, long long x_stride, const bf16* w, long long w_stride, const unsigned long long* table, int edge,
                    void* y, long long y_stride, int m, int o, int k, int y_f32) {
    const Linear a = {x, w, y, x_stride, w_stride, y_stride, m, o, k, y_f32};
    __shared__ Pack<bf16> packs[WARPS][6 * INLAY_WARP];
    __shared__ float sums[SLICES * 8 * 16];
    const int warp = threadIdx.x / INLAY_WARP, lane = threadIdx.x % INLAY_WARP, g = lane / 4, t = lane % 4;
    const int row = blockIdx.x * 16, first_m = blockIdx.y * 8;
    const unsigned none[2] = {0, 0};
    float d[1][1][4];
    zero<1, 1>(d);
    for (int stage = 0; stage < stages_of(k, warp); stage++) {
        const int begin = begin_of(stage, warp);
#pragma unroll
        for (int i = 0; i < 6; i++) {
            const int from = begin + i % 2 * 32 + t * 8;
            Pack<bf16> pack;
#pragma unroll
            for (int j = 0; j < 8; j++) {
                if (i < 4) {
                    pack.at[j] = weight(a, table, edge, row + i / 2 * 8 + g, from + j);
                } else {
                    pack.at[j] = first_m + g < m && from + j < k ? x[(first_m + g) * x_stride + from + j] : 0;
                }
            }
            packs[warp][i * INLAY_WARP + lane] = pack;
        }
        __syncwarp();
        const uint4* ready = reinterpret_cast<const uint4*>(packs[warp]);
        multiply<1, 1, false>(d, ready, ready + 4 * INLAY_WARP, none);
        __syncwarp();
    }
    finish_in_block<1>(a, row, first_m, d, sums);
}
INLAY_KERNEL(linear_any_bf16);
