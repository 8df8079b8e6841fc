// Causal softmax attention of whole sequences that lie one after another, forward and backward, and of a piece of a sequence over cached pages:
// p = softmax(scale q k^T), out = p v; ds = p (gradOut v^T - delta) scale with delta = gradOut out; gradQ = ds k, gradK = ds^T q, gradV = p^T gradOut.
//
//   q, out, gradOut, gradQ  T [N, Q, D]; k, v, gradK, gradV T [N, G, D], any strides of the first two dimensions; T bf16 or fp32
//   starts                  int [sequences + 1], from 0 to N
//   log_sums                fp32 [Q, N]: of the exponentials of a row's scaled scores, or null; delta fp32 [Q, N]
//   pages                   as in paged_attention.cu, of one sequence of `length` positions of which the last N have queries
// Query head h reads key/value head h / (Q / G).
//
// Keys are taken in tiles at fixed positions of their sequence, so a row's bits do not depend on which rows are asked for with it. No sum is
// made by atomic additions: a block owns what it writes, and gradK and gradV add their heads and queries in ascending order.
// Tensor cores take bf16 operands; p and ds go in as the sum of two, so that they keep 16 bits: with one, results err by more than the rounding
// of what is written. That makes 3 products of the forward pass's 2, and 10 of the backward pass's 7.
//
// Launch (bf16, D up to 64 or 128: entries `_64`, `_128`), blocks of 128 threads, grid (N / 64 + sequences, heads):
//   causal_attention, paged_causal_attention   ROWS queries of one of Q heads, streams tiles of 64 keys
//   causal_gradient_keys                       ROWS keys of one of G heads, streams tiles of 32 queries of each of its query heads
//   causal_gradient_queries                    ROWS queries of one of Q heads, streams tiles of 32 keys
//   causal_delta_{bf16,f32}                    grid (N / 4, Q): a warp for each row; before the gradients
// Any D up to 256, bf16 or fp32: `_any_...` with grid (N / 4, heads), a warp for each row.
// Floor: 4 D operations for each pair of a query and a key that it sees, 10 D backward; meant to run at 0.3 of the GEMM rate of an H100 forward
// and 0.25 backward at 2048 positions. Reference: ScalarAttention.
#include "inlay.cuh"

#define ROWS 64
#define THREADS 128
#define PAGE 16

// Elements of shared memory from a row to the next: eight rows of a matrix lie in different banks.
#define PITCH(D) ((D) + 8)

struct Strides {
    long long row, head;
};

// ---- where rows lie ----

// Of a sequence's positions, those below `length`; null beyond.
template <typename T>
struct RowsOf {
    const T* first;
    long long stride;
    int length;

    __device__ __forceinline__ const T* row(int position) const { return position < length ? first + position * stride : nullptr; }
};

template <typename T>
struct PagesOf {
    const unsigned long long* pages;
    long long offset;
    int head, dim, length;

    __device__ __forceinline__ const T* row(int position) const {
        if (position >= length) {
            return nullptr;
        }
        const char* page = reinterpret_cast<const char*>(pages[position / PAGE]) + offset;
        return reinterpret_cast<const T*>(page) + static_cast<long long>(head * PAGE + position % PAGE) * dim;
    }
};

struct Sequence {
    int start, length, tile;  // tile < 0: this block has nothing to do
};

// Of blockIdx.x the sequence, and which of its tiles of ROWS; the longest rows first.
__device__ __forceinline__ Sequence sequence_of(const int* starts, int sequences, bool descending) {
    int left = blockIdx.x;
    for (int s = 0; s < sequences; s++) {
        const int start = starts[s], length = starts[s + 1] - start, tiles = (length + ROWS - 1) / ROWS;
        if (left < tiles) {
            const Sequence found = {start, length, descending ? tiles - 1 - left : left};
            return found;
        }
        left -= tiles;
    }
    const Sequence none = {0, 0, -1};
    return none;
}

// The sequence of row n.
__device__ __forceinline__ Sequence sequence_with(const int* starts, int n) {
    int s = 0;
    while (starts[s + 1] <= n) {
        s++;
    }
    const Sequence found = {starts[s], starts[s + 1] - starts[s], 0};
    return found;
}

