// y[m, o] = sum_k x[m, k] w[o, k] for few rows m of bf16, each weight read from memory once; tile tables may stand in for squares of w.
//
//   x        bf16 [M, K], w bf16 [O, K], y bf16 or fp32 [M, O]; rows `..._stride` elements apart, dense in themselves
//   table    null, or [O / edge, K / edge] addresses of contiguous [edge, edge] squares, 0 for w's own
//   mixed    `tables`, an address of such a table (or 0) for each row of x, and `edges`; rows that share a source share its one read
//   partial  fp32 [SLICES, M, O], `counters` [gridDim.x] of zeros, which are left as zeros (where rows are shared, below)
//
// Order of summation: K is cut into groups of GROUP, slice s of SLICES takes groups s, s + SLICES, ... in ascending order through one chain
// of tensor core products, and the slices are added in their order. That depends on K alone: a row has the same bits for every M, grid and
// table, and whichever entry computes it.
//
// Launch, in blocks of 128 threads, `_8x16` for 8 rows of x and 16 of w:
//   linear_bf16_8x{16,32}         grid x = O / 16 or / 32: a warp takes one slice and reads its own operands, without barriers
//   linear_bf16_{32,64}x{64,128}  grid (O / 64 or / 128, SLICES): a warp takes a quarter of the rows of w, all share x
//   linear_mixed_bf16_...         the same with a table for each row; edges must be multiples of 64, with shared x of the block's rows
// All want 16-byte aligned rows of x and w and squares, K a multiple of 8 and edges multiples of 64; linear_any.cu takes the others.
// Shared memory: see Shape::BYTES, which CudaLinears has too.
// Floor: O K elements and as many of each square that replaces them; meant to run at 0.80 of the bandwidth of an H100 or more for O K of
// Llama-3-8B's linears at 1 and at 64 rows. Reference: ScalarKernels.linear, Kernels.linearMixed.
#include "inlay.cuh"
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

// ---- what comes next: one item is a stage of k and those rows of x that share a source ----

struct OneTable {
    const unsigned long long* table;
    int edge;
    unsigned long long tile;  // of the stage to come, loaded ahead
    int row, slice, stage, stages;

    __device__ __forceinline__ void begin(const Linear& a, int first_row, int my_slice) {
        row = first_row;
        slice = my_slice;
        stage = 0;
        stages = stages_of(a.k, slice);
        table = row < a.o ? table : nullptr;  // where the last block's rows go beyond the weight's, so would the table
        tile = entry(table, edge, a.k, row, begin_of(0, slice));
    }

    __device__ __forceinline__ bool more() const { return stage < stages; }

    __device__ __forceinline__ Source next(const Linear& a, int* k, unsigned*) {
        *k = begin_of(stage, slice);
        const Source from = source(a, tile, edge, row, *k);
        if (++stage < stages) {
            tile = entry(table, edge, a.k, row, begin_of(stage, slice));
        }
        return from;
    }
};

// A lane looks after the rows of x `lane` and `lane + 32`.
struct TableForEachRow {
    const unsigned long long* const* tables;
    const int* edges;
    const unsigned long long* table[2];
    int edge[2];
    unsigned long long tile[2];
    Source from[2];
    unsigned left[2], all[2];  // rows of x of the present stage that have no item yet
    int row, slice, stage, stages;

    __device__ __forceinline__ void begin(const Linear& a, int first_row, int my_slice) {
        row = first_row;
        slice = my_slice;
        stage = 0;
        stages = stages_of(a.k, slice);
        const int lane = threadIdx.x % INLAY_WARP;
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int m = lane + 32 * i;
            table[i] = m < a.m && row < a.o ? tables[m] : nullptr;
            edge[i] = m < a.m ? edges[m] : STEP;
            tile[i] = entry(table[i], edge[i], a.k, row, begin_of(0, slice));
            from[i].at = nullptr;
            from[i].stride = 0;
            left[i] = 0;
            const int count = a.m - 32 * i;
            all[i] = count >= 32 ? INLAY_ALL_LANES : count > 0 ? (1u << count) - 1 : 0;
        }
    }

    __device__ __forceinline__ bool more() const { return (left[0] | left[1]) != 0 || stage < stages; }

    __device__ __forceinline__ Source next(const Linear& a, int* k, unsigned mask[2]) {
        if ((left[0] | left[1]) == 0) {
            const int at = begin_of(stage, slice);
            stage++;
#pragma unroll
            for (int i = 0; i < 2; i++) {
                from[i] = source(a, tile[i], edge[i], row, at);
                left[i] = all[i];
                if (stage < stages) {
                    tile[i] = entry(table[i], edge[i], a.k, row, begin_of(stage, slice));
                }
            }
        }
        *k = begin_of(stage - 1, slice);
        const bool upper = left[0] == 0;
        const int leader = __ffs(static_cast<int>(upper ? left[1] : left[0])) - 1;
        const Source mine = upper ? from[1] : from[0];
        Source chosen;
        chosen.at = reinterpret_cast<const bf16*>(
            __shfl_sync(INLAY_ALL_LANES, reinterpret_cast<unsigned long long>(mine.at), leader));
        chosen.stride = __shfl_sync(INLAY_ALL_LANES, mine.stride, leader);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            mask[i] = __ballot_sync(INLAY_ALL_LANES, from[i].at == chosen.at) & left[i];
            left[i] &= ~mask[i];
        }
        return chosen;
    }
};

