// y[m, o] = sum_k x[m, k] w[o, k] for few rows m of bf16, each weight read from memory once; tile tables may stand in for squares of w. A
// launch takes up to three weights of one K, each with a y of its own; where there are fewer, the last have O = 0.
//
//   x        bf16 [M, K], w bf16 [O, K], y bf16 or fp32 [M, O]; rows `..._stride` elements apart, dense in themselves
//   table    null, or [O / edge, K / edge] addresses of contiguous [edge, edge] squares, 0 for w's own
//   mixed    `tables` [weights, M], an address of such a table (or 0) for each weight and row of x, and `edges` [weights, M]; rows that
//            share a source share its one read
//   partial  fp32 [gridDim.x, SLICES, M, rows of w in a block], `counters` [gridDim.x] of zeros, which are left as zeros (where rows of x
//            are shared, below)
//
// Order of summation: K is cut into groups of GROUP, slice s of SLICES takes groups s, s + SLICES, ... in ascending order through one chain
// of tensor core products, and the slices are added in their order. That depends on K alone: a row has the same bits for every M, grid and
// table, and whichever entry computes it.
//
// Launch, in blocks of 128 threads, `_8x16` for 8 rows of x and 16 of w; blocks are counted for each weight, and added:
//   linear_bf16_8x{16,32}         grid x = O / 16 or / 32: a warp takes one slice and reads its own operands, without barriers
//   linear_bf16_{32,64}x{64,128}  grid (O / 64 or / 128, SLICES): a warp takes a quarter of the rows of w, all share x
//   linear_mixed_bf16_...         the same with a table for each row; edges must be multiples of 64, with shared x of the block's rows
// All want 16-byte aligned rows of x and w and squares, K a multiple of 8 and edges multiples of 64; linear_any.cu takes the others.
// Shared memory: see Shape::BYTES, which CudaLinears has too.
// Weights on their way at a time: 40 KiB in a block of 8x16, of which a multiprocessor of sm_90 holds three by shared memory, 48 KiB in one
// of 8x32, of which it holds two. 4.8 TB/s of an H200 at a latency of 1 us are 36 KiB for each of its multiprocessors.
// Floor: O K elements of each weight and as many of each square that replaces them; meant to run at 0.80 of the bandwidth of an H100 or
// more for Llama-3-8B's linears at 1 and at 64 rows. References: ScalarKernels.linear, Kernels.linearMixed, Kernels.linears.
#include "inlay.cuh"
#include "linears.cuh"
#include "linear_stages.cuh"

// ---- what comes next: one item is a stage of k and those rows of x that share a source ----

// One table as a warp sees it, whose rows all lie in one row of squares. Edges and every k are multiples of STEP here.
struct Squares {
    const unsigned long long* entries;  // of that row of squares, or null
    int edge, first;                    // elements of a square before the warp's first row
    unsigned inverse;                   // 2^31 STEP / edge, rounded up: divides k / STEP exactly while k edge < 2^31 STEP^2
    unsigned long long tile;            // of the stage to come, loaded ahead
    int inside;                         // where in the tile that stage begins

    // A row beyond the weight's last has no squares.
    __device__ __forceinline__ void begin(const Linear& a, const unsigned long long* table, int its_edge, int row) {
        entries = nullptr;
        edge = its_edge;
        first = 0;
        inverse = 0;
        inside = 0;
        if (table != nullptr && row < a.o) {
            entries = table + static_cast<long long>(row / edge) * (a.k / edge);
            first = row % edge * edge;
            inverse = (1u << 31) / static_cast<unsigned>(edge / STEP) + 1;
        }
    }

    __device__ __forceinline__ void look(const Linear& a, int k) {
        tile = 0;
        if (entries != nullptr && k < a.k) {
            const int square = static_cast<int>(static_cast<unsigned long long>(k / STEP) * inverse >> 31);
            tile = entries[square];
            inside = first + k - square * edge;
        }
    }

