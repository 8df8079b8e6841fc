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

// Begins the copies of one item: each lane fetches the packs that it will multiply, of x where shared a quarter of them. Addresses where
// nothing is valid are made like the others, and not read.
template <int MT, int NT, bool SHARED, typename From>
__device__ __forceinline__ void fetch(const Linear& a, const From& from, int row, int k, const bf16* x_row, uint4* w, uint4* x) {
    const int lane = threadIdx.x % INLAY_WARP, g = lane / 4, t = lane % 4;
    const bool within[2] = {k + t * 8 < a.k, k + t * 8 + 32 < a.k};
#pragma unroll
    for (int i = 0; i < MT * 2; i++) {
        const int square = i / 2, r = i % 2 * 8;
        const bf16* at = from.row(square, g) + r * from.stride_of(square) + t * 8;
        const bool valid = row + From::output(square, r) + g < a.o;
        cp_async16(w + 2 * i * INLAY_WARP + lane, at, valid && within[0]);
        cp_async16(w + (2 * i + 1) * INLAY_WARP + lane, at + 32, valid && within[1]);
    }
    const int share = SHARED ? NT / WARPS : NT;
    const int first = SHARED ? threadIdx.x / INLAY_WARP * share : 0;
#pragma unroll
    for (int i = 0; i < share; i++) {
        const bf16* at = x_row + k + i * 8 * a.x_stride;
        const bool valid = (first + i) * 8 + g < a.m;
        cp_async16(x + 2 * (first + i) * INLAY_WARP + lane, at, valid && within[0]);
        cp_async16(x + (2 * (first + i) + 1) * INLAY_WARP + lane, at + 32, valid && within[1]);
    }
}

// Where a lane's first pack of x begins at k = 0.
template <int NT, bool SHARED>
__device__ __forceinline__ const bf16* x_row_of(const Linear& a) {
    const int lane = threadIdx.x % INLAY_WARP, first = SHARED ? threadIdx.x / INLAY_WARP * (NT / WARPS) * 8 : 0;
    return a.x + (first + lane / 4) * a.x_stride + lane % 4 * 8;
}

template <int MT, int NT, bool SHARED, bool MIXED, typename Items>
__device__ __forceinline__ void pipeline(const Linear& a, Items& items, int row, uint4* ring, float d[MT][NT][4]) {
    typedef Shape<MT, NT, SHARED> S;
    const int warp = threadIdx.x / INLAY_WARP;
    uint4* w = ring + warp * (SHARED ? S::W_PACKS : S::W_PACKS + S::X_PACKS);
    uint4* x = SHARED ? ring + WARPS * S::W_PACKS : w + S::W_PACKS;
    uint2* masks = reinterpret_cast<uint2*>(ring + S::STAGES * S::STAGE_PACKS) + warp * S::STAGES;
    const bf16* x_row = x_row_of<NT, SHARED>(a);
    int issued = 0, free = 0, ready = 0;
    const auto issue = [&] {
        if (items.more()) {
            int k;
            unsigned mask[2] = {0, 0};
            const auto from = items.next(a, &k, mask);
            fetch<MT, NT, SHARED>(a, from, row, k, x_row, w + free * S::STAGE_PACKS, x + free * S::STAGE_PACKS);
            if (MIXED && threadIdx.x % INLAY_WARP == 0) {
                masks[free] = uint2{mask[0], mask[1]};
            }
            free = free == S::STAGES - 1 ? 0 : free + 1;
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
        unsigned mask[2] = {0, 0};
        if (MIXED) {
            mask[0] = masks[ready].x;
            mask[1] = masks[ready].y;
        }
        multiply<MT, NT, MIXED>(d, w + ready * S::STAGE_PACKS, x + ready * S::STAGE_PACKS, mask);
        ready = ready == S::STAGES - 1 ? 0 : ready + 1;
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
