// out = p v with p = softmax(scale q k^T), each position over those up to its own: of whole sequences that lie one after another, and of
// the last positions of a sequence over cached pages.
//
//   q, out    T [N, Q, D]; k, v T [N, G, D], any strides of the first two dimensions; T bf16 or fp32, D up to 256
//   starts    int [sequences + 1], from 0 to N
//   log_sums  fp32 [Q, N]: the logarithm of the sum of the exponentials of a row's scaled scores, or null
//   pages     as in paged_attention.cu, of one sequence of `length` positions of which the last N have queries
// Query head h reads key/value head h / (Q / G).
//
// Keys are taken in tiles at fixed positions of their sequence, so a row's bits do not depend on which rows are asked for with it. Tensor
// cores take bf16 operands; p goes in as the sum of two, so that it keeps 16 bits: with one, results err by more than the rounding of
// what is written. That makes 3 products of 2.
//
// Launch, in blocks of 128 threads:
//   {paged_,}causal_attention_{64,128}  bf16 of D up to that: grid (N / 64 + sequences, Q), paged (ceil(N / 64), Q); a block takes ROWS
//                                       queries of a head and streams tiles of KEYS keys and values, two of them in flight
//   ..._any_{bf16,f32}                  grid (ceil(N / 4), Q): a warp for each row
// Shared memory of the first: (ROWS + 4 KEYS) rows of D + 8 elements.
// Floor: 4 D operations for each pair of a query and a key that it sees; meant to run at 0.3 of the GEMM rate of an H100 at 2048 positions.
// Reference: ScalarAttention.forward, Kernels.pagedCausalAttention.
#include "inlay.cuh"
#include "pages.cuh"
#include "sequences.cuh"

#define KEYS 64

// Queries `first` to first + ROWS - 1 of those in `queries`, the i-th at position `ahead` + i of the sequence that keys and values are of.
template <int D, typename Cache>
__device__ __forceinline__ void attend(const RowsOf<bf16>& queries, int first, int ahead, const Cache& keys, const Cache& values, int dim,
                                       float scale, bf16* out, long long out_stride, float* log_sums) {
    INLAY_DYNAMIC_SHARED(bf16, shared);
    const int SIZE = KEYS * PITCH(D);  // shared: keys twice, values twice, queries
    const int warp = threadIdx.x / INLAY_WARP, lane = threadIdx.x % INLAY_WARP, g = lane / 4, t = lane % 4;
    bf16* mine = shared + 4 * SIZE;
    fetch<D, ROWS>(mine, queries, first, dim);
    const int last = min(queries.length, first + ROWS) - 1 + ahead;  // position of the last query
    const int tiles = last / KEYS + 1;
    const auto issue = [&](int tile) {
        if (tile < tiles) {
            fetch<D, KEYS>(shared + tile % 2 * SIZE, keys, tile * KEYS, dim);
            fetch<D, KEYS>(shared + (2 + tile % 2) * SIZE, values, tile * KEYS, dim);
        }
        cp_async_commit();
    };
    issue(0);
    float mix[D / 8][4];
    zero<D>(mix);
    float top[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
    const int row = first + warp * 16 + g + ahead;  // position of the first of the lane's two queries
    for (int tile = 0; tile < tiles; tile++) {
        issue(tile + 1);
        cp_async_wait<1>();
        __syncthreads();
        float p[KEYS / 8][4];
        multiply_rows<D, KEYS / 8>(p, mine + warp * 16 * PITCH(D), shared + tile % 2 * SIZE);
        float highest[2] = {top[0], top[1]};
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int key = tile * KEYS + n * 8 + 2 * t + (j & 1);
                p[n][j] = key <= row + j / 2 * 8 ? p[n][j] * scale : -INFINITY;
                highest[j / 2] = larger(highest[j / 2], p[n][j]);
            }
        }
#pragma unroll
        for (int i = 0; i < 2; i++) {
            highest[i] = quad_max(highest[i]);
            const float factor = __expf(top[i] - (highest[i] == -INFINITY ? 0 : highest[i]));
            top[i] = highest[i];
            total[i] *= factor;
#pragma unroll
            for (int n = 0; n < D / 8; n++) {
                mix[n][2 * i] *= factor;
                mix[n][2 * i + 1] *= factor;
            }
        }
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                p[n][j] = __expf(p[n][j] - (top[j / 2] == -INFINITY ? 0 : top[j / 2]));
                total[j / 2] += p[n][j];
            }
        }
        add_product<D, KEYS / 8>(mix, p, shared + (2 + tile % 2) * SIZE);
        __syncthreads();
    }
    float factor[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        total[i] = quad_sum(total[i]);
        factor[i] = 1 / total[i];
        const int at = first + warp * 16 + g + 8 * i;
        if (log_sums != nullptr && t == 0 && at < queries.length) {
            log_sums[at] = top[i] + logf(total[i]);
        }
    }
    const int begin = first + warp * 16;
    write_rows<D>(out + begin * out_stride, out_stride, mix, factor, queries.length - begin, dim);
}

