// x[r, c] += y[r, c], rounded to x's type; also the accumulation of a gradient into fp32.
//
//   x      TX [rows, columns], rows `x_stride` elements apart, dense in themselves; likewise y of TY. Types bf16 or fp32, in any mix.
//
// Launch: blocks of 256 threads, a thread takes 8 elements of one row: grid x = ceil(columns / 2048), grid y = min(rows, 65535), rows
// beyond by a loop. Floor: reads of x and y and the write of x, 6 bytes an element for bf16; meant to run at 0.9 of the bandwidth where
// all rows begin at multiples of 16 bytes, which loads and stores then have. Reference: ScalarKernels.add, ScalarKernels.accumulate.
#include "inlay.cuh"

// Eight elements as floats, by 16-byte loads.
template <typename T>
__device__ __forceinline__ void load8(float to[8], const T* from) {
#pragma unroll
    for (int i = 0; i < 8; i += Pack<T>::N) {
        const Pack<T> pack = load_pack(from + i);
#pragma unroll
        for (int j = 0; j < Pack<T>::N; j++) {
            to[i + j] = to_float(pack.at[j]);
        }
    }
}

template <typename TX, typename TY>
__device__ __forceinline__ void add_rows(TX* x, long long x_stride, const TY* y, long long y_stride, long long rows, long long columns) {
    const bool packed = aligned_rows(x, x_stride) && aligned_rows(y, y_stride);
    const long long first = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
    for (long long row = blockIdx.y; row < rows; row += gridDim.y) {
        TX* to = x + row * x_stride;
        const TY* from = y + row * y_stride;
        if (packed && first + 8 <= columns) {
            float a[8], b[8];
            load8(a, to + first);
            load8(b, from + first);
#pragma unroll
            for (int i = 0; i < 8; i += Pack<TX>::N) {
                Pack<TX> sum;
#pragma unroll
                for (int j = 0; j < Pack<TX>::N; j++) {
                    set(&sum.at[j], a[i + j] + b[i + j]);
                }
                store_pack(to + first + i, sum);
            }
        } else {
            for (long long c = first; c < first + 8 && c < columns; c++) {
                set(to + c, to_float(to[c]) + to_float(from[c]));
            }
        }
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
