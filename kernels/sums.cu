// partial[b] = sum of x[r, c]^2 over the part of x that block b takes, in double precision; then sum[0] = sum_b partial[b].
//
//   x        T [rows, columns], rows `stride` elements apart, dense in themselves
//   partial  double [gridDim.x]; the second kernel takes those of several launches, `count` in all
//
// Launch: sum_of_squares in blocks of 256 threads, grid x = blocks chosen by the size of x alone, so that a given size has one order of
// summation on every device; each thread sums every (gridDim.x 256)-th pack of 16 bytes. sum_of_partials in one block of 256.
// Floor: one read of x; meant to run at 0.85 of the bandwidth (fp64 adds are half rate on an H100, a few on consumer cards).
// Reference: ScalarKernels.sumOfSquares.
#include "inlay.cuh"

template <typename T>
__device__ __forceinline__ void squares(const T* x, long long stride, long long rows, long long columns, double* partial) {
    const int N = Pack<T>::N;
    const bool packed = aligned_rows(x, stride);
    const long long packs = (columns + N - 1) / N;
    const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
    double sum = 0;
    for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < rows * packs; i += step) {
        const T* row = x + i / packs * stride;
        const long long first = i % packs * N;
        if (packed && first + N <= columns) {
            const Pack<T> pack = load_pack(row + first);
#pragma unroll
            for (int j = 0; j < N; j++) {
                const double value = to_float(pack.at[j]);
                sum += value * value;
            }
        } else {
            for (long long c = first; c < first + N && c < columns; c++) {
                const double value = to_float(row[c]);
                sum += value * value;
            }
        }
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
    }
}

extern "C" __global__ void __launch_bounds__(256)
    sum_of_squares_bf16(const bf16* x, long long stride, long long rows, long long columns, double* partial) {
    squares(x, stride, rows, columns, partial);
}
INLAY_KERNEL(sum_of_squares_bf16);

extern "C" __global__ void __launch_bounds__(256)
    sum_of_squares_f32(const float* x, long long stride, long long rows, long long columns, double* partial) {
    squares(x, stride, rows, columns, partial);
}
INLAY_KERNEL(sum_of_squares_f32);

extern "C" __global__ void __launch_bounds__(256) sum_of_partials(const double* partial, int count, double* sum) {
    double mine = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        mine += partial[i];
    }
    mine = block_sum(mine);
    if (threadIdx.x == 0) {
        sum[0] = mine;
    }
}
INLAY_KERNEL(sum_of_partials);