// Begins the copies of COUNT rows from `position` into shared memory, zeros beyond the sequence and beyond `dim`.
template <int D, int COUNT, typename Rows>
__device__ __forceinline__ void fetch(bf16* to, const Rows& rows, int position, int dim) {
#pragma unroll
    for (int i = 0; i < COUNT * D / 8 / THREADS; i++) {
        const int pack = i * THREADS + threadIdx.x, r = pack / (D / 8), c = pack % (D / 8) * 8;
        const bf16* from = rows.row(position + r);
        const int count = from == nullptr ? 0 : dim - c;
        bf16* target = to + r * PITCH(D) + c;
        if (count >= 8 && aligned16(from + c)) {
            cp_async16(target, from + c);
        } else {
            Pack<bf16> values;
#pragma unroll
            for (int j = 0; j < 8; j++) {
                values.at[j] = j < count ? from[c + j] : 0;
            }
            store_pack(target, values);
        }
    }
}

// ---- products of tiles in shared memory ----

// The A fragment of 16 rows at columns k to k + 15.
template <int D>
__device__ __forceinline__ void rows_fragment(unsigned a[4], const bf16* rows, int k) {
    const int lane = threadIdx.x % INLAY_WARP;
    ldmatrix_x4(a, rows + lane % 16 * PITCH(D) + k + lane / 16 * 8);
}

// B fragments, rows being columns of the product: columns k to k + 31 of 8 rows.
template <int D>
__device__ __forceinline__ void across_fragments(unsigned b[4], const bf16* rows, int k) {
    const int lane = threadIdx.x % INLAY_WARP;
    ldmatrix_x4(b, rows + lane % 8 * PITCH(D) + k + lane / 8 * 8);
}

// d[N][4] = a b^T with a [16, D] and b [8 N, D] in shared memory.
template <int D, int N>
__device__ __forceinline__ void multiply_rows(float d[N][4], const bf16* a, const bf16* b) {
#pragma unroll
    for (int n = 0; n < N; n++) {
        d[n][0] = d[n][1] = d[n][2] = d[n][3] = 0;
    }
#pragma unroll
    for (int k = 0; k < D; k += 32) {
        unsigned first[4], second[4];
        rows_fragment<D>(first, a, k);
        rows_fragment<D>(second, a, k + 16);
#pragma unroll
        for (int n = 0; n < N; n++) {
            unsigned bs[4];
            across_fragments<D>(bs, b + n * 8 * PITCH(D), k);
            mma_bf16_16x8x16(d[n], first, bs);
            mma_bf16_16x8x16(d[n], second, bs + 2);
        }
    }
}

__device__ __forceinline__ float bf16_rest(float x) {
    return x - to_float(to_bf16(x));
}

// d[D / 8][4] += p b with p [16, 8 N] as multiply_rows left it and b [8 N, D] in shared memory; p as the sum of two bf16.
template <int D, int N>
__device__ __forceinline__ void add_product(float d[D / 8][4], const float p[N][4], const bf16* b) {
    const int lane = threadIdx.x % INLAY_WARP;
#pragma unroll
    for (int k = 0; k < N; k += 2) {
        const unsigned high[4] = {to_bf16x2(p[k][0], p[k][1]), to_bf16x2(p[k][2], p[k][3]), to_bf16x2(p[k + 1][0], p[k + 1][1]),
                                  to_bf16x2(p[k + 1][2], p[k + 1][3])};
        const unsigned low[4] = {to_bf16x2(bf16_rest(p[k][0]), bf16_rest(p[k][1])), to_bf16x2(bf16_rest(p[k][2]), bf16_rest(p[k][3])),
                                 to_bf16x2(bf16_rest(p[k + 1][0]), bf16_rest(p[k + 1][1])),
                                 to_bf16x2(bf16_rest(p[k + 1][2]), bf16_rest(p[k + 1][3]))};
#pragma unroll
        for (int n = 0; n < D / 8; n += 2) {
            unsigned bs[4];
            ldmatrix_x4_transposed(bs, b + (k * 8 + lane / 8 % 2 * 8 + lane % 8) * PITCH(D) + (n + lane / 16) * 8);
            mma_bf16_16x8x16(d[n], high, bs);
            mma_bf16_16x8x16(d[n], low, bs);
            mma_bf16_16x8x16(d[n + 1], high, bs + 2);
            mma_bf16_16x8x16(d[n + 1], low, bs + 2);
        }
    }
}