template <int D>
__device__ __forceinline__ void causal(const bf16* q, Strides qs, const bf16* k, Strides ks, const bf16* v, Strides vs, const Packed& a,
                                       bf16* out, Strides os, float* log_sums) {
    const Sequence s = sequence_of(a.starts, a.sequences, true);
    if (s.tile < 0) {
        return;
    }
    const int h = blockIdx.y, group = h / (a.heads / a.groups);
    const long long start = s.start;
    const RowsOf<bf16> queries = {q + start * qs.row + h * qs.head, qs.row, s.length};
    const RowsOf<bf16> keys = {k + start * ks.row + group * ks.head, ks.row, s.length};
    const RowsOf<bf16> values = {v + start * vs.row + group * vs.head, vs.row, s.length};
    attend<D>(queries, s.tile * ROWS, 0, keys, values, a.dim, a.scale, out + start * os.row + h * os.head, os.row,
              log_sums == nullptr ? nullptr : log_sums + h * a.tokens + start);
}

template <int D>
__device__ __forceinline__ void paged_causal(const bf16* q, Strides qs, const unsigned long long* pages, long long key_offset,
                                             long long value_offset, int length, int tokens, int heads, int groups, int dim, float scale,
                                             bf16* out, Strides os) {
    const int h = blockIdx.y, group = h / (heads / groups);
    const RowsOf<bf16> queries = {q + h * qs.head, qs.row, tokens};
    const PagesOf<bf16> keys = {pages, key_offset, group, dim, length};
    const PagesOf<bf16> values = {pages, value_offset, group, dim, length};
    attend<D>(queries, (gridDim.x - 1 - blockIdx.x) * ROWS, length - tokens, keys, values, dim, scale, out + h * os.head, os.row, nullptr);
}

