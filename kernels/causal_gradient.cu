// Gradients of causal_attention.cu: p = exp(scale q k^T - log_sums), ds = p (gradOut v^T - delta) scale with delta = gradOut out, by rows;
// gradQ = ds k, gradK = ds^T q, gradV = p^T gradOut.
//
//   gradOut, q, out, gradQ    T [N, Q, D]; k, v, gradK, gradV T [N, G, D], any strides of the first two dimensions; T bf16 or fp32
//   log_sums, delta           fp32 [Q, N]; starts int [sequences + 1], from 0 to N
// D goes up to 256; query head h reads key/value head h / (Q / G).
//
// No sum is made by atomic additions: a block owns what it writes, and gradK and gradV add their heads and queries in ascending order.
// Tensor cores take p and ds as sums of two bf16, as causal_attention.cu does. With p made twice, that makes 10 products of 5.
//
// Launch, in blocks of 128 threads, causal_delta_{bf16,f32} first, grid (ceil(N / 4), Q):
//   causal_gradient_keys_{64,128}     bf16 of D up to that: grid (N / 64 + sequences, G); a block takes ROWS keys of a group and streams
//                                     tiles of STREAMED queries of each of its heads, two of them in flight
//   causal_gradient_queries_{64,128}  grid (N / 64 + sequences, Q); a block takes ROWS queries of a head and streams tiles of STREAMED keys
//   ..._any_{bf16,f32}                grid (ceil(N / 4), G or Q): a warp for each row
// Shared memory of the tiled ones: see Resident.
// Floor: 10 D operations for each pair of a query and a key that it sees; meant to run at 0.2 of the GEMM rate of an H100 at 2048
// positions. Reference: ScalarAttention.backward.
#include "inlay.cuh"
#include "pages.cuh"
#include "sequences.cuh"

#define STREAMED 32

// A tile of two operands; where they are queries and their gradients, with what a query has beside them.
template <int D>
struct Stage {
    bf16 first[STREAMED * PITCH(D)];
    bf16 second[STREAMED * PITCH(D)];
    float log_sum[STREAMED];
    float delta[STREAMED];
};

template <int D>
struct Resident {
    bf16 first[ROWS * PITCH(D)];
    bf16 second[ROWS * PITCH(D)];
    Stage<D> stages[2];
};

template <typename T>
struct Given {
    const T *grad_out, *q, *k, *v;
    Strides gs, qs, ks, vs;
    const float *log_sums, *delta;
};

// p of a pair of a query and a key.
__device__ __forceinline__ float share(bool seen, float score, float log_sum, float scale) {
    return seen ? __expf(score * scale - log_sum) : 0;
}

// ds of it; `product` is that of gradOut and the value.
__device__ __forceinline__ float slope(float p, float product, float delta, float scale) {
    return p * (product - delta) * scale;
}

