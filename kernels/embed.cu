// embed:           out[n, :] = table[ids[n], :]
// embed_backward:  grad_table[ids[n], :] += grad_out[n, :], in the order of n
//
//   table       T [vocabulary, width], rows `table_stride` elements apart; out T [tokens, width]; ids int32 [tokens]
//   grad_table  fp32 [vocabulary, width]; grad_out T [tokens, width]
//
// An id outside the table gives a row of NaN, and has no gradient.
//
// Launch of embed: grid x = ceil(width / 8 block), grid y = min(tokens, 65535), blocks of 32 to 256 threads, a thread takes 8 elements.
// Floor: 4 bytes an element of bf16; meant to run at 0.85 of the bandwidth.
// Launch of embed_backward: grid x = tokens, blocks of 256. The block of an id's first token, which it finds by reading the ids before,
// adds all rows of that id, found 256 tokens at a time; the others end. Floor: 10 bytes an element of bf16 in rows that occur once; meant
// to run at 0.5 of the bandwidth, since a frequent id's rows are added one after another.
// References: ScalarKernels.embed, ScalarKernels.embedBackward.
#include "inlay.cuh"

template <typename T>
__device__ __forceinline__ void copy_rows(const T* table, long long table_stride, int vocabulary, const int* ids, T* out,
                                          long long out_stride, long long tokens, long long width) {
    const bool packed = aligned_rows(table, table_stride) && aligned_rows(out, out_stride);
    const long long first = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
    for (long long n = blockIdx.y; n < tokens && first < width; n += gridDim.y) {
        const int id = ids[n];
        T* to = out + n * out_stride;
        if (id >= 0 && id < vocabulary) {
            copy8(to, table + id * table_stride, first, width, packed);
        } else {
            for (int i = 0; i < 8 && first + i < width; i++) {
                set_nan(to + first + i);
            }
        }
    }
}

#define EMBED(name, T) \
    extern "C" __global__ void __launch_bounds__(256) \
        name(const T* table, long long table_stride, int vocabulary, const int* ids, T* out, long long out_stride, long long tokens, \
             long long width) { \
        copy_rows(table, table_stride, vocabulary, ids, out, out_stride, tokens, width); \
    } \
    INLAY_KERNEL(name)

EMBED(embed_bf16, bf16);
EMBED(embed_f32, float);

template <typename T>
__device__ __forceinline__ void add_rows_of_id(const T* grad_out, long long out_stride, const int* ids, float* grad_table,
                                               long long table_stride, int vocabulary, int tokens, long long width) {
    __shared__ int seen[256];
    __shared__ int found[256];
    __shared__ int counts[INLAY_WARP];
    const int n = blockIdx.x;
    const int id = ids[n];
    int before = id < 0 || id >= vocabulary;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        before |= ids[i] == id;
    }
    seen[threadIdx.x] = before;
    __syncthreads();
    for (int i = 0; i < static_cast<int>(blockDim.x); i++) {
        before |= seen[i];
    }
    if (before) {
        return;
    }
    const bool packed = aligned_rows(grad_out, out_stride) && aligned_rows(grad_table, table_stride);
    const int warp = threadIdx.x / INLAY_WARP, lane = threadIdx.x % INLAY_WARP;
    for (int from = n; from < tokens; from += blockDim.x) {
        const int token = from + threadIdx.x;
        const bool same = token < tokens && ids[token] == id;
        const unsigned votes = __ballot_sync(INLAY_ALL_LANES, same);
        if (lane == 0) {
            counts[warp] = __popc(votes);
        }
        __syncthreads();
        int at = __popc(votes & ((1u << lane) - 1)), total = 0;
        for (int w = 0; w < static_cast<int>(blockDim.x) / INLAY_WARP; w++) {
            at += w < warp ? counts[w] : 0;
            total += counts[w];
        }
        if (same) {
            found[at] = token;
        }
        __syncthreads();
        for (long long first = threadIdx.x * 8LL; first < width && total > 0; first += blockDim.x * 8LL) {
            float sum[8], grad[8];
            read8(sum, grad_table + id * table_stride, first, width, packed);
            for (int i = 0; i < total; i++) {
                read8(grad, grad_out + found[i] * out_stride, first, width, packed);
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    sum[j] += grad[j];
                }
            }
            write8(grad_table + id * table_stride, sum, first, width, packed);
        }
        __syncthreads();
    }
}

#define EMBED_BACKWARD(name, T) \
    extern "C" __global__ void __launch_bounds__(256) \
        name(const T* grad_out, long long out_stride, const int* ids, float* grad_table, long long table_stride, int vocabulary, \
             int tokens, long long width) { \
        add_rows_of_id(grad_out, out_stride, ids, grad_table, table_stride, vocabulary, tokens, width); \
    } \
    INLAY_KERNEL(name)

EMBED_BACKWARD(embed_backward_bf16, bf16);
EMBED_BACKWARD(embed_backward_f32, float);
