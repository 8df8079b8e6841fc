/*
 * Causal softmax attention of whole sequences that lie one after another, and its backward:
 *
 *   p[h, i, j] = softmax_{j <= i}(scale q[i, h] . k[j, g]),  out[i, h] = sum_j p[h, i, j] v[j, g],  g = h / (Q / G)
 *   gradV[j, g] = sum_h,i p gradOut;  s = p (gradOut . v - gradOut . out) scale;  gradQ = sum_j s k;  gradK = sum_h,i s q
 *
 * Shapes: q, out, gradOut, gradQ [N, Q, D]; k, v, gradK, gradV [N, G, D]; starts int32 [S + 1]: sequence s has rows starts[s] to
 * starts[s + 1]; logSumExp fp32 [Q, N] or null.
 * Paged: one sequence, whose keys and values lie in pages, and of whose positions the last n ask.
 * Reference: io.inlay.kernels.ScalarKernels.causalAttention, causalAttentionBackward, Kernels.pagedCausalAttention
 *
 * An item is a sequence and a group: its keys and values are widened to fp32 once, for all heads of the group. Queries go in blocks; what
 * of a block's rows by keys is made stays in the second-level cache. All products are one small GEMM, `multiply`, whose inner loop has 4
 * rows by 4 vectors of sums in registers. On processors where vdpbf16ps issues once a cycle and fp32 multiply-add twice, bf16 would be no
 * faster. The gradients of keys and values add up in a fixed order, head by head, query by query.
 */
#include "inlay.h"

#include <math.h>
#include <stdlib.h>

enum { QUERIES = 64, WIDE = 4 * LANES };  /* queries in a block; rows of packed operands are filled up to this */

struct shape {
    const int32_t *starts;
    long sequences, n, heads, groups, d;
    float scale;
    int type;
};

/* Strides of token and head; or pages, in which [G, PAGE, D] begin at an offset. */
struct tensor { void *base; long row, head; const uint64_t *pages; long offset; };

/* The queries are the last of a sequence's positions: `lead` come before them, of one sequence only. */
struct attention { struct shape s; struct tensor q, k, v, out; float *sums; long lead; };

struct backward { struct shape s; struct tensor q, k, v, out, grad, grad_q, grad_k, grad_v; const float *sums; };

INLINE long up(long value, long to) { return (value + to - 1) / to * to; }

/*
 * c[r, n] (+)= sum_k a[r a_row + k a_step] b[k b_row + n], n < columns: rows in fours and columns in WIDE, so a, b and c must be filled up.
 */
INLINE void tile(const float *a, long a_row, long a_step, const float *b, long b_row, float *c, long c_row, long depth, int add,
        const int VECTORS) {
    vfloat sums[4][4];
    UNROLL for (int r = 0; r < 4; r++) {
        UNROLL for (int v = 0; v < VECTORS; v++) sums[r][v] = add ? load(c + r * c_row, v * LANES, FP32) : splat(0);
    }
    for (long k = 0; k < depth; k++) {
        vfloat bs[4];
        UNROLL for (int v = 0; v < VECTORS; v++) bs[v] = load(b + k * b_row, v * LANES, FP32);
        UNROLL for (int r = 0; r < 4; r++) {
            const vfloat x = splat(a[r * a_row + k * a_step]);
            UNROLL for (int v = 0; v < VECTORS; v++) sums[r][v] += x * bs[v];
        }
    }
    UNROLL for (int r = 0; r < 4; r++) {
        UNROLL for (int v = 0; v < VECTORS; v++) store(c + r * c_row, v * LANES, FP32, sums[r][v]);
    }
}

static void multiply(const float *a, long a_row, long a_step, const float *b, long b_row, float *c, long c_row, long rows, long columns,
        long depth, int add) {
    for (long n = 0; n < columns;) {
        const int wide = columns - n >= WIDE;
        for (long r = 0; r < rows; r += 4) {
            if (wide) tile(a + r * a_row, a_row, a_step, b + n, b_row, c + r * c_row + n, c_row, depth, add, 4);
            else tile(a + r * a_row, a_row, a_step, b + n, b_row, c + r * c_row + n, c_row, depth, add, 1);
        }
        n += wide ? WIDE : LANES;
    }
}

