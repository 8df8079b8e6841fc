// ids[r] = the lowest v whose logits[r, v] is the largest; out[r, v] = logits[r, v] - logsumexp(logits[r]).
//
//   logits  T [R, V], rows `stride` elements apart; T bf16 or fp32
//   ids     int [R]; where a logit is NaN or +inf, or all are -inf, -1 - v for the first such v
//   out     fp32 [R, V], rows `out_stride` apart
//
// Launch: blocks of 1024 threads, grid x = R. Sums are made in double precision, in an order that V alone decides. Drawing by temperature
// stays on the CPU: its exponentials and its random numbers are Java's, and equal logits must give equal tokens on every device.
// Floor: one read of the logits, two and a write of V for log_softmax; one SM reads about 100 GB/s, so a row of 128,256 takes about 5 us.
// Reference: Kernels.argmax, Kernels.logSoftmax.
#include "inlay.cuh"

#define THREADS 1024

struct Best {
    float value;
    int at;
    int refused;  // the first that is no logit, or INT_MAX
};

#define NONE 0x7fffffff

__device__ __forceinline__ Best better(const Best& a, const Best& b) {
    const bool second = b.value > a.value || (b.value == a.value && b.at < a.at);
    const Best chosen = {second ? b.value : a.value, second ? b.at : a.at, min(a.refused, b.refused)};
    return chosen;
}

__device__ __forceinline__ Best warp_best(Best best) {
#pragma unroll
    for (int distance = INLAY_WARP / 2; distance > 0; distance /= 2) {
        const Best other = {__shfl_xor_sync(INLAY_ALL_LANES, best.value, distance), __shfl_xor_sync(INLAY_ALL_LANES, best.at, distance),
                            __shfl_xor_sync(INLAY_ALL_LANES, best.refused, distance)};
        best = better(best, other);
    }
    return best;
}

__device__ __forceinline__ Best seen(const Best& best, float value, int at) {
    const Best one = {value, at, value < INFINITY ? NONE : at};
    return better(best, one);
}

template <typename T>
__device__ __forceinline__ void argmax(const T* logits, long long stride, int columns, int* ids) {
    __shared__ Best warps[INLAY_WARP];
    const T* row = logits + blockIdx.x * stride;
    const int N = Pack<T>::N, packs = aligned16(row) ? columns / N : 0;
    Best best = {-INFINITY, NONE, NONE};
    for (int i = threadIdx.x; i < packs; i += THREADS) {
        const Pack<T> pack = load_pack(row + static_cast<long long>(i) * N);
#pragma unroll
        for (int j = 0; j < N; j++) {
            best = seen(best, to_float(pack.at[j]), i * N + j);
        }
    }
    for (int at = packs * N + threadIdx.x; at < columns; at += THREADS) {
        best = seen(best, to_float(row[at]), at);
    }
    best = warp_best(best);
    if (threadIdx.x % INLAY_WARP == 0) {
        warps[threadIdx.x / INLAY_WARP] = best;
    }
    __syncthreads();
    if (threadIdx.x < INLAY_WARP) {
        best = warp_best(warps[threadIdx.x]);
        if (threadIdx.x == 0) {
            const int refused = best.refused != NONE ? best.refused : best.value == -INFINITY ? 0 : NONE;
            ids[blockIdx.x] = refused != NONE ? -1 - refused : best.at;
        }
    }
}

template <typename T>
__device__ __forceinline__ void log_softmax(const T* logits, long long stride, int columns, float* out, long long out_stride) {
    const T* row = logits + blockIdx.x * stride;
    float top = -INFINITY;
    for (int at = threadIdx.x; at < columns; at += THREADS) {
        top = larger(top, to_float(row[at]));
    }
    top = block_max(top);
    double total = 0;
    for (int at = threadIdx.x; at < columns; at += THREADS) {
        total += expf(to_float(row[at]) - top);
    }
    total = block_sum(total);
    const double below = top + log(total);
    for (int at = threadIdx.x; at < columns; at += THREADS) {
        out[blockIdx.x * out_stride + at] = static_cast<float>(to_float(row[at]) - below);
    }
}

#define SAMPLING(suffix, T) \
    extern "C" __global__ void __launch_bounds__(THREADS) argmax_##suffix(const T* logits, long long stride, int columns, int* ids) { \
        argmax(logits, stride, columns, ids); \
    } \
    INLAY_KERNEL(argmax_##suffix); \
    extern "C" __global__ void __launch_bounds__(THREADS) log_softmax_##suffix( \
        const T* logits, long long stride, int columns, float* out, long long out_stride) { \
        log_softmax(logits, stride, columns, out, out_stride); \
    } \
    INLAY_KERNEL(log_softmax_##suffix)

SAMPLING(bf16, bf16);
SAMPLING(f32, float);