    // `base`: the warp's first row of the weight.
    __device__ __forceinline__ Source source(const Linear& a, const bf16* base, int k) const {
        Source from;
        from.at = tile != 0 ? reinterpret_cast<const bf16*>(tile) + inside : base + k;
        from.stride = tile != 0 ? edge : a.w_stride;
        return from;
    }
};

struct OneTable {
    const unsigned long long* table;
    int edge;
    Squares squares;
    const bf16* base;
    int slice, stage, stages;

    __device__ __forceinline__ void begin(const Linear& a, int row, int my_slice) {
        base = a.w + row * a.w_stride;
        slice = my_slice;
        stage = 0;
        stages = stages_of(a.k, slice);
        squares.begin(a, table, edge, row);
        squares.look(a, begin_of(0, slice));
    }

    __device__ __forceinline__ bool more() const { return stage < stages; }

    __device__ __forceinline__ Source next(const Linear& a, int* k, unsigned*) {
        *k = begin_of(stage, slice);
        const Source from = squares.source(a, base, *k);
        if (++stage < stages) {
            squares.look(a, begin_of(stage, slice));
        }
        return from;
    }
};

// A lane looks after the rows of x `lane` and, where N is 2, `lane + 32`.
template <int N>
struct TableForEachRow {
    const unsigned long long* const* tables;
    const int* edges;
    Squares squares[N];
    Source from[N];
    unsigned left[N], all[N];  // rows of x of the present stage that have no item yet
    const bf16* base;
    int slice, stage, stages;

    __device__ __forceinline__ void begin(const Linear& a, int row, int my_slice) {
        base = a.w + row * a.w_stride;
        slice = my_slice;
        stage = 0;
        stages = stages_of(a.k, slice);
        const int lane = threadIdx.x % INLAY_WARP;
#pragma unroll
        for (int i = 0; i < N; i++) {
            const int m = lane + 32 * i;
            squares[i].begin(a, m < a.m ? tables[m] : nullptr, m < a.m ? edges[m] : STEP, row);
            squares[i].look(a, begin_of(0, slice));
            from[i].at = nullptr;
            from[i].stride = 0;
            left[i] = 0;
            const int count = a.m - 32 * i;
            all[i] = count >= 32 ? INLAY_ALL_LANES : count > 0 ? (1u << count) - 1 : 0;
        }
    }

    __device__ __forceinline__ bool more() const { return (left[0] | left[N - 1]) != 0 || stage < stages; }

    __device__ __forceinline__ Source next(const Linear& a, int* k, unsigned mask[2]) {
        if ((left[0] | left[N - 1]) == 0) {
            const int at = begin_of(stage, slice);
            stage++;
#pragma unroll
            for (int i = 0; i < N; i++) {
                from[i] = squares[i].source(a, base, at);
                left[i] = all[i];
                if (stage < stages) {
                    squares[i].look(a, begin_of(stage, slice));
                }
            }
        }
        *k = begin_of(stage - 1, slice);
        const bool upper = left[0] == 0;
        const int leader = __ffs(static_cast<int>(upper ? left[N - 1] : left[0])) - 1;
        const Source mine = upper ? from[N - 1] : from[0];
        Source chosen;
        chosen.at = reinterpret_cast<const bf16*>(
            __shfl_sync(INLAY_ALL_LANES, reinterpret_cast<unsigned long long>(mine.at), leader));
        chosen.stride = __shfl_sync(INLAY_ALL_LANES, mine.stride, leader);
#pragma unroll
        for (int i = 0; i < N; i++) {
            mask[i] = __ballot_sync(INLAY_ALL_LANES, from[i].at == chosen.at) & left[i];
            left[i] &= ~mask[i];
        }
        return chosen;
    }
};

// ---- which weight ----

// Blocks go through the weights one after another.
struct Part {
    int weight, block;

    __device__ __forceinline__ Part(int rows, int o0, int o1) {
        const int first = (o0 + rows - 1) / rows, second = first + (o1 + rows - 1) / rows;
        const int at = blockIdx.x;
        weight = at < first ? 0 : at < second ? 1 : 2;
        block = at - (at < first ? 0 : at < second ? first : second);
    }