INLINE const void *row_at(const struct tensor *t, long row, long head, long d, int type) {
    if (!t->pages) return at(t->base, row * t->row + head * t->head, type);
    return at((char *) (uintptr_t) t->pages[row / PAGE] + t->offset, (head * PAGE + row % PAGE) * d, type);
}

/* Rows [first, first + rows) of one head as fp32 [filled, width], filled up with 0. */
static void rows_of(struct tensor t, long head, long first, long rows, long filled, long d, long width, float *to, int type) {
    memset(to, 0, filled * width * sizeof *to);
    for (long i = 0; i < rows; i++) {
        const void *from = row_at(&t, first + i, head, d, type);
        float *row = to + i * width;
        FOR_VECTORS(d, { store_some(row, v, FP32, LOAD(from, type), count); });
    }
}

/* The transpose [d, width] of fp32 rows [rows, from_width], filled up with 0. */
static void transpose(const float *from, long from_width, long rows, long d, float *to, long width) {
    memset(to, 0, d * width * sizeof *to);
    for (long i = 0; i < rows; i++) {
        for (long k = 0; k < d; k++) to[k * width + i] = from[i * from_width + k];
    }
}

static void write_rows(const float *from, long width, struct tensor t, long head, long first, long rows, long d, int type) {
    for (long i = 0; i < rows; i++) {
        void *to = at(t.base, (first + i) * t.row + head * t.head, type);
        const float *row = from + i * width;
        FOR_VECTORS(d, { STORE(to, type, count == LANES ? load(row, v, FP32) : load_some(row, v, FP32, count)); });
    }
}

/* Sequence and group of an item, and the widths of what is made for it. */
struct item { long first, length, group, width, keys; };

static struct item item_of(const struct shape *s, long number) {
    const long sequence = number / s->groups, length = s->starts[sequence + 1] - s->starts[sequence];
    return (struct item) {s->starts[sequence], length, number % s->groups, up(s->d, LANES), up(length, WIDE)};
}

/* Of the keys, how many a block of queries up to `last` sees, filled up for `multiply`. */
INLINE long seen(const struct item *it, long last) { return MIN(it->keys, up(last, LANES)); }

static void forward_item(const struct attention *a, long number) {
    const struct shape *s = &a->s;
    const struct item it = item_of(s, number);
    const long d = s->d, members = s->heads / s->groups;
    float *memory = scratch(sizeof(float) * (it.keys * it.width * 2 + d * it.keys + QUERIES * (it.keys + 2 * it.width)));
    float *k = memory, *v = k + it.keys * it.width, *kt = v + it.keys * it.width, *p = kt + d * it.keys, *q = p + QUERIES * it.keys,
          *mix = q + QUERIES * it.width;
    rows_of(a->k, it.group, it.first, it.length, it.keys, d, it.width, k, s->type);
    rows_of(a->v, it.group, it.first, it.length, it.keys, d, it.width, v, s->type);
    transpose(k, it.width, it.length, d, kt, it.keys);
    for (long head = it.group * members; head < (it.group + 1) * members; head++) {
        for (long from = a->lead; from < it.length; from += QUERIES) {
            const long rows = MIN(QUERIES, it.length - from), filled = up(rows, 4), keys = seen(&it, from + rows);
            const long token = it.first + from - a->lead;
            rows_of(a->q, head, token, rows, filled, d, it.width, q, s->type);
            multiply(q, it.width, 1, kt, it.keys, p, it.keys, filled, keys, d, 0);
            float inverse[QUERIES];
            for (long i = 0; i < rows; i++) {
                float *row = p + i * it.keys;
                const long own = from + i + 1;
                float top = -INFINITY;
                for (long j = 0; j < own; j++) {
                    row[j] *= s->scale;
                    top = MAX(row[j], top);
                }
                for (long j = own; j < up(own, LANES); j++) row[j] = -INFINITY;
                vfloat sums = splat(0);
                for (long j = 0; j < own; j += LANES) {
                    const vfloat e = exp_lanes(load(row, j, FP32) - top);
                    store(row, j, FP32, e);
                    sums += e;
                }
                for (long j = up(own, LANES); j < keys; j += LANES) store(row, j, FP32, splat(0));
                const float sum = sum_lanes(sums);
                inverse[i] = 1 / sum;
                if (a->sums) a->sums[head * s->n + token + i] = top + logf(sum);
            }
            for (long i = rows; i < filled; i++) memset(p + i * it.keys, 0, keys * sizeof *p);
            multiply(p, it.keys, 1, v, it.width, mix, it.width, filled, it.width, keys, 0);
            for (long i = 0; i < rows; i++) {
                for (long c = 0; c < it.width; c += LANES) store(mix + i * it.width, c, FP32, load(mix + i * it.width, c, FP32) * inverse[i]);
            }
            write_rows(mix, it.width, a->out, head, token, rows, d, s->type);
        }
    }
}