// A warp's 16 keys against 32 queries at a time: rows of its products are keys.
template <int D>
__device__ __forceinline__ void gradient_keys(const Given<bf16>& o, const Packed& a, bf16* grad_k, Strides gk, bf16* grad_v, Strides gv) {
    INLAY_DYNAMIC_SHARED(Resident<D>, shared);
    const Sequence s = sequence_of(a.starts, a.sequences, false);
    if (s.tile < 0) {
        return;
    }
    const int group = blockIdx.y, each = a.heads / a.groups, first = s.tile * ROWS;
    const int warp = threadIdx.x / INLAY_WARP, lane = threadIdx.x % INLAY_WARP, g = lane / 4, t = lane % 4;
    const long long start = s.start;
    const RowsOf<bf16> keys = {o.k + start * o.ks.row + group * o.ks.head, o.ks.row, s.length};
    const RowsOf<bf16> values = {o.v + start * o.vs.row + group * o.vs.head, o.vs.row, s.length};
    fetch<D, ROWS>(shared->first, keys, first, a.dim);
    fetch<D, ROWS>(shared->second, values, first, a.dim);
    const int tiles = (s.length - first + STREAMED - 1) / STREAMED;  // queries from the first key on
    const auto issue = [&](int item) {
        if (item < each * tiles) {
            const int h = group * each + item / tiles, from = first + item % tiles * STREAMED;
            const RowsOf<bf16> queries = {o.q + start * o.qs.row + h * o.qs.head, o.qs.row, s.length};
            const RowsOf<bf16> grads = {o.grad_out + start * o.gs.row + h * o.gs.head, o.gs.row, s.length};
            Stage<D>& stage = shared->stages[item % 2];
            fetch<D, STREAMED>(stage.first, queries, from, a.dim);
            fetch<D, STREAMED>(stage.second, grads, from, a.dim);
            if (threadIdx.x < STREAMED) {
                const bool valid = from + static_cast<int>(threadIdx.x) < s.length;
                const long long at = h * a.tokens + start + from + threadIdx.x;
                stage.log_sum[threadIdx.x] = valid ? o.log_sums[at] : 0;
                stage.delta[threadIdx.x] = valid ? o.delta[at] : 0;
            }
        }
        cp_async_commit();
    };
    issue(0);
    float to_keys[D / 8][4], to_values[D / 8][4];
    zero<D>(to_keys);
    zero<D>(to_values);
    for (int item = 0; item < each * tiles; item++) {
        issue(item + 1);
        cp_async_wait<1>();
        __syncthreads();
        const Stage<D>& stage = shared->stages[item % 2];
        float p[STREAMED / 8][4], ds[STREAMED / 8][4];
        multiply_rows<D, STREAMED / 8>(p, shared->first + warp * 16 * PITCH(D), stage.first);
#pragma unroll
        for (int n = 0; n < STREAMED / 8; n++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int column = n * 8 + 2 * t + (j & 1), query = first + item % tiles * STREAMED + column;
                const bool seen = first + warp * 16 + g + j / 2 * 8 <= query && query < s.length;
                p[n][j] = share(seen, p[n][j], stage.log_sum[column], a.scale);
            }
        }
        add_product<D, STREAMED / 8>(to_values, p, stage.second);
        multiply_rows<D, STREAMED / 8>(ds, shared->second + warp * 16 * PITCH(D), stage.second);
#pragma unroll
        for (int n = 0; n < STREAMED / 8; n++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                ds[n][j] = slope(p[n][j], ds[n][j], stage.delta[n * 8 + 2 * t + (j & 1)], a.scale);
            }
        }
        add_product<D, STREAMED / 8>(to_keys, ds, stage.first);
        __syncthreads();
    }
    const float one[2] = {1, 1};
    const int begin = first + warp * 16;
    write_rows<D>(grad_k + (start + begin) * gk.row + group * gk.head, gk.row, to_keys, one, s.length - begin, a.dim);
    write_rows<D>(grad_v + (start + begin) * gv.row + group * gv.head, gv.row, to_values, one, s.length - begin, a.dim);
}

