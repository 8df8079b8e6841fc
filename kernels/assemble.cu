// out = w with the blocks of a tile table in place
//
//   w, out  T [rows, columns], rows a stride apart, dense in themselves
//   tiles   addresses [rows / edge, columns / edge] of dense [edge, edge] blocks of T, or 0 for the base's
//
// Launch: blocks of 32 to 256 threads, a thread copies 8 elements of a row: grid x = ceil(columns / 8 block), grid y = min(rows, 65535),
// rows beyond by a loop. Floor: 4 bytes an element of bf16; meant to run at 0.9 of the bandwidth where edge is a multiple of 8 and all
// begins at multiples of 16 bytes. Reference: ScalarKernels.assemble.
#include "inlay.cuh"

template <typename T>
__device__ __forceinline__ const T* weight_at(const T* w, long long stride, const unsigned long long* tiles, unsigned edge, unsigned across,
                                              unsigned row, unsigned column) {
    const T* tile = reinterpret_cast<const T*>(tiles[static_cast<size_t>(row / edge) * across + column / edge]);
    return tile == nullptr ? w + row * stride + column : tile + static_cast<size_t>(row % edge) * edge + column % edge;
}

template <typename T>
__device__ __forceinline__ void assemble_rows(const T* w, long long w_stride, const unsigned long long* tiles, unsigned edge, T* out,
                                              long long out_stride, unsigned rows, unsigned columns) {
    const unsigned across = columns / edge;
    const unsigned first = (blockIdx.x * blockDim.x + threadIdx.x) * 8;
    for (unsigned row = blockIdx.y; row < rows && first < columns; row += gridDim.y) {
        T* to = out + row * out_stride + first;
        if (edge % 8 == 0) {
            const T* from = weight_at(w, w_stride, tiles, edge, across, row, first);
            copy8(to, from, 0, 8, aligned16(to) && aligned16(from));
        } else {
            for (unsigned i = 0; i < 8 && first + i < columns; i++) {
                to[i] = *weight_at(w, w_stride, tiles, edge, across, row, first + i);
            }
        }
    }
}

#define ASSEMBLE(name, T) \
    extern "C" __global__ void __launch_bounds__(256) \
        name(const T* w, long long w_stride, const unsigned long long* tiles, int edge, T* out, long long out_stride, int rows, \
             int columns) { \
        assemble_rows(w, w_stride, tiles, edge, out, out_stride, rows, columns); \
    } \
    INLAY_KERNEL(name)

ASSEMBLE(assemble_bf16, bf16);
ASSEMBLE(assemble_f32, float);