static void backward_item(const struct backward *a, long number) {
    const struct shape *s = &a->s;
    const struct item it = item_of(s, number);
    const long d = s->d, members = s->heads / s->groups, panel = it.keys * it.width, block = QUERIES * it.width;
    float *memory = scratch(sizeof(float) * (3 * panel + 2 * d * it.keys + 2 * QUERIES * it.keys + 4 * block));
    float *k = memory, *grad_k = k + panel, *grad_v = grad_k + panel, *kt = grad_v + panel, *vt = kt + d * it.keys, *p = vt + d * it.keys,
          *ds = p + QUERIES * it.keys, *q = ds + QUERIES * it.keys, *grad = q + block, *out = grad + block, *grad_q = out + block;
    rows_of(a->v, it.group, it.first, it.length, it.keys, d, it.width, k, s->type);
    transpose(k, it.width, it.length, d, vt, it.keys);
    rows_of(a->k, it.group, it.first, it.length, it.keys, d, it.width, k, s->type);
    transpose(k, it.width, it.length, d, kt, it.keys);
    memset(grad_k, 0, 2 * panel * sizeof *grad_k);
    for (long head = it.group * members; head < (it.group + 1) * members; head++) {
        for (long from = 0; from < it.length; from += QUERIES) {
            const long rows = MIN(QUERIES, it.length - from), filled = up(rows, 4), keys = seen(&it, from + rows);
            rows_of(a->q, head, it.first + from, rows, filled, d, it.width, q, s->type);
            rows_of(a->grad, head, it.first + from, rows, filled, d, it.width, grad, s->type);
            rows_of(a->out, head, it.first + from, rows, filled, d, it.width, out, s->type);
            multiply(q, it.width, 1, kt, it.keys, p, it.keys, filled, keys, d, 0);
            multiply(grad, it.width, 1, vt, it.keys, ds, it.keys, filled, keys, d, 0);
            for (long i = 0; i < rows; i++) {
                float *weights = p + i * it.keys, *slopes = ds + i * it.keys;
                const long own = from + i + 1;
                const float sum = a->sums[head * s->n + it.first + from + i];
                vfloat dots = splat(0);
                for (long c = 0; c < it.width; c += LANES) dots += load(grad + i * it.width, c, FP32) * load(out + i * it.width, c, FP32);
                const float delta = sum_lanes(dots);
                for (long j = 0; j < keys; j += LANES) {
                    vfloat e = splat(0), slope = splat(0);
                    if (j < own) {
                        e = exp_lanes(load(weights, j, FP32) * s->scale - sum);
                        if (j + LANES > own) {
                            for (int l = 0; l < LANES; l++) if (j + l >= own) e[l] = 0;
                        }
                        slope = e * (load(slopes, j, FP32) - delta) * s->scale;
                        if (j + LANES > own) {
                            for (int l = 0; l < LANES; l++) if (j + l >= own) slope[l] = 0;
                        }
                    }
                    store(weights, j, FP32, e);
                    store(slopes, j, FP32, slope);
                }
            }
            for (long i = rows; i < filled; i++) {
                memset(p + i * it.keys, 0, keys * sizeof *p);
                memset(ds + i * it.keys, 0, keys * sizeof *ds);
            }
            multiply(ds, it.keys, 1, k, it.width, grad_q, it.width, filled, it.width, keys, 0);
            write_rows(grad_q, it.width, a->grad_q, head, it.first + from, rows, d, s->type);
            multiply(ds, 1, it.keys, q, it.width, grad_k, it.width, up(MIN(keys, it.length), 4), it.width, filled, 1);
            multiply(p, 1, it.keys, grad, it.width, grad_v, it.width, up(MIN(keys, it.length), 4), it.width, filled, 1);
        }
    }
    write_rows(grad_k, it.width, a->grad_k, it.group, it.first, it.length, d, s->type);
    write_rows(grad_v, it.width, a->grad_v, it.group, it.first, it.length, d, s->type);
}