template <int D>
__device__ __forceinline__ void zero(float d[D / 8][4]) {
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
        d[n][0] = d[n][1] = d[n][2] = d[n][3] = 0;
    }
}

// Writes a warp's rows g, g + 8 of [16, D] where they are below `rows`, times `factor`.
template <int D>
__device__ __forceinline__ void write_rows(bf16* to, long long stride, const float d[D / 8][4], const float factor[2], int rows, int dim) {
    const int lane = threadIdx.x % INLAY_WARP, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        bf16* row = to + (g + 8 * i) * stride;
        if (g + 8 * i < rows) {
#pragma unroll
            for (int n = 0; n < D / 8; n++) {
                const int c = n * 8 + 2 * t;
                const float a = d[n][2 * i] * factor[i], b = d[n][2 * i + 1] * factor[i];
                if (c + 1 < dim && (reinterpret_cast<unsigned long long>(row + c) & 3) == 0) {
                    *reinterpret_cast<unsigned*>(row + c) = to_bf16x2(a, b);
                } else {
                    if (c < dim) {
                        set(row + c, a);
                    }
                    if (c + 1 < dim) {
                        set(row + c + 1, b);
                    }
                }
            }
        }
    }
}

__device__ __forceinline__ float quad_max(float x) {
    x = larger(x, __shfl_xor_sync(INLAY_ALL_LANES, x, 1));
    return larger(x, __shfl_xor_sync(INLAY_ALL_LANES, x, 2));
}

__device__ __forceinline__ float quad_sum(float x) {
    x += __shfl_xor_sync(INLAY_ALL_LANES, x, 1);
    return x + __shfl_xor_sync(INLAY_ALL_LANES, x, 2);
}

// ---- forward ----

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

struct Packed {
    const int* starts;
    int sequences, heads, groups, dim;
    long long tokens;
    float scale;
};

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

