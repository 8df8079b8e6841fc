// out[r, h] = softmax(scale q[r, h] k^T) v for one position of each of R sequences, over the keys and values that each has cached.
//
//   q, out    T [R, Q, D], any strides of the first two dimensions; T bf16 or fp32, D up to 256
//   pages     addresses [R, `most`]: page p of a sequence holds positions 16 p to 16 p + 15 as T [G, 16, D], keys at one offset in bytes
//             from its address and values at another; `lengths` int [R]. In decode_attention, keys and values T [G, S, D] of one sequence.
//   partial   fp32, for each row [Q, its splits, D + 2]: the mix of values, the largest score and the sum of exponentials; `firsts` [R]
//             says how many splits the rows before have
// Query head h reads key/value head h / (Q / G).
//
// Positions are cut into splits of SPLIT, each summed in an order of its own and then all in theirs, so that a row's bits depend on its own
// cache alone, however many rows and longer caches are beside it.
// Launch: paged_attention, decode_attention in blocks of 128 threads, grid (splits of the longest, G ceil(Q / G / HEADS), R): the heads
// of a group share what is read. Entries `_64`, `_128`, `_256` for D up to that. Then attention_splits in blocks of 128, grid (Q, R).
// Floor: 2 G length D elements a row; meant to run at 0.75 of an H100's bandwidth from 4 MB of cache on.
// Reference: ScalarKernels.decodeAttention, Kernels.pagedAttention.
#include "inlay.cuh"
#include "pages.cuh"

#define SPLIT 256
#define HEADS 4
#define THREADS 128
#define AHEAD 4  // positions that a lane loads at once

template <typename T>
struct Eight {
    Pack<T> at[8 / Pack<T>::N];
};

// Eight elements, zeros beyond `count`.
template <typename T>
__device__ __forceinline__ Eight<T> load_eight(const T* from, int count) {
    const int N = Pack<T>::N;
    Eight<T> to;
    if (count >= 8 && aligned16(from)) {
#pragma unroll
        for (int i = 0; i < 8 / N; i++) {
            to.at[i] = load_pack(from + i * N);
        }
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            to.at[i / N].at[i % N] = i < count ? from[i] : 0;
        }
    }
    return to;
}

template <typename T>
__device__ __forceinline__ float element(const Eight<T>& from, int i) {
    return to_float(from.at[i / Pack<T>::N].at[i % Pack<T>::N]);
}

template <typename T>
struct PagedCache {
    const unsigned long long* pages;  // of the split
    long long offset;
    int group, dim;

    __device__ __forceinline__ const T* row(int position) const {
        return row_in_pages<const T>(pages, offset, group, position, dim);
    }
};

template <typename T>
struct DenseCache {
    const T* rows;  // of the split
    long long stride;

    __device__ __forceinline__ const T* row(int position) const { return rows + position * stride; }
};

__device__ __forceinline__ int splits_of(int length) {
    return (length + SPLIT - 1) / SPLIT;
}

struct Heads {
    long long q_row, q_head;
    int heads, groups, dim, splits;  // splits of the row
    float scale;
};

