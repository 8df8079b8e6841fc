/*
 * Softmax attention of single positions, each over its own cache, head by head:
 *
 *   out[h] = sum_s softmax_s(scale q[h] . keys[h / (Q / G), s]) values[h / (Q / G), s]
 *
 * Shapes: q, out [Q, D]; keys, values [G, S, D] with dense rows, the first `length` positions count. Paged: q, out [R, Q, D]; a cache is
 * a table of pages, in which [G, PAGE, D] keys and as many values begin at given offsets; the first lengths[r] positions count.
 * The softmax is made block by block (Milakov and Gimelshein 2018): a running maximum, sum and mix per head, rescaled when the maximum
 * moves. The query heads of a group go together, so that keys and values are read once.
 * Reference: io.inlay.kernels.ScalarKernels.decodeAttention, Kernels.pagedAttention
 */
#include "inlay.h"

#include <math.h>

struct attention {
    const void *q, *keys, *values;
    void *out;
    long members, d, length, sets, q_stride, key_group, key_stride, value_group, value_stride, out_stride;
    float scale;
    int type;
    /* Paged: items go on over the rows of q. */
    const uint64_t *const *pages;
    const int64_t *lengths;
    long items, q_row, out_row, key_offset, value_offset;
};

enum { BLOCK = 64, HEADS = 8 };  /* positions per step; query heads that share one pass */

/* Positions that lie behind each other with one stride. */
struct run { const char *from; long stride; int count; };

INLINE struct run run_of(const struct attention *a, const int type, long row, long g, long position, int left, const int values) {
    const long width = bytes_of(type);
    if (!a->pages) {
        const long group = values ? a->value_group : a->key_group, stride = values ? a->value_stride : a->key_stride;
        return (struct run) {at(values ? a->values : a->keys, g * group + position * stride, type), stride * width, left};
    }
    const char *page = (const char *) (uintptr_t) a->pages[row][position / PAGE] + (values ? a->value_offset : a->key_offset);
    const int within = position % PAGE;
    return (struct run) {page + (g * PAGE + within) * a->d * width, a->d * width, MIN(PAGE - within, left)};
}