static void forward_items(const void *arguments, long begin, long end) {
    for (long item = begin; item < end; item++) forward_item(arguments, item);
}

static void backward_items(const void *arguments, long begin, long end) {
    for (long item = begin; item < end; item++) backward_item(arguments, item);
}

EXPORT void inlay_causal_attention(const void *q, long q_row, long q_head, const void *k, long k_row, long k_head, const void *v, long v_row,
        long v_head, const int32_t *starts, long sequences, float scale, void *out, long out_row, long out_head, float *sums, long n,
        long heads, long groups, long d, int type) {
    struct attention a = {{starts, sequences, n, heads, groups, d, scale, type}, {(void *) q, q_row, q_head, NULL, 0},
        {(void *) k, k_row, k_head, NULL, 0}, {(void *) v, v_row, v_head, NULL, 0}, {out, out_row, out_head, NULL, 0}, sums, 0};
    inlay_parallel(forward_items, &a, sequences * groups, 1);
}

/* The last n of a sequence's `length` positions over all of them, whose keys and values lie in pages. */
EXPORT void inlay_paged_causal_attention(const void *q, long q_row, long q_head, const uint64_t *pages, long key_offset, long value_offset,
        long length, float scale, void *out, long out_row, long out_head, long n, long heads, long groups, long d, int type) {
    const int32_t starts[2] = {0, (int32_t) length};
    struct attention a = {{starts, 1, n, heads, groups, d, scale, type}, {(void *) q, q_row, q_head, NULL, 0}, {NULL, 0, 0, pages, key_offset},
        {NULL, 0, 0, pages, value_offset}, {out, out_row, out_head, NULL, 0}, NULL, length - n};
    inlay_parallel(forward_items, &a, groups, 1);
}

/* The strides come as a table, [row, head] of q, k, v, out, gradOut, gradQ, gradK, gradV. */
EXPORT void inlay_causal_attention_backward(const void *grad, const void *q, const void *k, const void *v, const void *out,
        const float *sums, const int32_t *starts, long sequences, float scale, void *grad_q, void *grad_k, void *grad_v,
        const int64_t *strides, long n, long heads, long groups, long d, int type) {
#define TENSOR(base, i) {(void *) (base), strides[2 * (i)], strides[2 * (i) + 1], NULL, 0}
    struct backward a = {{starts, sequences, n, heads, groups, d, scale, type}, TENSOR(q, 0), TENSOR(k, 1), TENSOR(v, 2), TENSOR(out, 3),
        TENSOR(grad, 4), TENSOR(grad_q, 5), TENSOR(grad_k, 6), TENSOR(grad_v, 7), sums};
#undef TENSOR
    inlay_parallel(backward_items, &a, sequences * groups, 1);
}