// Begins the copies of one item: each lane fetches the packs that it will multiply, of x where shared a quarter of them.
template <int MT, int NT, bool SHARED>
__device__ __forceinline__ void fetch(const Linear& a, const Source& from, int row, int k, uint4* w, uint4* x) {
    const int lane = threadIdx.x % INLAY_WARP, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < MT * 4; i++) {
        const int r = i / 2 * 8 + g, at = i % 2 * 32 + t * 8;
        const bool valid = row + r < a.o && k + at < a.k;
        cp_async16(w + i * INLAY_WARP + lane, valid ? from.at + r * from.stride + at : a.w, valid);
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
            const Source from = items.next(a, &k, mask);
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

// ---- sums of slices ----

// A block's slice goes to `partial`; the block that comes last adds all of them, in their order.
template <int MT, int NT>
__device__ __forceinline__ void finish_in_grid(const Linear& a, int row, float d[MT][NT][4], float* partial, int* counters) {
    __shared__ int arrived;
    const int lane = threadIdx.x % INLAY_WARP, g = lane / 4, t = lane % 4;
    const long long size = static_cast<long long>(a.m) * a.o;
#pragma unroll
    for (int i = 0; i < MT; i++) {
#pragma unroll
        for (int n = 0; n < NT; n++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int m = n * 8 + 2 * t + (j & 1), o = row + i * 16 + j / 2 * 8 + g;
                if (m < a.m && o < a.o) {
                    partial[blockIdx.y * size + static_cast<long long>(m) * a.o + o] = d[i][n][j];
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
    if (arrived != SLICES - 1) {
        return;
    }
    __threadfence();
    const int rows = 16 * MT * WARPS;
    const volatile float* all = partial;  // other blocks wrote it: not from the first-level cache
    for (int i = threadIdx.x; i < rows * a.m; i += blockDim.x) {
        const int m = i / rows, o = static_cast<int>(blockIdx.x) * rows + i % rows;
        if (o < a.o) {
            const long long at = static_cast<long long>(m) * a.o + o;
            float sum = all[at];
#pragma unroll
            for (int slice = 1; slice < SLICES; slice++) {
                sum += all[slice * size + at];
            }
            put(a, m, o, sum);
        }
    }
    if (threadIdx.x == 0) {
        counters[blockIdx.x] = 0;
    }
}

template <int MT, int NT, bool SHARED, bool MIXED, typename Items>
__device__ __forceinline__ void linear(const Linear& a, Items& items, float* partial, int* counters) {
    INLAY_DYNAMIC_SHARED(uint4, ring);
    const int warp = threadIdx.x / INLAY_WARP;
    const int row = blockIdx.x * Shape<MT, NT, SHARED>::ROWS + (SHARED ? warp * 16 * MT : 0);
    float d[MT][NT][4];
    zero<MT, NT>(d);
    items.begin(a, row, SHARED ? blockIdx.y : warp);
    pipeline<MT, NT, SHARED, MIXED>(a, items, row, ring, d);
    if constexpr (SHARED) {
        finish_in_grid<MT, NT>(a, row, d, partial, counters);
    } else {
        finish_in_block<MT>(a, row, 0, d, reinterpret_cast<float*>(ring));
    }
}

#define LINEAR(name, MT, NT, SHARED) \
    extern "C" __global__ void __launch_bounds__(128) linear_bf16_##name( \
        const bf16* x, long long x_stride, const bf16* w, long long w_stride, const unsigned long long* table, int edge, void* y, \
        long long y_stride, int m, int o, int k, int y_f32, float* partial, int* counters) { \
        const Linear a = {x, w, y, x_stride, w_stride, y_stride, m, o, k, y_f32}; \
        OneTable items; \
        items.table = table; \
        items.edge = edge; \
        linear<MT, NT, SHARED, false>(a, items, partial, counters); \
    } \
    INLAY_KERNEL(linear_bf16_##name); \
    extern "C" __global__ void __launch_bounds__(128) linear_mixed_bf16_##name( \
        const bf16* x, long long x_stride, const bf16* w, long long w_stride, const unsigned long long* const* tables, const int* edges, \
        void* y, long long y_stride, int m, int o, int k, int y_f32, float* partial, int* counters) { \
        const Linear a = {x, w, y, x_stride, w_stride, y_stride, m, o, k, y_f32}; \
        TableForEachRow items; \
        items.tables = tables; \
        items.edges = edges; \
        linear<MT, NT, SHARED, true>(a, items, partial, counters); \
    } \
    INLAY_KERNEL(linear_mixed_bf16_##name)

LINEAR(8x16, 1, 1, false);
LINEAR(8x32, 2, 1, false);
LINEAR(32x64, 1, 4, true);
LINEAR(64x64, 1, 8, true);
LINEAR(32x128, 2, 4, true);
LINEAR(64x128, 2, 8, true);
