/*
 * Moving rows: embedding lookup and its gradient, and a weight put together from its tiles.
 *
 *   embed:    out[n] = table[ids[n]];   backward: gradTable[ids[n]] += gradOut[n], in the order of n
 *   assemble: out = w with the blocks of the tile table in place
 *
 * Reference: io.inlay.kernels.ScalarKernels.embed, embedBackward, assemble
 */
#include "inlay.h"

struct embed {
    const char *table;
    const int32_t *ids;
    char *out;
    long row_bytes, table_bytes, out_bytes;
};

static void embed(const void *arguments, long begin, long end) {
    const struct embed *a = arguments;
    for (long n = begin; n < end; n++) memcpy(a->out + n * a->out_bytes, a->table + a->ids[n] * a->table_bytes, a->row_bytes);
}

EXPORT void inlay_embed(const void *table, long table_stride, const int32_t *ids, void *out, long out_stride, long rows, long width,
        int type) {
    const long bytes = bytes_of(type);
    struct embed a = {table, ids, out, width * bytes, table_stride * bytes, out_stride * bytes};
    inlay_parallel(embed, &a, rows, grain_of(2 * width * bytes));
}

struct embed_backward {
    const void *grad;
    const int32_t *ids;
    float *table;
    long rows, width, grad_stride, table_stride;
    int type;
};

enum { COLUMNS = 256 };  /* columns of one item: columns are spread over cores, so that each sums in the order of n */

INLINE void add_columns(const struct embed_backward *a, const int type, long begin, long end) {
    const long from = begin * COLUMNS, length = MIN(a->width, end * COLUMNS) - from;
    for (long n = 0; n < a->rows; n++) {
        float *sum = a->table + a->ids[n] * a->table_stride + from;
        const void *grad = at(a->grad, n * a->grad_stride + from, type);
        FOR_VECTORS(length, { STORE(sum, FP32, LOAD(sum, FP32) + LOAD(grad, type)); });
    }
}

static void embed_backward(const void *arguments, long begin, long end) {
    const struct embed_backward *a = arguments;
    if (a->type == BF16) add_columns(a, BF16, begin, end);
    else add_columns(a, FP32, begin, end);
}

EXPORT void inlay_embed_backward(const void *grad, long grad_stride, const int32_t *ids, float *table, long table_stride, long rows,
        long width, int type) {
    struct embed_backward a = {grad, ids, table, rows, width, grad_stride, table_stride, type};
    inlay_parallel(embed_backward, &a, (width + COLUMNS - 1) / COLUMNS, grain_of(rows * COLUMNS * 8));
}

struct assemble {
    const char *w;
    char *out;
    const uint64_t *tiles;
    long edge, across, segment_bytes, w_bytes, out_bytes;
};

static void assemble(const void *arguments, long begin, long end) {
    const struct assemble *a = arguments;
    for (long o = begin; o < end; o++) {
        for (long j = 0; j < a->across; j++) {
            const uint64_t tile = a->tiles[o / a->edge * a->across + j];
            const char *from = tile ? (const char *) (uintptr_t) tile + o % a->edge * a->segment_bytes
                                    : a->w + o * a->w_bytes + j * a->segment_bytes;
            memcpy(a->out + o * a->out_bytes + j * a->segment_bytes, from, a->segment_bytes);
        }
    }
}

EXPORT void inlay_assemble(const void *w, long w_stride, const uint64_t *tiles, long edge, void *out, long out_stride, long rows,
        long columns, int type) {
    const long bytes = bytes_of(type);
    struct assemble a = {w, out, tiles, edge, columns / edge, edge * bytes, w_stride * bytes, out_stride * bytes};
    inlay_parallel(assemble, &a, rows, grain_of(2 * columns * bytes));
}
