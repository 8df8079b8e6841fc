// rms_norm:           sum = x + y, rounded to T, where y is given; else sum is x
//                     rstd = 1 / sqrt(mean(sum^2) + eps); out = sum rstd weight
// rms_norm_backward:  g = grad_out weight; xhat = x rstd; grad_x += rstd (g - xhat mean(g xhat))
// rms_norm_weight:    partial[b, :] = sum of grad_out xhat over the rows that block row b takes
// add_partials:       grad_weight[:] += sum_b partial[b, :], in the order of b
//
//   x, y, sum, out, grad_out, grad_x  T [rows, width], rows a stride apart; y and sum may be null together; sum and out may be x
//   weight T [width]; rstd fp32 [rows], null where it is not wanted; partial fp32 [groups, width]; grad_weight fp32 [width]
//
// Launch of the first two: a block of 32 to 256 threads for each row (grid x = rows), a thread takes 8 elements at a time. The second pass
// over a row finds it in the cache. Floor: 4 bytes an element of bf16 without y, 8 with it; the backward 8; meant to run at 0.8 of the
// bandwidth. Launch of the third: grid x = ceil(width / 8 block), grid y = groups of `group` rows; of the fourth: grid x =
// ceil(width / 256). Floor: 4 bytes an element.
// References: ScalarKernels.rmsNorm, ScalarKernels.addRmsNorm, ScalarKernels.rmsNormBackward.
#include "inlay.cuh"

template <typename T>
__device__ __forceinline__ void normalize(const T* x, long long x_stride, const T* y, long long y_stride, T* sum, long long sum_stride,
                                          const T* weight, float eps, T* out, long long out_stride, float* rstd, long long width) {
    const long long n = blockIdx.x;
    const bool adds = y != nullptr;
    const T* row = adds ? sum + n * sum_stride : x + n * x_stride;
    const bool packed = aligned_rows(x, x_stride) && aligned_rows(out, out_stride) && aligned16(weight)
            && (!adds || (aligned_rows(y, y_stride) && aligned_rows(sum, sum_stride)));
    float squares = 0;
    for (long long first = threadIdx.x * 8LL; first < width; first += blockDim.x * 8LL) {
        float a[8];
        read8(a, x + n * x_stride, first, width, packed);
        if (adds) {
            float b[8];
            read8(b, y + n * y_stride, first, width, packed);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                a[i] = rounded(a[i] + b[i], T());
            }
            write8(sum + n * sum_stride, a, first, width, packed);
        }
#pragma unroll
        for (int i = 0; i < 8; i++) {
            squares += a[i] * a[i];
        }
    }
    const float r = 1 / sqrtf(block_sum(squares) / width + eps);
    if (threadIdx.x == 0 && rstd != nullptr) {
        rstd[n] = r;
    }
    // A thread reads what it wrote itself.
    for (long long first = threadIdx.x * 8LL; first < width; first += blockDim.x * 8LL) {
        float a[8], w[8];
        read8(a, row, first, width, packed);
        read8(w, weight, first, width, packed);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            a[i] = a[i] * r * w[i];
        }
        write8(out + n * out_stride, a, first, width, packed);
    }
}

#define RMS_NORM(name, T) \
    extern "C" __global__ void __launch_bounds__(256) \
        name(const T* x, long long x_stride, const T* y, long long y_stride, T* sum, long long sum_stride, const T* weight, float eps, \
             T* out, long long out_stride, float* rstd, long long width) { \
        normalize(x, x_stride, y, y_stride, sum, sum_stride, weight, eps, out, out_stride, rstd, width); \
    } \
    INLAY_KERNEL(name)

RMS_NORM(rms_norm_bf16, bf16);
RMS_NORM(rms_norm_f32, float);

template <typename T>
__device__ __forceinline__ void normalize_backward(const T* grad_out, long long out_stride, const T* x, long long x_stride,
                                                   const T* weight, const float* rstd, T* grad_x, long long grad_stride, long long width) {
    const long long n = blockIdx.x;
    const bool packed = aligned_rows(grad_out, out_stride) && aligned_rows(x, x_stride) && aligned_rows(grad_x, grad_stride)
            && aligned16(weight);
    const float r = rstd[n];
    float g[8], w[8], xs[8], to[8];
    float dot = 0;
    for (long long first = threadIdx.x * 8LL; first < width; first += blockDim.x * 8LL) {
        read8(g, grad_out + n * out_stride, first, width, packed);
        read8(w, weight, first, width, packed);
        read8(xs, x + n * x_stride, first, width, packed);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            dot += first + i < width ? g[i] * w[i] * (xs[i] * r) : 0;
        }
    }
    const float mean = block_sum(dot) / width;
    for (long long first = threadIdx.x * 8LL; first < width; first += blockDim.x * 8LL) {
        read8(g, grad_out + n * out_stride, first, width, packed);
        read8(w, weight, first, width, packed);
        read8(xs, x + n * x_stride, first, width, packed);
        read8(to, grad_x + n * grad_stride, first, width, packed);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            to[i] += r * (g[i] * w[i] - xs[i] * r * mean);
        }
        write8(grad_x + n * grad_stride, to, first, width, packed);
    }
}

#define RMS_NORM_BACKWARD(name, T) \
    extern "C" __global__ void __launch_bounds__(256) \
        name(const T* grad_out, long long out_stride, const T* x, long long x_stride, const T* weight, const float* rstd, T* grad_x, \
             long long grad_stride, long long width) { \
        normalize_backward(grad_out, out_stride, x, x_stride, weight, rstd, grad_x, grad_stride, width); \
    } \
    INLAY_KERNEL(name)

RMS_NORM_BACKWARD(rms_norm_backward_bf16, bf16);
RMS_NORM_BACKWARD(rms_norm_backward_f32, float);

template <typename T>
__device__ __forceinline__ void weight_partials(const T* grad_out, long long out_stride, const T* x, long long x_stride, const float* rstd,
                                                float* partial, long long rows, long long group, long long width) {
    const bool packed = aligned_rows(grad_out, out_stride) && aligned_rows(x, x_stride);
    const long long first = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
    const long long from = blockIdx.y * group;
    float sum[8] = {};
    for (long long n = from; n < from + group && n < rows && first < width; n++) {
        float g[8], xs[8];
        read8(g, grad_out + n * out_stride, first, width, packed);
        read8(xs, x + n * x_stride, first, width, packed);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            sum[i] += g[i] * (xs[i] * rstd[n]);
        }
    }
    write8(partial + blockIdx.y * width, sum, first, width, false);
}

#define RMS_NORM_WEIGHT(name, T) \
    extern "C" __global__ void __launch_bounds__(256) \
        name(const T* grad_out, long long out_stride, const T* x, long long x_stride, const float* rstd, float* partial, long long rows, \
             long long group, long long width) { \
        weight_partials(grad_out, out_stride, x, x_stride, rstd, partial, rows, group, width); \
    } \
    INLAY_KERNEL(name)

RMS_NORM_WEIGHT(rms_norm_weight_bf16, bf16);
RMS_NORM_WEIGHT(rms_norm_weight_f32, float);

extern "C" __global__ void __launch_bounds__(256) add_partials(const float* partial, int groups, float* sum, long long width) {
    const long long at = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at < width) {
        float mine = 0;
        for (int group = 0; group < groups; group++) {
            mine += partial[group * width + at];
        }
        sum[at] += mine;
    }
}
INLAY_KERNEL(add_partials);