// ---- backward ----

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
    extern "C" __global__ void __launch_bounds__(THREADS) causal_attention_##D( \
        const bf16* q, long long q_row, long long q_head, const bf16* k, long long k_row, long long k_head, const bf16* v, long long v_row, \
        long long v_head, const int* starts, int sequences, bf16* out, long long out_row, long long out_head, float* log_sums, \
        long long tokens, int heads, int groups, int dim, float scale) { \
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
    INLAY_KERNEL(paged_causal_attention_##D); \
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
        const int* starts, int sequences, bf16* grad_q, long long gq_row, long long gq_head, long long tokens, int heads, int groups, int dim, \
        float scale) { \
        const Given<bf16> o = {grad_out, q, k, v, {g_row, g_head}, {q_row, q_head}, {k_row, k_head}, {v_row, v_head}, log_sums, delta}; \
        const Packed a = {starts, sequences, heads, groups, dim, tokens, scale}; \
        gradient_queries<D>(o, a, grad_q, {gq_row, gq_head}); \
    } \
    INLAY_KERNEL(causal_gradient_queries_##D)

CAUSAL(64);
CAUSAL(128);

// ---- any D up to 256, bf16 or fp32: a warp for each row ----

#define MOST 256
#define WARPS (THREADS / INLAY_WARP)
#define PART (MOST / INLAY_WARP)  // elements of a row that a lane has: lane, lane + 32, ...

template <typename T>
__device__ __forceinline__ void load_row(float* to, const T* from, int dim) {
    for (int d = threadIdx.x % INLAY_WARP; d < dim; d += INLAY_WARP) {
        to[d] = to_float(from[d]);
    }
}

template <typename T>
__device__ __forceinline__ float dot(const float* a, const T* b, int dim) {
    float sum = 0;
    for (int d = 0; d < dim; d++) {
        sum = fmaf(a[d], to_float(b[d]), sum);
    }
    return sum;
}

// sum += factors[j] rows[position + j] for j < count.
template <typename Rows>
__device__ __forceinline__ void add_rows(float sum[PART], const float* factors, const Rows& rows, int position, int count, int dim) {
    for (int j = 0; j < count; j++) {
        const auto* row = rows.row(position + j);
#pragma unroll
        for (int i = 0; i < PART; i++) {
            const int d = threadIdx.x % INLAY_WARP + INLAY_WARP * i;
            sum[i] += d < dim ? factors[j] * to_float(row[d]) : 0;
        }
    }
}

template <typename T>
__device__ __forceinline__ void write_row(T* to, const float sum[PART], float factor, int dim) {
#pragma unroll
    for (int i = 0; i < PART; i++) {
        const int d = threadIdx.x % INLAY_WARP + INLAY_WARP * i;
        if (d < dim) {
            set(to + d, sum[i] * factor);
        }
    }
}

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

template <typename T>
__device__ __forceinline__ void row_delta(const T* grad_out, Strides gs, const T* out, Strides os, int dim, long long tokens, float* delta) {
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

#define ANY(suffix, T)     extern "C" __global__ void __launch_bounds__(THREADS) causal_attention_any_##suffix(         const T* q, long long q_row, long long q_head, const T* k, long long k_row, long long k_head, const T* v, long long v_row,         long long v_head, const int* starts, int sequences, T* out, long long out_row, long long out_head, float* log_sums,         long long tokens, int heads, int groups, int dim, float scale) {         const Packed a = {starts, sequences, heads, groups, dim, tokens, scale};         causal_any<T>(q, {q_row, q_head}, k, {k_row, k_head}, v, {v_row, v_head}, a, out, {out_row, out_head}, log_sums);     }     INLAY_KERNEL(causal_attention_any_##suffix);     extern "C" __global__ void __launch_bounds__(THREADS) paged_causal_attention_any_##suffix(         const T* q, long long q_row, long long q_head, const unsigned long long* pages, long long key_offset, long long value_offset,         int length, T* out, long long out_row, long long out_head, int tokens, int heads, int groups, int dim, float scale) {         paged_causal_any<T>(q, {q_row, q_head}, pages, key_offset, value_offset, length, out, {out_row, out_head}, tokens, heads, groups,                             dim, scale);     }     INLAY_KERNEL(paged_causal_attention_any_##suffix);     extern "C" __global__ void __launch_bounds__(THREADS) causal_delta_##suffix(         const T* grad_out, long long g_row, long long g_head, const T* out, long long o_row, long long o_head, int dim, long long tokens,         float* delta) {         row_delta<T>(grad_out, {g_row, g_head}, out, {o_row, o_head}, dim, tokens, delta);     }     INLAY_KERNEL(causal_delta_##suffix);     extern "C" __global__ void __launch_bounds__(THREADS) causal_gradient_keys_any_##suffix(         const T* grad_out, long long g_row, long long g_head, const T* q, long long q_row, long long q_head, const T* k, long long k_row,         long long k_head, const T* v, long long v_row, long long v_head, const float* log_sums, const float* delta, const int* starts,         int sequences, T* grad_k, long long gk_row, long long gk_head, T* grad_v, long long gv_row, long long gv_head, long long tokens,         int heads, int groups, int dim, float scale) {         const Given<T> o = {grad_out, q, k, v, {g_row, g_head}, {q_row, q_head}, {k_row, k_head}, {v_row, v_head}, log_sums, delta};         const Packed a = {starts, sequences, heads, groups, dim, tokens, scale};         gradient_key_any<T>(o, a, grad_k, {gk_row, gk_head}, grad_v, {gv_row, gv_head});     }     INLAY_KERNEL(causal_gradient_keys_any_##suffix);     extern "C" __global__ void __launch_bounds__(THREADS) causal_gradient_queries_any_##suffix(         const T* grad_out, long long g_row, long long g_head, const T* q, long long q_row, long long q_head, const T* k, long long k_row,         long long k_head, const T* v, long long v_row, long long v_head, const float* log_sums, const float* delta, const int* starts,         int sequences, T* grad_q, long long gq_row, long long gq_head, long long tokens, int heads, int groups, int dim, float scale) {         const Given<T> o = {grad_out, q, k, v, {g_row, g_head}, {q_row, q_head}, {k_row, k_head}, {v_row, v_head}, log_sums, delta};         const Packed a = {starts, sequences, heads, groups, dim, tokens, scale};         gradient_query_any<T>(o, a, grad_q, {gq_row, gq_head});     }     INLAY_KERNEL(causal_gradient_queries_any_##suffix)

ANY(bf16, bf16);
ANY(f32, float);
