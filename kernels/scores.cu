// scores[i, j] += mean over block (i, j) of g, or of |g| where `absolute`
//
//   g       T [R, C], rows `stride` elements apart; block (i, j) is rows i edge to (i + 1) edge - 1, likewise columns
//   scores  fp32 [R / edge, C / edge], rows `scores_stride` elements apart
//
// Launch: one block of 256 threads for each block of g: grid x = C / edge, grid y = R / edge. A thread takes 8 elements at a time; sums in
// fp32 by thread, then over the block in a fixed order. Floor: one read of g; meant to run at 0.85 of the bandwidth from 256 blocks on.
// References: ScalarKernels.blockAbsoluteMean, ScalarKernels.blockMean.
#include "inlay.cuh"

template <typename T>
__device__ __forceinline__ void means(const T* g, long long stride, int edge, float* scores, long long scores_stride, int absolute) {
    const T* corner = g + blockIdx.y * static_cast<long long>(edge) * stride + blockIdx.x * static_cast<long long>(edge);
    const bool packed = aligned_rows(corner, stride);
    const int pieces = (edge + 7) / 8;
    float sum = 0;
    for (int i = threadIdx.x; i < edge * pieces; i += blockDim.x) {
        float values[8];
        read8(values, corner + i / pieces * stride, i % pieces * 8, edge, packed);
        float here = 0;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            here += absolute ? fabsf(values[j]) : values[j];
        }
        sum += here;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        scores[blockIdx.y * scores_stride + blockIdx.x] += sum / (static_cast<float>(edge) * edge);
    }
}

#define BLOCK_MEANS(name, T) \
    extern "C" __global__ void __launch_bounds__(256) \
        name(const T* g, long long stride, int edge, float* scores, long long scores_stride, int absolute) { \
        means(g, stride, edge, scores, scores_stride, absolute); \
    } \
    INLAY_KERNEL(name)

BLOCK_MEANS(block_means_bf16, bf16);
BLOCK_MEANS(block_means_f32, float);