// A warp's 16 queries against 32 keys at a time.
template <int D>
__device__ __forceinline__ void gradient_queries(const Given<bf16>& o, const Packed& a, bf16* grad_q, Strides gq) {
    INLAY_DYNAMIC_SHARED(Resident<D>, shared);
    const Sequence s = sequence_of(a.starts, a.sequences, true);
    if (s.tile < 0) {
        return;
    }
    const int h = blockIdx.y, group = h / (a.heads / a.groups), first = s.tile * ROWS;
    const int warp = threadIdx.x / INLAY_WARP, lane = threadIdx.x % INLAY_WARP, g = lane / 4, t = lane % 4;
    const long long start = s.start;
    const RowsOf<bf16> queries = {o.q + start * o.qs.row + h * o.qs.head, o.qs.row, s.length};
    const RowsOf<bf16> grads = {o.grad_out + start * o.gs.row + h * o.gs.head, o.gs.row, s.length};
    const RowsOf<bf16> keys = {o.k + start * o.ks.row + group * o.ks.head, o.ks.row, s.length};
    const RowsOf<bf16> values = {o.v + start * o.vs.row + group * o.vs.head, o.vs.row, s.length};
    fetch<D, ROWS>(shared->first, queries, first, a.dim);
    fetch<D, ROWS>(shared->second, grads, first, a.dim);
    const int tiles = (min(s.length, first + ROWS) + STREAMED - 1) / STREAMED;
    const auto issue = [&](int tile) {
        if (tile < tiles) {
            fetch<D, STREAMED>(shared->stages[tile % 2].first, keys, tile * STREAMED, a.dim);
            fetch<D, STREAMED>(shared->stages[tile % 2].second, values, tile * STREAMED, a.dim);
        }
        cp_async_commit();
    };
    issue(0);
    float log_sum[2], delta[2], to_queries[D / 8][4];
    const int begin = first + warp * 16;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const bool valid = begin + g + 8 * i < s.length;
        const long long at = h * a.tokens + start + begin + g + 8 * i;
        log_sum[i] = valid ? o.log_sums[at] : 0;
        delta[i] = valid ? o.delta[at] : 0;
    }
    zero<D>(to_queries);
    for (int tile = 0; tile < tiles; tile++) {
        issue(tile + 1);
        cp_async_wait<1>();
        __syncthreads();
        const Stage<D>& stage = shared->stages[tile % 2];
        float p[STREAMED / 8][4], ds[STREAMED / 8][4];
        multiply_rows<D, STREAMED / 8>(p, shared->first + warp * 16 * PITCH(D), stage.first);
        multiply_rows<D, STREAMED / 8>(ds, shared->second + warp * 16 * PITCH(D), stage.second);
#pragma unroll
        for (int n = 0; n < STREAMED / 8; n++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int key = tile * STREAMED + n * 8 + 2 * t + (j & 1), query = begin + g + j / 2 * 8;
                const float part = share(key <= query && query < s.length, p[n][j], log_sum[j / 2], a.scale);
                ds[n][j] = slope(part, ds[n][j], delta[j / 2], a.scale);
            }
        }
        add_product<D, STREAMED / 8>(to_queries, ds, stage.first);
        __syncthreads();
    }
    const float one[2] = {1, 1};
    write_rows<D>(grad_q + (start + begin) * gq.row + h * gq.head, gq.row, to_queries, one, s.length - begin, a.dim);
}

