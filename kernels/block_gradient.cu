// gradient[b] = sum_n dy[n, rows of block b]^T x[n, columns of block b]: the weight gradients of all selected blocks of a linear, in one
// launch.
//
//   dy        T [N, O], x T [N, K], rows `..._stride` elements apart, dense in themselves; T bf16 or fp32
//   rows      int [B]: block b takes columns rows[b] edge to rows[b] edge + edge - 1 of dy; `columns` the same of x, which may be the
//             gathered column slices of an activation, one for each distinct column of blocks
//   gradient  fp32 or bf16 [B, edge, edge], contiguous
//
// The sum over n is one chain in ascending order, whatever the size of the tiles that a launch cuts a block into.
// Launch: grid (ceil(edge / TILE)^2, B). block_gradient_64 in blocks of 128 threads, _128 of 256 with TILE accordingly, for bf16 (the
// larger where there are blocks enough to fill the device with them); block_gradient_f32 in blocks of 256 threads, TILE 16.
// Shared memory: STAGES chunks of CHUNK rows of both operands, see CudaBlockGradients.
// Floor: 2 B edge^2 N operations; meant to run at 0.4 of the GEMM rate, a few percent of the step's products in all.
// Reference: Kernels.blockGradients.
#include "inlay.cuh"

#define CHUNK 32
#define STAGES 3

template <int TILE>
struct Tile {
    static const int PITCH = TILE + 8;  // elements: eight rows of a matrix lie in different banks
    static const int ELEMENTS = CHUNK * PITCH;
};

// Begins the copy of [CHUNK, TILE] from row `n`, zeros beyond `rows` and `width`.
template <int TILE, int THREADS>
__device__ __forceinline__ void fetch(bf16* to, const bf16* from, long long stride, long long n, long long rows, int width, bool packed) {
#pragma unroll
    for (int i = 0; i < CHUNK * TILE / 8 / THREADS; i++) {
        const int pack = i * THREADS + threadIdx.x, r = pack / (TILE / 8), c = pack % (TILE / 8) * 8;
        const bf16* source = from + (n + r) * stride + c;
        bf16* target = to + r * Tile<TILE>::PITCH + c;
        const int count = n + r < rows ? width - c : 0;
        if (packed && (count >= 8 || count <= 0)) {
            cp_async16(target, count > 0 ? source : from, count > 0);
        } else {
            Pack<bf16> values;
#pragma unroll
            for (int j = 0; j < 8; j++) {
                values.at[j] = j < count ? source[j] : 0;
            }
            store_pack(target, values);
        }
    }
}

