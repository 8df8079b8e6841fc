// g = scale gradient; m = beta1 m + rest1 g; v = beta2 v + rest2 g^2
// master = decay master - step_size m / (sqrt(v) root_scale + epsilon); weight = master, rounded to its type
//
//   gradient TG, weight TW, each bf16 or fp32; master, first (m), second (v) fp32; all `count` elements, dense. Constants: AdamWConstants.
//
// Launch: blocks of 256 threads, a thread takes 8 elements: grid x = ceil(count / 2048). Floor: 28 bytes an element with bf16 gradient and
// weight (fp32 state read and written); meant to run at 0.9 of the bandwidth. Reference: ScalarKernels.adamW.
#include "inlay.cuh"

template <typename TG, typename TW>
__device__ __forceinline__ void step(const TG* gradient, float* master, float* first, float* second, TW* weight, long long count,
                                     float scale, float beta1, float rest1, float beta2, float rest2, float decay, float step_size,
                                     float root_scale, float epsilon) {
    const bool packed = aligned16(gradient) && aligned16(master) && aligned16(first) && aligned16(second) && aligned16(weight);
    const long long at = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
    float g[8], p[8], m[8], v[8];
    read8(g, gradient, at, count, packed);
    read8(p, master, at, count, packed);
    read8(m, first, at, count, packed);
    read8(v, second, at, count, packed);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const float slope = scale * g[i];
        m[i] = beta1 * m[i] + rest1 * slope;
        v[i] = beta2 * v[i] + rest2 * slope * slope;
        p[i] = decay * p[i] - step_size * m[i] / (sqrtf(v[i]) * root_scale + epsilon);
    }
    write8(first, m, at, count, packed);
    write8(second, v, at, count, packed);
    write8(master, p, at, count, packed);
    write8(weight, p, at, count, packed);
}

#define ADAMW(name, TG, TW) \
    extern "C" __global__ void __launch_bounds__(256) \
        name(const TG* gradient, float* master, float* first, float* second, TW* weight, long long count, float scale, float beta1, \
             float rest1, float beta2, float rest2, float decay, float step_size, float root_scale, float epsilon) { \
        step(gradient, master, first, second, weight, count, scale, beta1, rest1, beta2, rest2, decay, step_size, root_scale, epsilon); \
    } \
    INLAY_KERNEL(name)

ADAMW(adamw_bf16_bf16, bf16, bf16);
ADAMW(adamw_bf16_f32, bf16, float);
ADAMW(adamw_f32_bf16, float, bf16);
ADAMW(adamw_f32_f32, float, float);
