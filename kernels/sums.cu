// partial[b] = sum of x[r, c]^2 over the part of x that block b takes, in double precision; then sum[0] = sum_b partial[b].
//
//   x        T [rows, columns], rows `stride` elements apart, dense in themselves
//   partial  double [grid y, grid x]; the second kernel takes those of several launches, `count` in all
//
// Launch: sum_of_squares in blocks of 256 threads, a grid chosen by the size of x alone, so that a given size has one order of summation on
// every device: blocks of one grid y take every (grid y)-th row, a thread 8 elements, then those grid x 256 x 8 further on.
// sum_of_partials in one block of 256. Floor: one read of x; meant to run at 0.85 of the bandwidth (an H100 does doubles at half its rate
// of floats).
// Reference: ScalarKernels.sumOfSquares.
#include "inlay.cuh"

template <typename T>
__device__ __forceinline__ void squares(const T* x, long long stride, long long rows, long long columns, double* partial) {
    const bool packed = aligned_rows(x, stride);
    const long long step = static_cast<long long>(gridDim.x) * blockDim.x * 8;
    double sum = 0;
    for (long long row = blockIdx.y; row < rows; row += gridDim.y) {
        for (long long first = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * 8; first < columns; first += step) {
            float values[8];
            read8(values, x + row * stride, first, columns, packed);
#pragma unroll
            for (int j = 0; j < 8; j++) {
                sum += static_cast<double>(values[j]) * values[j];
            }
        }
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        partial[blockIdx.y * gridDim.x + blockIdx.x] = sum;
    }
}

#define SUM_OF_SQUARES(name, T) \
    extern "C" __global__ void __launch_bounds__(256) \
        name(const T* x, long long stride, long long rows, long long columns, double* partial) { \
        squares(x, stride, rows, columns, partial); \
    } \
    INLAY_KERNEL(name)

SUM_OF_SQUARES(sum_of_squares_bf16, bf16);
SUM_OF_SQUARES(sum_of_squares_f32, float);

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
