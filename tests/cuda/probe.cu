// Kernels that do one thing each, some of them wrong, by which the host is itself tested (CudaHostTest).
#include "inlay.cuh"

// out[i] = in[n - 1 - i] through shared memory and a barrier, then += the sum over its warp.
extern "C" __global__ void probe_reverse(const float* in, float* out, unsigned n) {
    __shared__ float row[1024];
    if (threadIdx.x < n) {
        row[threadIdx.x] = in[threadIdx.x];
    }
    __syncthreads();
    const float value = threadIdx.x < n ? row[n - 1 - threadIdx.x] : 0;
    const float sum = warp_sum(value);
    if (threadIdx.x < n) {
        out[threadIdx.x] = value + sum;
    }
}
INLAY_KERNEL(probe_reverse);

// Thread 0 leaves before the barrier.
extern "C" __global__ void probe_divergent_barrier() {
    if (threadIdx.x != 0) {
        __syncthreads();
    }
}
INLAY_KERNEL(probe_divergent_barrier);

// Two halves at two barriers.
extern "C" __global__ void probe_two_barriers() {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}
INLAY_KERNEL(probe_two_barriers);

// Half a warp shuffles with the mask of a whole one.
extern "C" __global__ void probe_divergent_shuffle(float* out) {
    if (threadIdx.x < 16) {
        out[threadIdx.x] = __shfl_xor_sync(INLAY_ALL_LANES, 1.0f, 1);
    }
}
INLAY_KERNEL(probe_divergent_shuffle);

// What shared memory holds when nothing was written, static and dynamic, after another block has written there.
extern "C" __global__ void probe_unset(float* out) {
    __shared__ float fixed[4];
    INLAY_DYNAMIC_SHARED(float, dynamic);
    out[2 * blockIdx.x] = fixed[3];
    out[2 * blockIdx.x + 1] = dynamic[1];
    fixed[3] = 1;
    dynamic[1] = 1;
}
INLAY_KERNEL(probe_unset);

extern "C" __global__ void probe_beyond_dynamic(int at) {
    INLAY_DYNAMIC_SHARED(float, dynamic);
    dynamic[at] = 1;
}
INLAY_KERNEL(probe_beyond_dynamic);

extern "C" __global__ void probe_misaligned(const float* in, float* out) {
    store_pack(out, load_pack(in + 1));
}
INLAY_KERNEL(probe_misaligned);

// Copies 16 bytes a thread; the wait is left out when asked.
extern "C" __global__ void probe_copy(const float* in, float* out, int waits) {
    __shared__ __align__(16) float row[128];
    cp_async16(row + 4 * threadIdx.x, in + 4 * threadIdx.x, threadIdx.x != 1);
    cp_async_commit();
    if (waits) {
        cp_async_wait<0>();
    }
    __syncthreads();
    for (int i = 0; i < 4; i++) {
        out[4 * threadIdx.x + i] = row[4 * threadIdx.x + i];
    }
}
INLAY_KERNEL(probe_copy);

// d = a b for a [16, 16], b [16, 8] row-major, by one warp and ldmatrix.
extern "C" __global__ void probe_multiply(const bf16* a, const bf16* b, float* d) {
    __shared__ __align__(16) bf16 rows[16][16];
    __shared__ __align__(16) bf16 columns[16][8];
    const int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) {
        rows[i / 16][i % 16] = a[i];
    }
    for (int i = lane; i < 128; i += 32) {
        columns[i / 8][i % 8] = b[i];
    }
    __syncwarp();
    unsigned left[4], right[4];
    ldmatrix_x4(left, &rows[lane % 16][lane / 16 * 8]);
    ldmatrix_x4_transposed(right, &columns[lane % 16][0]);
    float sums[4] = {};
    mma_bf16_16x8x16(sums, left, right);
    const int g = lane / 4, t = lane % 4;
    d[g * 8 + 2 * t] = sums[0];
    d[g * 8 + 2 * t + 1] = sums[1];
    d[(g + 8) * 8 + 2 * t] = sums[2];
    d[(g + 8) * 8 + 2 * t + 1] = sums[3];
}
INLAY_KERNEL(probe_multiply);

extern "C" __global__ void probe_count(int* count) {
    atomicAdd(count, 1);
}
INLAY_KERNEL(probe_count);
