// What linear.cu and gated_linear.cu do alike: stages of k on their way into shared memory while those before them are multiplied, and the
// slices of a grid. `Items` says what a stage takes of the weights, and for which rows of x.
#pragma once

#include "linears.cuh"

// MT x 16 rows of w for each warp, NT x 8 rows of x; SHARED: the warps share x and one slice, else each has a slice.
template <int MT, int NT, bool SHARED>
struct Shape {
    static const int STAGES = MT == 1 && NT == 1 ? 6 : 4;
    static const int ROWS = 16 * MT * (SHARED ? WARPS : 1);
    static const int W_PACKS = MT * 4 * INLAY_WARP;  // of a warp and stage
    static const int X_PACKS = NT * 2 * INLAY_WARP;
    static const int STAGE_PACKS = SHARED ? WARPS * W_PACKS + X_PACKS : WARPS * (W_PACKS + X_PACKS);
    static const int BYTES = STAGES * STAGE_PACKS * 16 + WARPS * STAGES * 8;  // and the masks
};

// ---- stages ----

// Begins the copies of one item: each lane fetches the packs that it will multiply, of x where shared a quarter of them.
template <int MT, int NT, bool SHARED, typename From>
__device__ __forceinline__ void fetch(const Linear& a, const From& from, int row, int k, uint4* w, uint4* x) {
    const int lane = threadIdx.x % INLAY_WARP, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < MT * 4; i++) {
        const int square = i / 4, r = i / 2 % 2 * 8 + g, at = i % 2 * 32 + t * 8;
        const bool valid = row + From::output(square, r) < a.o && k + at < a.k;
        cp_async16(w + i * INLAY_WARP + lane, valid ? from.row(square, r) + at : a.w, valid);
    }
    const int share = SHARED ? NT * 2 / WARPS : NT * 2;
    const int first = SHARED ? threadIdx.x / INLAY_WARP * share : 0;
#pragma unroll
    for (int i = 0; i < share; i++) {
        const int m = (first + i) / 2 * 8 + g, at = k + (first + i) % 2 * 32 + t * 8;
        const bool valid = m < a.m && at < a.k;
        cp_async16(x + (first + i) * INLAY_WARP + lane, valid ? a.x + m * a.x_stride + at : a.x, valid);
    }
}

template <int MT, int NT, bool SHARED, bool MIXED, typename Items>
__device__ __forceinline__ void pipeline(const Linear& a, Items& items, int row, uint4* ring, float d[MT][NT][4]) {
    typedef Shape<MT, NT, SHARED> S;
    const int warp = threadIdx.x / INLAY_WARP;
    uint4* w = ring + warp * (SHARED ? S::W_PACKS : S::W_PACKS + S::X_PACKS);
    uint4* x = SHARED ? ring + WARPS * S::W_PACKS : w + S::W_PACKS;
    uint2* masks = reinterpret_cast<uint2*>(ring + S::STAGES * S::STAGE_PACKS) + warp * S::STAGES;
    int issued = 0;
    const auto issue = [&] {
        if (items.more()) {
            int k;
            unsigned mask[2] = {0, 0};
            const auto from = items.next(a, &k, mask);
            const int stage = issued % S::STAGES;
            fetch<MT, NT, SHARED>(a, from, row, k, w + stage * S::STAGE_PACKS, x + stage * S::STAGE_PACKS);
            if (MIXED && threadIdx.x % INLAY_WARP == 0) {
                masks[stage] = uint2{mask[0], mask[1]};
            }
            issued++;
        }
        cp_async_commit();
    };
    for (int i = 0; i < S::STAGES - 1; i++) {
        issue();
    }
    for (int done = 0; done < issued; done++) {
        cp_async_wait<S::STAGES - 2>();
        // Now the stage before this one is free in all lanes that read it.
        if (SHARED) {
            __syncthreads();
        } else {
            __syncwarp();
        }
        issue();
        const int stage = done % S::STAGES;
        unsigned mask[2] = {0, 0};
        if (MIXED) {
            mask[0] = masks[stage].x;
            mask[1] = masks[stage].y;
        }
        multiply<MT, NT, MIXED>(d, w + stage * S::STAGE_PACKS, x + stage * S::STAGE_PACKS, mask);
    }
    cp_async_wait<0>();
    __syncthreads();
}

// ---- slices of a grid ----

// A block's slice goes to `partial`; true in the block that comes last, for which `partial` has all of them, [SLICES, M, 64 MT] for each
// blockIdx.x. It calls begin_anew once it has them.
template <int MT, int NT>
__device__ __forceinline__ bool last_of_slices(const Linear& a, float d[MT][NT][4], float* partial, int* counters) {
    __shared__ int arrived;
    const int warp = threadIdx.x / INLAY_WARP, lane = threadIdx.x % INLAY_WARP, g = lane / 4, t = lane % 4;
    const int rows = 16 * MT * WARPS;
    float* mine = partial + (static_cast<long long>(blockIdx.x) * SLICES + blockIdx.y) * a.m * rows;
#pragma unroll
    for (int i = 0; i < MT; i++) {
#pragma unroll
        for (int n = 0; n < NT; n++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int m = n * 8 + 2 * t + (j & 1);
                if (m < a.m) {
                    mine[m * rows + (warp * MT + i) * 16 + j / 2 * 8 + g] = d[i][n][j];
                }
            }
        }
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        arrived = atomicAdd(counters + blockIdx.x, 1);
    }
    __syncthreads();
    const bool last = arrived == SLICES - 1;
    if (last) {
        __threadfence();
    }
    return last;
}

// Other blocks wrote the slices: they are not read from the first-level cache.
__device__ __forceinline__ const volatile float* slices_of_block(const float* partial, long long slice) {
    return partial + blockIdx.x * SLICES * slice;
}

__device__ __forceinline__ void begin_anew(int* counters) {
    if (threadIdx.x == 0) {
        counters[blockIdx.x] = 0;
    }
}
