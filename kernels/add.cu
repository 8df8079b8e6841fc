// x[r, c] += y[r, c], rounded to x's type; also the accumulation of a gradient into fp32.
//
//   x      TX [rows, columns], rows `x_stride` elements apart, dense in themselves; likewise y of TY. Types bf16 or fp32, in any mix.
//
// Launch: blocks of 32 to 256 threads, a thread takes 8 elements of a row: grid x = ceil(columns / 8 block), grid y = min(rows, 65535),
// rows beyond by a loop. Floor: reads of x and y and the write of x, 6 bytes an element of bf16; meant to run at 0.9 of the bandwidth
// where rows begin at multiples of 16 bytes, which loads and stores then have. Reference: ScalarKernels.add, ScalarKernels.accumulate.
#include "inlay.cuh"

template <typename TX, typename TY>
__device__ __forceinline__ void add_rows(TX* x, long long x_stride, const TY* y, long long y_stride, long long rows, long long columns) {
    const bool packed = aligned_rows(x, x_stride) && aligned_rows(y, y_stride);
    const long long first = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
    for (long long row = blockIdx.y; row < rows && first < columns; row += gridDim.y) {
        float a[8], b[8];
        read8(a, x + row * x_stride, first, columns, packed);
        read8(b, y + row * y_stride, first, columns, packed);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            a[i] += b[i];
        }
        write8(x + row * x_stride, a, first, columns, packed);
    }
}

#define ADD(name, TX, TY) \
    extern "C" __global__ void __launch_bounds__(256) \
        name(TX* x, long long x_stride, const TY* y, long long y_stride, long long rows, long long columns) { \
        add_rows(x, x_stride, y, y_stride, rows, columns); \
    } \
    INLAY_KERNEL(name)

ADD(add_bf16_bf16, bf16, bf16);
ADD(add_bf16_f32, bf16, float);
ADD(add_f32_bf16, float, bf16);
ADD(add_f32_f32, float, float);