#define CAUSAL(D) \
    extern "C" __global__ void __launch_bounds__(THREADS) causal_gradient_keys_##D( \
        const bf16* grad_out, long long g_row, long long g_head, const bf16* q, long long q_row, long long q_head, const bf16* k, \
        long long k_row, long long k_head, const bf16* v, long long v_row, long long v_head, const float* log_sums, const float* delta, \
        const int* starts, int sequences, bf16* grad_k, long long gk_row, long long gk_head, bf16* grad_v, long long gv_row, \
        long long gv_head, long long tokens, int heads, int groups, int dim, float scale) { \
        const Given<bf16> o = {grad_out, q, k, v, {g_row, g_head}, {q_row, q_head}, {k_row, k_head}, {v_row, v_head}, log_sums, delta}; \
        const Packed a = {starts, sequences, heads, groups, dim, tokens, scale}; \
        gradient_keys<D>(o, a, grad_k, {gk_row, gk_head}, grad_v, {gv_row, gv_head}); \
    } \
    INLAY_KERNEL(causal_gradient_keys_##D); \
    extern "C" __global__ void __launch_bounds__(THREADS) causal_gradient_queries_##D( \
        const bf16* grad_out, long long g_row, long long g_head, const bf16* q, long long q_row, long long q_head, const bf16* k, \
        long long k_row, long long k_head, const bf16* v, long long v_row, long long v_head, const float* log_sums, const float* delta, \
        const int* starts, int sequences, bf16* grad_q, long long gq_row, long long gq_head, long long tokens, int heads, int groups, \
        int dim, float scale) { \
        const Given<bf16> o = {grad_out, q, k, v, {g_row, g_head}, {q_row, q_head}, {k_row, k_head}, {v_row, v_head}, log_sums, delta}; \
        const Packed a = {starts, sequences, heads, groups, dim, tokens, scale}; \
        gradient_queries<D>(o, a, grad_q, {gq_row, gq_head}); \
    } \
    INLAY_KERNEL(causal_gradient_queries_##D)

CAUSAL(64);
CAUSAL(128);

// ---- any D and type ----

template <typename T>
__device__ __forceinline__ void row_delta(const T* grad_out, Strides gs, const T* out, Strides os, int dim, long long tokens,
                                          float* delta) {
    const long long n = blockIdx.x * WARPS + threadIdx.x / INLAY_WARP;
    if (n >= tokens) {
        return;
    }
    const T* a = grad_out + n * gs.row + blockIdx.y * gs.head;
    const T* b = out + n * os.row + blockIdx.y * os.head;
    float sum = 0;
    for (int d = threadIdx.x % INLAY_WARP; d < dim; d += INLAY_WARP) {
        sum = fmaf(to_float(a[d]), to_float(b[d]), sum);
    }
    sum = warp_sum(sum);
    if (threadIdx.x % INLAY_WARP == 0) {
        delta[blockIdx.y * tokens + n] = sum;
    }
}

// One key of one group: the queries from its position on, of each head.
template <typename T>
__device__ __forceinline__ void gradient_key_any(const Given<T>& o, const Packed& a, T* grad_k, Strides gk, T* grad_v, Strides gv) {
    __shared__ float keys[WARPS][MOST], values[WARPS][MOST], shares[WARPS][INLAY_WARP], slopes[WARPS][INLAY_WARP];
    const int warp = threadIdx.x / INLAY_WARP, lane = threadIdx.x % INLAY_WARP, group = blockIdx.y, each = a.heads / a.groups;
    const long long n = blockIdx.x * WARPS + warp;
    if (n >= a.tokens) {
        return;
    }
    const Sequence s = sequence_with(a.starts, static_cast<int>(n));
    load_row(keys[warp], o.k + n * o.ks.row + group * o.ks.head, a.dim);
    load_row(values[warp], o.v + n * o.vs.row + group * o.vs.head, a.dim);
    __syncwarp();
    float to_key[PART] = {}, to_value[PART] = {};
    for (int h = group * each; h < (group + 1) * each; h++) {
        const RowsOf<T> queries = {o.q + s.start * o.qs.row + h * o.qs.head, o.qs.row, s.length};
        const RowsOf<T> grads = {o.grad_out + s.start * o.gs.row + h * o.gs.head, o.gs.row, s.length};
        for (int base = static_cast<int>(n) - s.start; base < s.length; base += INLAY_WARP) {
            const int query = base + lane, count = min(INLAY_WARP, s.length - base);
            float p = 0, ds = 0;
            if (lane < count) {
                const long long at = h * a.tokens + s.start + query;
                p = __expf(dot(keys[warp], queries.row(query), a.dim) * a.scale - o.log_sums[at]);
                ds = p * (dot(values[warp], grads.row(query), a.dim) - o.delta[at]) * a.scale;
            }
            shares[warp][lane] = p;
            slopes[warp][lane] = ds;
            __syncwarp();
            add_rows(to_value, shares[warp], grads, base, count, a.dim);
            add_rows(to_key, slopes[warp], queries, base, count, a.dim);
            __syncwarp();
        }
    }
    write_row(grad_k + n * gk.row + group * gk.head, to_key, 1, a.dim);
    write_row(grad_v + n * gv.row + group * gv.head, to_value, 1, a.dim);
}

template <typename T>
__device__ __forceinline__ void gradient_query_any(const Given<T>& o, const Packed& a, T* grad_q, Strides gq) {
    __shared__ float queries[WARPS][MOST], grads[WARPS][MOST], slopes[WARPS][INLAY_WARP];
    const int warp = threadIdx.x / INLAY_WARP, lane = threadIdx.x % INLAY_WARP, h = blockIdx.y, group = h / (a.heads / a.groups);
    const long long n = blockIdx.x * WARPS + warp;
    if (n >= a.tokens) {
        return;
    }
    const Sequence s = sequence_with(a.starts, static_cast<int>(n));
    const RowsOf<T> keys = {o.k + s.start * o.ks.row + group * o.ks.head, o.ks.row, s.length};
    const RowsOf<T> values = {o.v + s.start * o.vs.row + group * o.vs.head, o.vs.row, s.length};
    load_row(queries[warp], o.q + n * o.qs.row + h * o.qs.head, a.dim);
    load_row(grads[warp], o.grad_out + n * o.gs.row + h * o.gs.head, a.dim);
    __syncwarp();
    const float log_sum = o.log_sums[h * a.tokens + n], delta = o.delta[h * a.tokens + n];
    const int position = static_cast<int>(n) - s.start;
    float to_query[PART] = {};
    for (int base = 0; base <= position; base += INLAY_WARP) {
        const int count = min(INLAY_WARP, position + 1 - base);
        float ds = 0;
        if (lane < count) {
            const float p = __expf(dot(queries[warp], keys.row(base + lane), a.dim) * a.scale - log_sum);
            ds = p * (dot(grads[warp], values.row(base + lane), a.dim) - delta) * a.scale;
        }
        slopes[warp][lane] = ds;
        __syncwarp();
        add_rows(to_query, slopes[warp], keys, base, count, a.dim);
        __syncwarp();
    }
    write_row(grad_q + n * gq.row + h * gq.head, to_query, 1, a.dim);
}

#define ANY(suffix, T) \
    extern "C" __global__ void __launch_bounds__(THREADS) causal_delta_##suffix( \
        const T* grad_out, long long g_row, long long g_head, const T* out, long long o_row, long long o_head, int dim, long long \
        tokens, float* delta) { \
        row_delta<T>(grad_out, {g_row, g_head}, out, {o_row, o_head}, dim, tokens, delta); \
    } \
    INLAY_KERNEL(causal_delta_##suffix); \
    extern "C" __global__ void __launch_bounds__(THREADS) causal_gradient_keys_any_##suffix( \
        const T* grad_out, long long g_row, long long g_head, const T* q, long long q_row, long long q_head, const T* k, long long \
        k_row, long long k_head, const T* v, long long v_row, long long v_head, const float* log_sums, const float* delta, const int* \
        starts, int sequences, T* grad_k, long long gk_row, long long gk_head, T* grad_v, long long gv_row, long long gv_head, long long \
        tokens, int heads, int groups, int dim, float scale) { \
        const Given<T> o = {grad_out, q, k, v, {g_row, g_head}, {q_row, q_head}, {k_row, k_head}, {v_row, v_head}, log_sums, delta}; \
        const Packed a = {starts, sequences, heads, groups, dim, tokens, scale}; \
        gradient_key_any<T>(o, a, grad_k, {gk_row, gk_head}, grad_v, {gv_row, gv_head}); \
    } \
    INLAY_KERNEL(causal_gradient_keys_any_##suffix); \
    extern "C" __global__ void __launch_bounds__(THREADS) causal_gradient_queries_any_##suffix( \
        const T* grad_out, long long g_row, long long g_head, const T* q, long long q_row, long long q_head, const T* k, long long \
        k_row, long long k_head, const T* v, long long v_row, long long v_head, const float* log_sums, const float* delta, const int* \
        starts, int sequences, T* grad_q, long long gq_row, long long gq_head, long long tokens, int heads, int groups, int dim, float \
        scale) { \
        const Given<T> o = {grad_out, q, k, v, {g_row, g_head}, {q_row, q_head}, {k_row, k_head}, {v_row, v_head}, log_sums, delta}; \
        const Packed a = {starts, sequences, heads, groups, dim, tokens, scale}; \
        gradient_query_any<T>(o, a, grad_q, {gq_row, gq_head}); \
    } \
    INLAY_KERNEL(causal_gradient_queries_any_##suffix)

ANY(bf16, bf16);
ANY(f32, float);
