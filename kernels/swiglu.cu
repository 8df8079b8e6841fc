// swiglu:           out = a s(a) b, where a = gate, b = up, s(a) = 1 / (1 + exp(-a))
// swiglu_backward:  grad_gate = g b s(a) (1 + a (1 - s(a))); grad_up = g a s(a), where g = grad_out
//
//   all T [rows, columns], rows a stride apart, dense in themselves; out may be gate or up, grad_gate may be gate, grad_up may be up
//
// Launch: blocks of 32 to 256 threads, a thread takes 8 elements of a row: grid x = ceil(columns / 8 block), grid y = min(rows, 65535),
// rows beyond by a loop. Floor: 6 bytes an element of bf16, the backward 10; meant to run at 0.85 of the bandwidth, for which exp and
// division are the fast ones (their error stays below 1e-5 down to gates whose result is below 1e-30). References: ScalarKernels.swiGlu,
// ScalarKernels.swiGluBackward.
#include "inlay.cuh"
#include "swiglu.cuh"

template <typename T>
__device__ __forceinline__ void forward(const T* gate, long long gate_stride, const T* up, long long up_stride, T* out,
                                        long long out_stride, long long rows, long long columns) {
    const bool packed = aligned_rows(gate, gate_stride) && aligned_rows(up, up_stride) && aligned_rows(out, out_stride);
    const long long first = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
    for (long long row = blockIdx.y; row < rows && first < columns; row += gridDim.y) {
        float a[8], b[8];
        read8(a, gate + row * gate_stride, first, columns, packed);
        read8(b, up + row * up_stride, first, columns, packed);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            a[i] = swiglu(a[i], b[i]);
        }
        write8(out + row * out_stride, a, first, columns, packed);
    }
}

#define SWIGLU(name, T) \
    extern "C" __global__ void __launch_bounds__(256) \
        name(const T* gate, long long gate_stride, const T* up, long long up_stride, T* out, long long out_stride, long long rows, \
             long long columns) { \
        forward(gate, gate_stride, up, up_stride, out, out_stride, rows, columns); \
    } \
    INLAY_KERNEL(name)

SWIGLU(swiglu_bf16, bf16);
SWIGLU(swiglu_f32, float);

template <typename T>
__device__ __forceinline__ void backward(const T* grad_out, long long out_stride, const T* gate, long long gate_stride, const T* up,
                                         long long up_stride, T* grad_gate, long long grad_gate_stride, T* grad_up,
                                         long long grad_up_stride, long long rows, long long columns) {
    const bool packed = aligned_rows(grad_out, out_stride) && aligned_rows(gate, gate_stride) && aligned_rows(up, up_stride)
            && aligned_rows(grad_gate, grad_gate_stride) && aligned_rows(grad_up, grad_up_stride);
    const long long first = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
    for (long long row = blockIdx.y; row < rows && first < columns; row += gridDim.y) {
        float g[8], a[8], b[8];
        read8(g, grad_out + row * out_stride, first, columns, packed);
        read8(a, gate + row * gate_stride, first, columns, packed);
        read8(b, up + row * up_stride, first, columns, packed);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const float s = sigmoid(a[i]);
            b[i] = g[i] * b[i] * s * (1 + a[i] * (1 - s));
            a[i] = g[i] * a[i] * s;
        }
        write8(grad_gate + row * grad_gate_stride, b, first, columns, packed);
        write8(grad_up + row * grad_up_stride, a, first, columns, packed);
    }
}

#define SWIGLU_BACKWARD(name, T) \
    extern "C" __global__ void __launch_bounds__(256) \
        name(const T* grad_out, long long out_stride, const T* gate, long long gate_stride, const T* up, long long up_stride, \
             T* grad_gate, long long grad_gate_stride, T* grad_up, long long grad_up_stride, long long rows, long long columns) { \
        backward(grad_out, out_stride, gate, gate_stride, up, up_stride, grad_gate, grad_gate_stride, grad_up, grad_up_stride, rows, \
                 columns); \
    } \
    INLAY_KERNEL(name)

SWIGLU_BACKWARD(swiglu_backward_bf16, bf16);
SWIGLU_BACKWARD(swiglu_backward_f32, float);
