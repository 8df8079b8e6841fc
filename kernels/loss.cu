// cross_entropy_sums:   of each chunk of a row: top = max logit, sum = sum exp(logit - top); losses[n] = logits[n, targets[n]] for now
// cross_entropy:        losses[n] = log(sum) + top - losses[n] over all chunks, in their order; where `gradient`,
//                       logits = scale (exp(logits - top) / sum - onehot(target)), in place
//
//   logits T [tokens, vocabulary], rows `stride` elements apart; targets int32 [tokens]; losses fp32 [tokens]
//   partial fp32 [tokens, chunks, 2]: top and sum
//
// A target outside the vocabulary gives a loss of NaN.
//
// Launch of both: blocks of 256 threads, one for each `chunk` elements of a row: grid x = chunks = ceil(vocabulary / chunk), grid y =
// tokens, 65535 at most. The second reads all of a row's partials in each of its blocks; without gradient its grid x is 1. Floor: 6 bytes
// a logit of bf16 with gradient, 2 without; meant to run at 0.8 of the bandwidth from a few target tokens on, which chunks are for.
// Reference: ScalarKernels.crossEntropy.
#include "inlay.cuh"

#define MINUS_INFINITY __uint_as_float(0xff800000u)

// A sum of exponentials in terms of its largest one; nothing at all is (-infinity, 0).
struct Exponentials {
    float top, sum;
};

// Their sum in terms of another top, which is not smaller.
__device__ __forceinline__ float under(Exponentials part, float top) {
    return part.top == MINUS_INFINITY ? 0 : part.sum * __expf(part.top - top);
}

__device__ __forceinline__ Exponentials block_exponentials(Exponentials mine) {
    const float top = block_max(mine.top);
    return {top, block_sum(under(mine, top))};
}

template <typename T>
__device__ __forceinline__ void sums(const T* logits, long long stride, const int* targets, float* losses, float* partial,
                                     long long vocabulary, long long chunk) {
    const long long n = blockIdx.y;
    const T* row = logits + n * stride;
    const bool packed = aligned_rows(logits, stride);
    const long long from = blockIdx.x * chunk;
    const long long end = min(vocabulary, from + chunk);
    Exponentials mine = {MINUS_INFINITY, 0};
    for (long long first = from + threadIdx.x * 8LL; first < end; first += blockDim.x * 8LL) {
        float x[8];
        read8(x, row, first, end, packed);
        float top = mine.top;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            top = first + i < end ? larger(top, x[i]) : top;
        }
        if (top != MINUS_INFINITY) {
            mine.sum = under(mine, top);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                mine.sum += first + i < end ? __expf(x[i] - top) : 0;
            }
            mine.top = top;
        }
    }
    mine = block_exponentials(mine);
    if (threadIdx.x == 0) {
        float* at = partial + (n * gridDim.x + blockIdx.x) * 2;
        at[0] = mine.top;
        at[1] = mine.sum;
        const long long target = targets[n];
        if (target >= from && target < end) {
            losses[n] = to_float(row[target]);
        } else if (blockIdx.x == 0 && (target < 0 || target >= vocabulary)) {
            losses[n] = __uint_as_float(0x7fc00000u);
        }
    }
}

#define CROSS_ENTROPY_SUMS(name, T) \
    extern "C" __global__ void __launch_bounds__(256) \
        name(const T* logits, long long stride, const int* targets, float* losses, float* partial, long long vocabulary, \
             long long chunk) { \
        sums(logits, stride, targets, losses, partial, vocabulary, chunk); \
    } \
    INLAY_KERNEL(name)

CROSS_ENTROPY_SUMS(cross_entropy_sums_bf16, bf16);
CROSS_ENTROPY_SUMS(cross_entropy_sums_f32, float);

template <typename T>
__device__ __forceinline__ void losses_and_gradient(T* logits, long long stride, const int* targets, float scale, int gradient,
                                                    float* losses, const float* partial, int chunks, long long vocabulary,
                                                    long long chunk) {
    const long long n = blockIdx.y;
    const float* parts = partial + n * chunks * 2;
    Exponentials all = {MINUS_INFINITY, 0};
    for (int i = threadIdx.x; i < chunks; i += blockDim.x) {
        const Exponentials part = {parts[2 * i], parts[2 * i + 1]};
        const float top = larger(all.top, part.top);
        all = {top, under(all, top) + under(part, top)};
    }
    all = block_exponentials(all);
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        losses[n] = logf(all.sum) + (all.top - losses[n]);
    }
    const bool packed = aligned_rows(logits, stride);
    const long long end = gradient ? min(vocabulary, (blockIdx.x + 1) * chunk) : 0;
    const long long target = targets[n];
    for (long long first = blockIdx.x * chunk + threadIdx.x * 8LL; first < end; first += blockDim.x * 8LL) {
        float x[8];
        read8(x, logits + n * stride, first, end, packed);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const float p = __expf(x[i] - all.top) / all.sum;
            x[i] = scale * (first + i == target ? p - 1 : p);
        }
        write8(logits + n * stride, x, first, end, packed);
    }
}

#define CROSS_ENTROPY(name, T) \
    extern "C" __global__ void __launch_bounds__(256) \
        name(T* logits, long long stride, const int* targets, float scale, int gradient, float* losses, const float* partial, int chunks, \
             long long vocabulary, long long chunk) { \
        losses_and_gradient(logits, stride, targets, scale, gradient, losses, partial, chunks, vocabulary, chunk); \
    } \
    INLAY_KERNEL(name)

CROSS_ENTROPY(cross_entropy_bf16, bf16);
CROSS_ENTROPY(cross_entropy_f32, float);