// A warp makes 32 x 32 (TILE 64, 2 x 2 warps) or 64 x 32 (TILE 128, 2 x 4 warps).
template <int TILE>
__device__ __forceinline__ void gradients(const bf16* dy, long long dy_stride, const bf16* x, long long x_stride, const int* rows,
                                          const int* columns, int edge, long long tokens, void* gradient, int gradient_f32) {
    INLAY_DYNAMIC_SHARED(bf16, ring);
    const int PITCH = Tile<TILE>::PITCH, ELEMENTS = Tile<TILE>::ELEMENTS, ACROSS = TILE / 32, THREADS = 2 * ACROSS * INLAY_WARP;
    const int MT = TILE / 32, NT = 4;
    const int warp = threadIdx.x / INLAY_WARP, lane = threadIdx.x % INLAY_WARP, g = lane / 4, t = lane % 4;
    const int across = (edge + TILE - 1) / TILE, i0 = blockIdx.x / across * TILE, j0 = blockIdx.x % across * TILE, b = blockIdx.y;
    const bf16* left = dy + static_cast<long long>(rows[b]) * edge + i0;
    const bf16* right = x + static_cast<long long>(columns[b]) * edge + j0;
    const bool left_packed = aligned_rows(left, dy_stride), right_packed = aligned_rows(right, x_stride);
    const int row = warp / ACROSS * 16 * MT, column = warp % ACROSS * 32;

    float d[MT][NT][4] = {};
    const int chunks = static_cast<int>((tokens + CHUNK - 1) / CHUNK);
    const auto issue = [&](int chunk) {
        if (chunk < chunks) {
            bf16* stage = ring + chunk % STAGES * 2 * ELEMENTS;
            fetch<TILE, THREADS>(stage, left, dy_stride, static_cast<long long>(chunk) * CHUNK, tokens, edge - i0, left_packed);
            fetch<TILE, THREADS>(stage + ELEMENTS, right, x_stride, static_cast<long long>(chunk) * CHUNK, tokens, edge - j0, right_packed);
        }
        cp_async_commit();
    };
    for (int i = 0; i < STAGES - 1; i++) {
        issue(i);
    }
    for (int chunk = 0; chunk < chunks; chunk++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        issue(chunk + STAGES - 1);
        const bf16* stage = ring + chunk % STAGES * 2 * ELEMENTS;
#pragma unroll
        for (int k = 0; k < CHUNK; k += 16) {
            unsigned a[MT][4], bs[NT][2];
#pragma unroll
            for (int i = 0; i < MT; i++) {
                // Matrices: rows 0-7 and 8-15 of the result lie across, those of k down.
                ldmatrix_x4_transposed(a[i], stage + (k + lane / 16 * 8 + lane % 8) * PITCH + row + i * 16 + lane / 8 % 2 * 8);
            }
#pragma unroll
            for (int n = 0; n < NT; n += 2) {
                unsigned pair[4];
                ldmatrix_x4_transposed(pair, stage + ELEMENTS + (k + lane / 8 % 2 * 8 + lane % 8) * PITCH + column + (n + lane / 16) * 8);
                bs[n][0] = pair[0];
                bs[n][1] = pair[1];
                bs[n + 1][0] = pair[2];
                bs[n + 1][1] = pair[3];
            }
#pragma unroll
            for (int i = 0; i < MT; i++) {
#pragma unroll
                for (int n = 0; n < NT; n++) {
                    mma_bf16_16x8x16(d[i][n], a[i], bs[n]);
                }
            }
        }
    }
    const long long first = static_cast<long long>(b) * edge * edge;
#pragma unroll
    for (int i = 0; i < MT; i++) {
#pragma unroll
        for (int n = 0; n < NT; n++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int r = i0 + row + i * 16 + j / 2 * 8 + g, c = j0 + column + n * 8 + 2 * t + (j & 1);
                if (r < edge && c < edge) {
                    const long long at = first + static_cast<long long>(r) * edge + c;
                    if (gradient_f32) {
                        static_cast<float*>(gradient)[at] = d[i][n][j];
                    } else {
                        set(static_cast<bf16*>(gradient) + at, d[i][n][j]);
                    }
                }
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(128)
    block_gradient_64(const bf16* dy, long long dy_stride, const bf16* x, long long x_stride, const int* rows, const int* columns, int edge,
                      long long tokens, void* gradient, int gradient_f32) {
    gradients<64>(dy, dy_stride, x, x_stride, rows, columns, edge, tokens, gradient, gradient_f32);
}
INLAY_KERNEL(block_gradient_64);

extern "C" __global__ void __launch_bounds__(256)
    block_gradient_128(const bf16* dy, long long dy_stride, const bf16* x, long long x_stride, const int* rows, const int* columns,
                       int edge, long long tokens, void* gradient, int gradient_f32) {
    gradients<128>(dy, dy_stride, x, x_stride, rows, columns, edge, tokens, gradient, gradient_f32);
}
INLAY_KERNEL(block_gradient_128);

extern "C" __global__ void __launch_bounds__(256)
    block_gradient_f32(const float* dy, long long dy_stride, const float* x, long long x_stride, const int* rows, const int* columns,
                       int edge, long long tokens, float* gradient) {
    __shared__ float left[16][17], right[16][17];
    const int i = threadIdx.x / 16, j = threadIdx.x % 16, across = (edge + 15) / 16;
    const int i0 = blockIdx.x / across * 16, j0 = blockIdx.x % across * 16, b = blockIdx.y;
    const float* from_left = dy + static_cast<long long>(rows[b]) * edge + i0;
    const float* from_right = x + static_cast<long long>(columns[b]) * edge + j0;
    float sum = 0;
    for (long long n = 0; n < tokens; n += 16) {
        left[i][j] = n + i < tokens && i0 + j < edge ? from_left[(n + i) * dy_stride + j] : 0;
        right[i][j] = n + i < tokens && j0 + j < edge ? from_right[(n + i) * x_stride + j] : 0;
        __syncthreads();
#pragma unroll
        for (int k = 0; k < 16; k++) {
            sum = fmaf(left[k][i], right[k][j], sum);
        }
        __syncthreads();
    }
    if (i0 + i < edge && j0 + j < edge) {
        gradient[(static_cast<long long>(b) * edge + i0 + i) * edge + j0 + j] = sum;
    }
}
INLAY_KERNEL(block_gradient_f32);