#define CAUSAL(D) \
    extern "C" __global__ void __launch_bounds__(THREADS) causal_attention_##D( \
        const bf16* q, long long q_row, long long q_head, const bf16* k, long long k_row, long long k_head, const bf16* v, \
        long long v_row, long long v_head, const int* starts, int sequences, bf16* out, long long out_row, long long out_head, \
        float* log_sums, long long tokens, int heads, int groups, int dim, float scale) { \
        const Packed a = {starts, sequences, heads, groups, dim, tokens, scale}; \
        causal<D>(q, {q_row, q_head}, k, {k_row, k_head}, v, {v_row, v_head}, a, out, {out_row, out_head}, log_sums); \
    } \
    INLAY_KERNEL(causal_attention_##D); \
    extern "C" __global__ void __launch_bounds__(THREADS) paged_causal_attention_##D( \
        const bf16* q, long long q_row, long long q_head, const unsigned long long* pages, long long key_offset, long long value_offset, \
        int length, bf16* out, long long out_row, long long out_head, int tokens, int heads, int groups, int dim, float scale) { \
        paged_causal<D>(q, {q_row, q_head}, pages, key_offset, value_offset, length, tokens, heads, groups, dim, scale, out, \
                        {out_row, out_head}); \
    } \
    INLAY_KERNEL(paged_causal_attention_##D)

CAUSAL(64);
CAUSAL(128);

// ---- any D and type ----

// One query that sees positions 0 to `position`.
template <typename T, typename Cache>
__device__ __forceinline__ void attend_any(const T* q, const Cache& keys, const Cache& values, int position, int dim, float scale, T* out,
                                           float* log_sum) {
    __shared__ float queries[WARPS][MOST], factors[WARPS][INLAY_WARP];
    const int warp = threadIdx.x / INLAY_WARP, lane = threadIdx.x % INLAY_WARP;
    load_row(queries[warp], q, dim);
    __syncwarp();
    float top = -INFINITY, total = 0, mix[PART] = {};
    for (int base = 0; base <= position; base += INLAY_WARP) {
        const float score = base + lane <= position ? dot(queries[warp], keys.row(base + lane), dim) * scale : -INFINITY;
        const float highest = larger(top, warp_max(score)), reference = highest == -INFINITY ? 0 : highest;
        const float factor = __expf(top - reference), p = __expf(score - reference);
        top = highest;
        total = total * factor + warp_sum(p);
        factors[warp][lane] = p;
        __syncwarp();
#pragma unroll
        for (int i = 0; i < PART; i++) {
            mix[i] *= factor;
        }
        add_rows(mix, factors[warp], values, base, min(INLAY_WARP, position + 1 - base), dim);
        __syncwarp();
    }
    write_row(out, mix, 1 / total, dim);
    if (log_sum != nullptr && lane == 0) {
        *log_sum = top + logf(total);
    }
}

template <typename T>
__device__ __forceinline__ void causal_any(const T* q, Strides qs, const T* k, Strides ks, const T* v, Strides vs, const Packed& a, T* out,
                                           Strides os, float* log_sums) {
    const long long n = blockIdx.x * WARPS + threadIdx.x / INLAY_WARP;
    if (n >= a.tokens) {
        return;
    }
    const Sequence s = sequence_with(a.starts, static_cast<int>(n));
    const int h = blockIdx.y, group = h / (a.heads / a.groups);
    const RowsOf<T> keys = {k + s.start * ks.row + group * ks.head, ks.row, s.length};
    const RowsOf<T> values = {v + s.start * vs.row + group * vs.head, vs.row, s.length};
    attend_any(q + n * qs.row + h * qs.head, keys, values, static_cast<int>(n) - s.start, a.dim, a.scale, out + n * os.row + h * os.head,
               log_sums == nullptr ? nullptr : log_sums + h * a.tokens + n);
}

template <typename T>
__device__ __forceinline__ void paged_causal_any(const T* q, Strides qs, const unsigned long long* pages, long long key_offset,
                                                 long long value_offset, int length, T* out, Strides os, int tokens, int heads, int groups,
                                                 int dim, float scale) {
    const int n = blockIdx.x * WARPS + threadIdx.x / INLAY_WARP;
    if (n >= tokens) {
        return;
    }
    const int h = blockIdx.y, group = h / (heads / groups);
    const PagesOf<T> keys = {pages, key_offset, group, dim, length};
    const PagesOf<T> values = {pages, value_offset, group, dim, length};
    attend_any(q + n * qs.row + h * qs.head, keys, values, length - tokens + n, dim, scale, out + n * os.row + h * os.head,
               static_cast<float*>(nullptr));
}

#define ANY(suffix, T) \
    extern "C" __global__ void __launch_bounds__(THREADS) causal_attention_any_##suffix( \
        const T* q, long long q_row, long long q_head, const T* k, long long k_row, long long k_head, const T* v, long long v_row, long \
        long v_head, const int* starts, int sequences, T* out, long long out_row, long long out_head, float* log_sums, long long tokens, \
        int heads, int groups, int dim, float scale) { \
        const Packed a = {starts, sequences, heads, groups, dim, tokens, scale}; \
        causal_any<T>(q, {q_row, q_head}, k, {k_row, k_head}, v, {v_row, v_head}, a, out, {out_row, out_head}, log_sums); \
    } \
    INLAY_KERNEL(causal_attention_any_##suffix); \
    extern "C" __global__ void __launch_bounds__(THREADS) paged_causal_attention_any_##suffix( \
        const T* q, long long q_row, long long q_head, const unsigned long long* pages, long long key_offset, long long value_offset, \
        int length, T* out, long long out_row, long long out_head, int tokens, int heads, int groups, int dim, float scale) { \
        paged_causal_any<T>(q, {q_row, q_head}, pages, key_offset, value_offset, length, out, {out_row, out_head}, tokens, heads, \
        groups, dim, scale); \
    } \
    INLAY_KERNEL(paged_causal_attention_any_##suffix)

ANY(bf16, bf16);
ANY(f32, float);