// One split of `count` positions for HEADS heads from `first` of which `mine` are real; LANES lanes share a position, each with 8 of D.
template <typename T, int LANES, typename Cache>
__device__ __forceinline__ void split(const T* q, const Heads& a, const Cache& keys, const Cache& values, int count, int first, int mine,
                                      float* partial) {
    __shared__ float weights[HEADS][SPLIT];
    __shared__ float tops[HEADS], totals[HEADS];
    __shared__ float mixes[THREADS / INLAY_WARP][HEADS][LANES * 8];
    const int subs = THREADS / LANES, sub = threadIdx.x / LANES, d = threadIdx.x % LANES * 8, left = a.dim - d;
    const int warp = threadIdx.x / INLAY_WARP, lane = threadIdx.x % INLAY_WARP;
    const Eight<T> none = {};

    Eight<T> query[HEADS];
#pragma unroll
    for (int h = 0; h < HEADS; h++) {
        query[h] = h < mine ? load_eight(q + (first + h) * a.q_head + d, left) : none;
    }
    for (int base = 0; base < count; base += subs * AHEAD) {
        Eight<T> key[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const int position = base + i * subs + sub;
            key[i] = position < count ? load_eight(keys.row(position) + d, left) : none;
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const int position = base + i * subs + sub;
#pragma unroll
            for (int h = 0; h < HEADS; h++) {
                float dot = 0;
#pragma unroll
                for (int e = 0; e < 8; e++) {
                    dot = fmaf(element(query[h], e), element(key[i], e), dot);
                }
#pragma unroll
                for (int distance = LANES / 2; distance > 0; distance /= 2) {
                    dot += __shfl_xor_sync(INLAY_ALL_LANES, dot, distance);
                }
                if (d == 0 && position < count) {
                    weights[h][position] = dot * a.scale;
                }
            }
        }
    }
    __syncthreads();

    // A warp for each head.
    float top = -INFINITY;
    for (int position = lane; position < count; position += INLAY_WARP) {
        top = larger(top, weights[warp][position]);
    }
    top = warp_max(top);
    // A split in which nothing weighs anything, beside others in which something may.
    const float reference = top == -INFINITY ? 0 : top;
    float total = 0;
    for (int position = lane; position < count; position += INLAY_WARP) {
        const float weight = __expf(weights[warp][position] - reference);
        weights[warp][position] = weight;
        total += weight;
    }
    total = warp_sum(total);
    if (lane == 0) {
        tops[warp] = top;
        totals[warp] = total;
    }
    __syncthreads();

    float mix[HEADS][8] = {};
    for (int base = 0; base < count; base += subs * AHEAD) {
        Eight<T> value[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const int position = base + i * subs + sub;
            value[i] = position < count ? load_eight(values.row(position) + d, left) : none;
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const int position = base + i * subs + sub;
            if (position < count) {
#pragma unroll
                for (int h = 0; h < HEADS; h++) {
                    const float weight = weights[h][position];
#pragma unroll
                    for (int e = 0; e < 8; e++) {
                        mix[h][e] = fmaf(weight, element(value[i], e), mix[h][e]);
                    }
                }
            }
        }
    }
#pragma unroll
    for (int h = 0; h < HEADS; h++) {
#pragma unroll
        for (int e = 0; e < 8; e++) {
#pragma unroll
            for (int distance = LANES; distance < INLAY_WARP; distance *= 2) {
                mix[h][e] += __shfl_xor_sync(INLAY_ALL_LANES, mix[h][e], distance);
            }
            if (lane < LANES) {
                mixes[warp][h][d + e] = mix[h][e];
            }
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < mine * (a.dim + 2); i += THREADS) {
        const int h = i / (a.dim + 2), at = i % (a.dim + 2);
        float value;
        if (at < a.dim) {
            value = mixes[0][h][at];
#pragma unroll
            for (int w = 1; w < THREADS / INLAY_WARP; w++) {
                value += mixes[w][h][at];
            }
        } else {
            value = at == a.dim ? tops[h] : totals[h];
        }
        partial[static_cast<long long>(first + h) * a.splits * (a.dim + 2) + at] = value;
    }
}

template <typename T, int LANES>
__device__ __forceinline__ void paged(const T* q, Heads a, const unsigned long long* pages, long long most, const int* lengths,
                                      const long long* firsts, long long key_offset, long long value_offset, float* partial) {
    __shared__ unsigned long long split_pages[SPLIT / PAGE];
    const int r = blockIdx.z, length = lengths[r], begin = blockIdx.x * SPLIT;
    if (begin >= length) {
        return;
    }
    const int count = min(SPLIT, length - begin);
    a.splits = splits_of(length);
    for (int i = threadIdx.x; i * PAGE < count; i += THREADS) {
        split_pages[i] = pages[r * most + begin / PAGE + i];
    }
    __syncthreads();
    const int each = a.heads / a.groups, sets = (each + HEADS - 1) / HEADS, group = blockIdx.y / sets, from = blockIdx.y % sets * HEADS;
    const PagedCache<T> keys = {split_pages, key_offset, group, a.dim};
    const PagedCache<T> values = {split_pages, value_offset, group, a.dim};
    split<T, LANES>(q + r * a.q_row, a, keys, values, count, group * each + from, min(HEADS, each - from),
                    partial + (firsts[r] * a.heads + blockIdx.x) * (a.dim + 2));
}

template <typename T, int LANES>
__device__ __forceinline__ void dense(const T* q, const Heads& a, const T* keys, long long key_group, long long key_row, const T* values,
                                      long long value_group, long long value_row, int length, float* partial) {
    const int begin = blockIdx.x * SPLIT;
    const int each = a.heads / a.groups, sets = (each + HEADS - 1) / HEADS, group = blockIdx.y / sets, from = blockIdx.y % sets * HEADS;
    const DenseCache<T> key_cache = {keys + group * key_group + begin * key_row, key_row};
    const DenseCache<T> value_cache = {values + group * value_group + begin * value_row, value_row};
    split<T, LANES>(q, a, key_cache, value_cache, min(SPLIT, length - begin), group * each + from, min(HEADS, each - from),
                    partial + static_cast<long long>(blockIdx.x) * (a.dim + 2));
}

#define ATTENTION(suffix, T, LANES) \
    extern "C" __global__ void __launch_bounds__(THREADS) paged_attention_##suffix( \
        const T* q, long long q_row, long long q_head, const unsigned long long* pages, long long most, const int* lengths, \
        const long long* firsts, long long key_offset, long long value_offset, float* partial, int heads, int groups, int dim, \
        float scale) { \
        const Heads a = {q_row, q_head, heads, groups, dim, 0, scale}; \
        paged<T, LANES>(q, a, pages, most, lengths, firsts, key_offset, value_offset, partial); \
    } \
    INLAY_KERNEL(paged_attention_##suffix); \
    extern "C" __global__ void __launch_bounds__(THREADS) decode_attention_##suffix( \
        const T* q, long long q_head, const T* keys, long long key_group, long long key_row, const T* values, long long value_group, \
        long long value_row, int length, float* partial, int heads, int groups, int dim, float scale) { \
        const Heads a = {0, q_head, heads, groups, dim, splits_of(length), scale}; \
        dense<T, LANES>(q, a, keys, key_group, key_row, values, value_group, value_row, length, partial); \
    } \
    INLAY_KERNEL(decode_attention_##suffix)

ATTENTION(64_bf16, bf16, 8);
ATTENTION(128_bf16, bf16, 16);
ATTENTION(256_bf16, bf16, 32);
ATTENTION(64_f32, float, 8);
ATTENTION(128_f32, float, 16);
ATTENTION(256_f32, float, 32);

// Adds a row's splits. `lengths` and `firsts` null: there is one row, of `length`.
template <typename T>
__device__ __forceinline__ void add_splits(const float* partial, const int* lengths, const long long* firsts, int length, int dim, T* out,
                                           long long row, long long head) {
    const int h = blockIdx.x, r = blockIdx.y, width = dim + 2;
    const int count = splits_of(lengths == nullptr ? length : lengths[r]);
    const long long first = firsts == nullptr ? 0 : firsts[r];
    const float* mine = partial + (first * gridDim.x + h * count) * width;
    float top = -INFINITY;
    for (int s = 0; s < count; s++) {
        top = larger(top, mine[s * width + dim]);
    }
    for (int d = threadIdx.x; d < dim; d += THREADS) {
        float mix = 0, total = 0;
        for (int s = 0; s < count; s++) {
            const float weight = __expf(mine[s * width + dim] - top);
            mix += weight * mine[s * width + d];
            total += weight * mine[s * width + dim + 1];
        }
        set(out + r * row + h * head + d, mix / total);
    }
}

#define SPLITS(suffix, T) \
    extern "C" __global__ void __launch_bounds__(THREADS) attention_splits_##suffix( \
        const float* partial, const int* lengths, const long long* firsts, int length, int dim, T* out, long long row, long long head) { \
        add_splits(partial, lengths, firsts, length, dim, out, row, head); \
    } \
    INLAY_KERNEL(attention_splits_##suffix)

SPLITS(bf16, bf16);
SPLITS(f32, float);