    template <typename V>
    __device__ __forceinline__ V of(V v0, V v1, V v2) const {
        return weight == 0 ? v0 : weight == 1 ? v1 : v2;
    }
};

template <int MT, int NT, bool SHARED, bool MIXED, typename Items>
__device__ __forceinline__ void linear(const Linear& a, Items& items, int block, float* partial, int* counters) {
    INLAY_DYNAMIC_SHARED(uint4, ring);
    const int warp = threadIdx.x / INLAY_WARP, rows = Shape<MT, NT, SHARED>::ROWS, first = block * rows;
    const int row = first + (SHARED ? warp * 16 * MT : 0);
    float d[MT][NT][4];
    zero<MT, NT>(d);
    items.begin(a, row, SHARED ? blockIdx.y : warp);
    pipeline<MT, NT, SHARED, MIXED>(a, items, row, ring, d);
    if constexpr (SHARED) {
        if (last_of_slices<MT, NT>(a, d, partial, counters)) {
            const volatile float* all = slices_of_block(partial, a.m * rows);
            for (int i = threadIdx.x; i < rows * a.m; i += blockDim.x) {
                const int o = first + i % rows;
                if (o < a.o) {
                    put(a, i / rows, o, sum_of_slices(all + i, a.m * rows));
                }
            }
            begin_anew(counters);
        }
    } else {
        finish_in_block<MT>(a, row, 0, d, reinterpret_cast<float*>(ring));
    }
}

#define WEIGHT(i) const bf16 *w##i, long long w_stride##i, void *y##i, long long y_stride##i, int o##i, int y_f32_##i
#define TABLE(i) const unsigned long long *table##i, int edge##i
#define CHOSEN(MT, NT, SHARED) \
    const Part part(Shape<MT, NT, SHARED>::ROWS, o0, o1); \
    const Linear a = {x, part.of(w0, w1, w2), part.of(y0, y1, y2), x_stride, part.of(w_stride0, w_stride1, w_stride2), \
                      part.of(y_stride0, y_stride1, y_stride2), m, part.of(o0, o1, o2), k, part.of(y_f32_0, y_f32_1, y_f32_2)}

#define LINEAR(name, MT, NT, SHARED) \
    extern "C" __global__ void __launch_bounds__(128) linear_bf16_##name( \
        const bf16* x, long long x_stride, int m, int k, WEIGHT(0), TABLE(0), WEIGHT(1), TABLE(1), WEIGHT(2), TABLE(2), float* partial, \
        int* counters) { \
        CHOSEN(MT, NT, SHARED); \
        OneTable items; \
        items.table = part.of(table0, table1, table2); \
        items.edge = part.of(edge0, edge1, edge2); \
        linear<MT, NT, SHARED, false>(a, items, part.block, partial, counters); \
    } \
    INLAY_KERNEL(linear_bf16_##name); \
    extern "C" __global__ void __launch_bounds__(128) linear_mixed_bf16_##name( \
        const bf16* x, long long x_stride, int m, int k, WEIGHT(0), WEIGHT(1), WEIGHT(2), const unsigned long long* const* tables, \
        const int* edges, float* partial, int* counters) { \
        CHOSEN(MT, NT, SHARED); \
        TableForEachRow<(NT + 3) / 4> items; \
        items.tables = tables + part.weight * m; \
        items.edges = edges + part.weight * m; \
        linear<MT, NT, SHARED, true>(a, items, part.block, partial, counters); \
    } \
    INLAY_KERNEL(linear_mixed_bf16_##name)

LINEAR(8x16, 1, 1, false);
LINEAR(8x32, 2, 1, false);
LINEAR(32x64, 1, 4, true);
LINEAR(64x64, 1, 8, true);
LINEAR(32x128, 2, 4, true);
LINEAR(64x128, 2, 8, true);
