// y[m, f] = swiglu(sum_k x[m, k] gate[f, k], sum_k x[m, k] up[f, k]) for few rows m of bf16, both products rounded to bf16 before they are
// gated; each weight is read from memory once.
//
//   x         bf16 [M, K], gate, up bf16 [F, K], y bf16 [M, F]; rows `..._stride` elements apart, dense in themselves
//   partial   fp32 [gridDim.x, SLICES, M, 2 x outputs of a block], `counters` [gridDim.x] of zeros, which are left as zeros
//
// The bits are those of linear.cu's two products and swiglu.cu's gating (linears.cuh, swiglu.cuh).
//
// Launch, in blocks of 128 threads, a warp's 32 rows being 16 of gate and the same 16 of up:
//   gated_linear_bf16_8x16        grid x = F / 16: a warp takes one slice of K for 8 rows of x
//   gated_linear_bf16_{32,64}x64  grid (F / 64, SLICES): a warp takes a quarter of the outputs, all share x
// All want 16-byte aligned rows of x, gate and up and K a multiple of 8. Shared memory: Shape<2, ...>::BYTES, which CudaLinears has too.
// Floor: 2 F K elements; meant to run as linear.cu does. Reference: Kernels.gatedLinear.
#include "inlay.cuh"
#include "linears.cuh"
#include "linear_stages.cuh"
#include "swiglu.cuh"

#define SQUARES 2  // of 16 rows in a warp: gate's and up's

struct GateAndUp {
    Source gate, up;

    __device__ __forceinline__ const bf16* row(int square, int r) const { return square == 0 ? gate.row(0, r) : up.row(0, r); }
    __device__ __forceinline__ long long stride_of(int square) const { return square == 0 ? gate.stride : up.stride; }
    static __device__ __forceinline__ int output(int, int r) { return r; }
};

struct BothWeights {
    GateAndUp from;  // at k = 0
    int slice, stage, stages;

    __device__ __forceinline__ void begin(const Linear& gate, const bf16* up, long long up_stride, int row, int my_slice) {
        from.gate = {gate.w + row * gate.w_stride, gate.w_stride};
        from.up = {up + row * up_stride, up_stride};
        slice = my_slice;
        stage = 0;
        stages = stages_of(gate.k, slice);
    }

    __device__ __forceinline__ bool more() const { return stage < stages; }

    __device__ __forceinline__ GateAndUp next(const Linear&, int* k, unsigned*) {
        *k = begin_of(stage++, slice);
        GateAndUp next = from;
        next.gate.at += *k;
        next.up.at += *k;
        return next;
    }
};

// `slices` has sums of gate's 16 rows, then of up's, for each 16 outputs of a block.
template <typename From>
__device__ __forceinline__ void finish(const Linear& a, int first, int outputs, int rows_of_x, From slices, long long slice) {
    for (int i = threadIdx.x; i < outputs * rows_of_x; i += blockDim.x) {
        const int m = i / outputs, o = i % outputs;
        if (m < a.m && first + o < a.o) {
            const From gate = slices + m * SQUARES * outputs + o / 16 * 16 * SQUARES + o % 16;
            const float up = rounded(sum_of_slices(gate + 16, slice), bf16());
            put(a, m, first + o, swiglu(rounded(sum_of_slices(gate, slice), bf16()), up));
        }
    }
}

template <int NT, bool SHARED>
__device__ __forceinline__ void gated_linear(const Linear& a, const bf16* up, long long up_stride, float* partial, int* counters) {
    INLAY_DYNAMIC_SHARED(uint4, ring);
    const int warp = threadIdx.x / INLAY_WARP, outputs = Shape<SQUARES, NT, SHARED>::ROWS / SQUARES, first = blockIdx.x * outputs;
    const int row = first + (SHARED ? warp * 16 : 0);
    float d[SQUARES][NT][4];
    zero<SQUARES, NT>(d);
    BothWeights items;
    items.begin(a, up, up_stride, row, SHARED ? blockIdx.y : warp);
    pipeline<SQUARES, NT, SHARED, false>(a, items, row, ring, d);
    if constexpr (SHARED) {
        if (last_of_slices<SQUARES, NT>(a, d, partial, counters)) {
            const long long slice = static_cast<long long>(a.m) * SQUARES * outputs;
            finish(a, first, outputs, a.m, slices_of_block(partial, slice), slice);
            begin_anew(counters);
        }
    } else {
        float* sums = reinterpret_cast<float*>(ring);
        keep_in_block<SQUARES>(d, sums);
        finish(a, first, outputs, 8, sums, 8 * SQUARES * outputs);
    }
}

#define GATED_LINEAR(name, NT, SHARED) \
    extern "C" __global__ void __launch_bounds__(128) gated_linear_bf16_##name( \
        const bf16* x, long long x_stride, int m, int k, const bf16* gate, long long gate_stride, const bf16* up, long long up_stride, \
        bf16* y, long long y_stride, int f, float* partial, int* counters) { \
        const Linear a = {x, gate, y, x_stride, gate_stride, y_stride, m, f, k, 0}; \
        gated_linear<NT, SHARED>(a, up, up_stride, partial, counters); \
    } \
    INLAY_KERNEL(gated_linear_bf16_##name)

GATED_LINEAR(8x16, 1, false);
GATED_LINEAR(32x64, 4, true);
GATED_LINEAR(64x64, 8, true);
