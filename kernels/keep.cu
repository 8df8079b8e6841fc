// keys_at[n][g, :] = keys[n, g, :], and likewise values: new positions' keys and values into the pages of their caches.
//
//   keys, values         T [tokens, groups, dim], dense
//   keys_at, values_at   addresses [tokens] of a position's first group in its page; its next group lies `group_stride` elements further
//
// Launch: blocks of 128 threads, a thread copies 8 elements of a group's key and value: grid x = ceil(groups ceil(dim / 8) / 128), grid y =
// min(tokens, 65535), tokens beyond by a loop. Floor: 8 bytes an element of bf16; one launch's latency at the sizes of decoding.
// Reference: KvPages.row, which says where a position lies.
#include "inlay.cuh"

template <typename T>
__device__ __forceinline__ void keep_rows(const T* keys, const T* values, T* const* keys_at, T* const* values_at, long long tokens,
                                          int groups, int dim, long long group_stride) {
    const int pieces = (dim + 7) / 8;
    const int mine = blockIdx.x * blockDim.x + threadIdx.x;
    const int group = mine / pieces, first = mine % pieces * 8;
    for (long long n = blockIdx.y; n < tokens && group < groups; n += gridDim.y) {
        const long long from = (n * groups + group) * dim;
        T* key = keys_at[n] + group * group_stride;
        T* value = values_at[n] + group * group_stride;
        copy8(key, keys + from, first, dim, aligned16(key) && aligned16(keys + from));
        copy8(value, values + from, first, dim, aligned16(value) && aligned16(values + from));
    }
}

#define KEEP(name, T) \
    extern "C" __global__ void __launch_bounds__(128, 4) \
        name(const T* keys, const T* values, T* const* keys_at, T* const* values_at, long long tokens, int groups, int dim, \
             long long group_stride) { \
        keep_rows(keys, values, keys_at, values_at, tokens, groups, dim, group_stride); \
    } \
    INLAY_KERNEL(name)

KEEP(keep_bf16, bf16);
KEEP(keep_f32, float);