INLINE void attend(const struct attention *a, const int type, long begin, long end) {
    const long d = a->d, padded = (d + LANES - 1) / LANES * LANES;
    for (long number = begin; number < end; number++) {
        const long row = number / a->items, item = number % a->items, length = a->lengths ? a->lengths[row] : a->length;
        const long g = item / a->sets, first = g * a->members + item % a->sets * HEADS;
        const int heads = (int) MIN(HEADS, (g + 1) * a->members - first);
        float query[heads * padded] __attribute__((aligned(64))), mix[heads * padded] __attribute__((aligned(64)));
        float top[HEADS], sum[HEADS], weights[HEADS][BLOCK];
        for (int h = 0; h < heads; h++) {
            const void *q = at(a->q, row * a->q_row + (first + h) * a->q_stride, type);
            float *to = query + h * padded;
            FOR_VECTORS(d, { store(to, v, FP32, LOAD(q, type) * a->scale); });
            top[h] = -INFINITY;
            sum[h] = 0;
        }
        memset(mix, 0, sizeof mix);
        for (long from = 0; from < length; from += BLOCK) {
            const int block = (int) MIN(BLOCK, length - from);
            for (int done = 0; done < block;) {
                const struct run keys = run_of(a, type, row, g, from + done, block - done, 0);
                for (int first = 0; first < keys.count; first += LANES) {
                    const int some = MIN(LANES, keys.count - first);
                    vfloat dots[HEADS][LANES];
                    for (int s = 0; s < some; s++) {
                        const void *key = keys.from + (first + s) * keys.stride;
                        for (int h = 0; h < heads; h++) dots[h][s] = splat(0);
                        FOR_VECTORS(d, {
                            const vfloat k = LOAD(key, type);
                            for (int h = 0; h < heads; h++) dots[h][s] += k * load(query + h * padded, v, FP32);
                        });
                    }
                    for (int h = 0; h < heads; h++) {
                        for (int s = some; s < LANES; s++) dots[h][s] = splat(0);
                        store(weights[h], done + first, FP32, sum_each(dots[h], LANES));
                    }
                }
                done += keys.count;
            }
            for (int h = 0; h < heads; h++) {
                float highest = top[h];
                for (int s = 0; s < block; s++) highest = MAX(weights[h][s], highest);
                for (int s = block; s % LANES; s++) weights[h][s] = -INFINITY;
                const float shrink = top[h] == highest ? 1 : expf(top[h] - highest);
                vfloat sums = splat(0);
                for (int s = 0; s < block; s += LANES) {
                    const vfloat e = exp_lanes(load(weights[h], s, FP32) - highest);
                    store(weights[h], s, FP32, e);
                    sums += e;
                }
                sum[h] = sum[h] * shrink + sum_lanes(sums);
                top[h] = highest;
                if (shrink != 1) {
                    for (long v = 0; v < padded; v += LANES) store(mix + h * padded, v, FP32, load(mix + h * padded, v, FP32) * shrink);
                }
            }
            FOR_VECTORS(d, {
                vfloat mixed[HEADS];
                for (int h = 0; h < heads; h++) mixed[h] = load(mix + h * padded, v, FP32);
                for (int done = 0; done < block;) {
                    const struct run values = run_of(a, type, row, g, from + done, block - done, 1);
                    for (int s = 0; s < values.count; s++) {
                        const void *value = values.from + s * values.stride;
                        const vfloat x = LOAD(value, type);
                        for (int h = 0; h < heads; h++) mixed[h] += x * weights[h][done + s];
                    }
                    done += values.count;
                }
                for (int h = 0; h < heads; h++) store(mix + h * padded, v, FP32, mixed[h]);
            });
        }
        for (int h = 0; h < heads; h++) {
            void *out = at(a->out, row * a->out_row + (first + h) * a->out_stride, type);
            const float *mixed = mix + h * padded;
            FOR_VECTORS(d, { STORE(out, type, load(mixed, v, FP32) / sum[h]); });
        }
    }
}

static void attention(const void *arguments, long begin, long end) {
    const struct attention *a = arguments;
    if (a->type == BF16) attend(a, BF16, begin, end);
    else attend(a, FP32, begin, end);
}

EXPORT void inlay_decode_attention(const void *q, long q_stride, const void *keys, long key_group, long key_stride, const void *values,
        long value_group, long value_stride, void *out, long out_stride, long heads, long groups, long d, long length, float scale,
        int type) {
    const long members = heads / groups, sets = (members + HEADS - 1) / HEADS;
    struct attention a = {q, keys, values, out, members, d, length, sets, q_stride, key_group, key_stride, value_group, value_stride,
        out_stride, scale, type, NULL, NULL, groups * sets, 0, 0, 0, 0};
    inlay_parallel(attention, &a, groups * sets, grain_of(length * d * 2 * bytes_of(type) * 2));
}

EXPORT void inlay_paged_attention(const void *q, long q_row, long q_stride, const uint64_t *const *pages, const int64_t *lengths,
        long key_offset, long value_offset, void *out, long out_row, long out_stride, long rows, long heads, long groups, long d,
        float scale, int type) {
    const long members = heads / groups, sets = (members + HEADS - 1) / HEADS;
    struct attention a = {q, NULL, NULL, out, members, d, 0, sets, q_stride, 0, 0, 0, 0, out_stride, scale, type, pages, lengths,
        groups * sets, q_row, out_row, key_offset, value_offset};
    long longest = 1;
    for (long r = 0; r < rows; r++) longest = MAX(lengths[r], longest);
    inlay_parallel(attention, &a, rows * groups * sets, grain_of(longest * d * 2 * bytes_of(type) * 2));
}
