/*
 * y[m, o] = sum_k x[m, k] w[o, k] for few rows m, reading each weight from memory once.
 *
 * Shapes: x [M, K], w [O, K] of x's type (bf16 or fp32), y [M, O] bf16 or fp32. tiles: null, or [O / edge, K / edge] addresses of
 * contiguous [edge, edge] squares that stand in for w's, 0 for w's own. Mixed: a table and an edge, or null, for each row of x.
 * Reference: io.inlay.kernels.ScalarKernels.linear
 *
 * Order of summation: lane l of one vector of fp32 sums takes the elements (bf16: pairs of elements) l, l + LANES, l + 2 LANES, ... of k in
 * ascending order; the lanes are added by sum_lanes at the end. That depends on K and the instruction set alone: rows are grouped and
 * tiles looked up around this chain, never inside it. With AVX512_BF16 (vdpbf16ps) denormal products and operands count as 0.
 *
 * At M = 1 memory bounds it and rows are read one by one, as one stream; for more inputs several rows share each load of x.
 */
#include "inlay.h"

#include <stdlib.h>


struct linear {
    const void *x, *packed, *w;
    void *y;
    long m, o, k, x_stride, w_stride, y_stride;
    const uint64_t *tiles;
    long edge;
    int type, y_type;
    /* Mixed: edge is the greatest common divisor of all edges, masks [O / edge, K / edge] have bit m where row m has a tile. */
    const uint64_t *const *tables;
    const int64_t *edges;
    const uint32_t *masks;
};

enum { MOST_INPUTS = 8, MOST_ROWS = 8, STREAM_AHEAD = 8192 };

INLINE long step_of(int type) { return type == BF16 ? 2 * LANES : LANES; }

INLINE vfloat multiply_add(vfloat sum, vuint w, vuint x, int type) {
    if (type == FP32) return (vfloat) w * (vfloat) x + sum;
#if defined(__AVX512BF16__)
    return (vfloat) _mm512_dpbf16_ps((__m512) sum, (__m512bh) w, (__m512bh) x);
#else
    sum = (vfloat) (w << 16) * (vfloat) (x << 16) + sum;
    return (vfloat) (w & 0xFFFF0000u) * (vfloat) (x & 0xFFFF0000u) + sum;
#endif
}

INLINE vuint raw(const void *p) {
    vuint value;
    memcpy(&value, p, sizeof value);
    return value;
}

/*
 * A copy of x as the inner loop reads it, one stream: for each set of at most 8 inputs, for each step of k, one vector of each
 * input; k is filled up with 0 to whole steps. Rows of x a power of two apart would share their places in the first-level cache.
 */
static void pack(const struct linear *a, char *packed) {
    const long width = bytes_of(a->type), step = step_of(a->type), steps = (a->k + step - 1) / step;
    for (long first = 0; first < a->m; first += MOST_INPUTS) {
        const long count = MIN(MOST_INPUTS, a->m - first);
        for (long c = 0; c < count; c++) {
            const char *x = at(a->x, (first + c) * a->x_stride, a->type);
            char *to = packed + (first * steps + c) * sizeof(vuint);
            for (long s = 0; s < steps; s++, to += count * sizeof(vuint)) {
                const long left = a->k - s * step;
                if (left < step) memset(to, 0, sizeof(vuint));
                memcpy(to, x + s * sizeof(vuint), left < step ? left * width : (long) sizeof(vuint));
            }
        }
    }
}

/* Where the weights of output o from input k on lie, k at the left side of a tile. */
INLINE const char *weights(const struct linear *a, long o, long k) {
    if (a->tiles) {
        uint64_t tile = a->tiles[o / a->edge * (a->k / a->edge) + k / a->edge];
        if (tile) return (const char *) (uintptr_t) tile + o % a->edge * a->edge * bytes_of(a->type);
    }
    return at(a->w, o * a->w_stride + k, a->type);
}

/*
 * What to prefetch while a segment is read: the same number of bytes, in the order of memory where the next group's rows lie behind
 * each other (one stream of addresses reaches 0.9 of the bandwidth, several at once 0.6 to 0.7, on Zen 5), else row by row.
 */
struct ahead { const char *from; long scale, apart; };

INLINE struct ahead look_ahead(const struct linear *a, const int ROWS, long o, long start, const char *w) {
    const int tile = a->tiles && w != (const char *) at(a->w, o * a->w_stride + start, a->type);
    const long pitch = (tile ? a->edge : a->w_stride) * bytes_of(a->type);
    if (ROWS == 1) return (struct ahead) {w + (tile ? 4 * pitch : STREAM_AHEAD), 1, 0};
    if (a->tiles && !tile) return (struct ahead) {w + ROWS * pitch, 1, pitch};
    return (struct ahead) {w + ROWS * pitch, ROWS, sizeof(vuint)};
}

/* Writes the sums of ROWS outputs from o on, of COUNT inputs each, to columns of y. */
INLINE void put_sums(const struct linear *a, const int ROWS, const int COUNT, const vfloat *sums, long o, void *y) {
    enum { MOST = MOST_ROWS * MOST_INPUTS };
    float wide[MOST + LANES];
    UNROLL for (int first = 0; first < ROWS * COUNT; first += LANES) {
        store(wide, first, FP32, sum_each(sums + first, MIN(LANES, ROWS * COUNT - first)));
    }
    if (a->y_type == FP32) {
        UNROLL for (int c = 0; c < COUNT; c++) {
            UNROLL for (int r = 0; r < ROWS; r++) put(y, c * a->y_stride + o + r, FP32, wide[r * COUNT + c]);
        }
        return;
    }
    uint16_t bits[MOST + LANES];
    UNROLL for (int first = 0; first < ROWS * COUNT; first += LANES) store(bits, first, BF16, load(wide, first, FP32));
    UNROLL for (int c = 0; c < COUNT; c++) {
        UNROLL for (int r = 0; r < ROWS; r++) ((uint16_t *) y)[c * a->y_stride + o + r] = bits[r * COUNT + c];
    }
}

/*
 * Outputs [o, o + ROWS) for COUNT inputs, whose packed x starts at `packed` and whose results go to column o of `y`. The constants make it
 * straight-line code with all sums in registers.
 */
INLINE void block(const struct linear *a, const int type, const int ROWS, const int COUNT, long o, const char *packed, void *y) {
    const long step = step_of(type), width = bytes_of(type), segment = a->tiles ? a->edge : a->k;
    const long whole = segment / step * step * width, rest = segment * width - whole;
    vuint last[MOST_ROWS];  /* the weights behind the last whole step, filled up with 0: only where one segment is all of k */
    if (rest) {
        for (int r = 0; r < ROWS; r++) {
            last[r] = (vuint) {0};
            memcpy(&last[r], weights(a, o + r, 0) + whole, rest);
        }
    }
    vfloat sums[MOST_ROWS][MOST_INPUTS];
    UNROLL for (int r = 0; r < ROWS; r++) {
        UNROLL for (int c = 0; c < COUNT; c++) sums[r][c] = splat(0);
    }
    for (long start = 0; start < a->k; start += segment) {
        const char *w[MOST_ROWS];
        UNROLL for (int r = 0; r < ROWS; r++) w[r] = weights(a, o + r, start);
        const struct ahead ahead = look_ahead(a, ROWS, o, start, w[0]);
        for (long byte = 0; byte < whole; byte += sizeof(vuint)) {
            vuint ws[MOST_ROWS];
            UNROLL for (int r = 0; r < ROWS; r++) {
                ws[r] = raw(w[r] + byte);
                __builtin_prefetch(ahead.from + byte * ahead.scale + r * ahead.apart);
            }
            UNROLL for (int c = 0; c < COUNT; c++) {
                vuint xs = raw(packed + c * sizeof(vuint));
                UNROLL for (int r = 0; r < ROWS; r++) sums[r][c] = multiply_add(sums[r][c], ws[r], xs, type);
            }
            packed += COUNT * sizeof(vuint);
        }
    }
    vfloat results[MOST_ROWS * MOST_INPUTS];
    UNROLL for (int r = 0; r < ROWS; r++) {
        UNROLL for (int c = 0; c < COUNT; c++) results[r * COUNT + c] = sums[r][c];
    }
    if (rest) {
        for (int i = 0; i < ROWS * COUNT; i++) {
            results[i] = multiply_add(results[i], last[i / COUNT], raw(packed + i % COUNT * sizeof(vuint)), type);
        }
    }
    put_sums(a, ROWS, COUNT, results, o, y);
}

/* All inputs against ROWS outputs. */
INLINE void group(const struct linear *a, const int type, const int ROWS, const int MOST, long o) {
    const long steps = (a->k + step_of(type) - 1) / step_of(type);
    for (long m = 0; m < a->m; m += MOST_INPUTS) {
        const char *packed = (const char *) a->packed + m * steps * sizeof(vuint);
        void *y = at(a->y, m * a->y_stride, a->y_type);
#define CASE(COUNT) case COUNT: if (COUNT <= MOST) block(a, type, ROWS, COUNT, o, packed, y); break
        switch (MIN(MOST_INPUTS, a->m - m)) {
            CASE(1); CASE(2); CASE(3); CASE(4); CASE(5); CASE(6); CASE(7); CASE(8);
        }
#undef CASE
    }
}

/*
 * One input: rows one by one, a single stream. More: as many rows at a time as leave registers for the weights, rows x inputs being
 * the sums that are open (32 vector registers; AVX2's 16 spill some).
 */
INLINE void outputs(const struct linear *a, const int type, long begin, long end) {
    long o = begin;
    if (a->m > 4) for (; o + 3 <= end; o += 3) group(a, type, 3, 8, o);
    else if (a->m > 1) for (; o + 4 <= end; o += 4) group(a, type, 4, 4, o);
    for (; o < end; o++) group(a, type, 1, 8, o);
}

static void range(const struct linear *a, long begin, long end) {
    if (a->type == BF16) outputs(a, BF16, begin, end);
    else outputs(a, FP32, begin, end);
}

/* Tiles that a vector step does not divide would break the chain: their rows are put together in a buffer first. */
static void gathered(const struct linear *a, long begin, long end) {
    const long width = bytes_of(a->type), edge = a->edge;
    char *row = malloc(a->k * width);
    for (long o = begin; o < end; o++) {
        for (long k = 0; k < a->k; k += edge) memcpy(row + k * width, weights(a, o, k), edge * width);
        struct linear one = *a;
        one.w = row;
        one.o = 1;
        one.tiles = NULL;
        one.y = at(a->y, o, a->y_type);
        range(&one, 0, 1);
    }
    free(row);
}

static void linear(const void *arguments, long begin, long end) {
    const struct linear *a = arguments;
    if (a->tiles && a->edge < a->k && a->edge % step_of(a->type)) gathered(a, begin, end);
    else range(a, begin, end);
}

/* ---- mixed: rows of x with tile tables of their own ---- */

INLINE const char *weights_of_row(const struct linear *a, long m, long o, long k) {
    const long edge = a->edges[m];
    const uint64_t *tiles = a->tables[m];
    const uint64_t tile = tiles ? tiles[o / edge * (a->k / edge) + k / edge] : 0;
    return tile ? (const char *) (uintptr_t) tile + (o % edge * edge + k % edge) * bytes_of(a->type) : at(a->w, o * a->w_stride + k, a->type);
}

typedef vfloat Sums[MOST_ROWS][MOST_INPUTS];

/* `bytes` of ROWS rows that lie `pitch` apart against all COUNT inputs. */
INLINE void shared(Sums sums, const char *w, const long pitch, const long bytes, const char *x, const int type, const int ROWS,
        const int COUNT) {
    for (long byte = 0; byte < bytes; byte += sizeof(vuint)) {
        vuint ws[MOST_ROWS];
        UNROLL for (int r = 0; r < ROWS; r++) {
            ws[r] = raw(w + r * pitch + byte);
            __builtin_prefetch(w + (ROWS + r) * pitch + byte);
        }
        UNROLL for (int c = 0; c < COUNT; c++) {
            const vuint xs = raw(x + c * sizeof(vuint));
            UNROLL for (int r = 0; r < ROWS; r++) sums[r][c] = multiply_add(sums[r][c], ws[r], xs, type);
        }
        x += COUNT * sizeof(vuint);
    }
}

/*
 * As `block`, for inputs [m, m + COUNT). Where some of them have tiles, the base is multiplied with all, and those that have are taken
 * back to before and multiplied with their own: the base's weights are read once, whoever shares them.
 */
INLINE void mixed_block(const struct linear *a, const int type, const int ROWS, const int COUNT, long o, long m, const char *packed,
        void *y) {
    const long width = bytes_of(type), bytes = a->edge * width, pitch = a->w_stride * width;
    const uint32_t *masks = a->masks + o / a->edge * (a->k / a->edge), all = (1u << COUNT) - 1;
    Sums sums;
    UNROLL for (int r = 0; r < ROWS; r++) {
        UNROLL for (int c = 0; c < COUNT; c++) sums[r][c] = splat(0);
    }
    for (long start = 0; start < a->k; start += a->edge, packed += bytes * COUNT) {
        const uint32_t own = *masks++ >> m & all;
        const char *base = at(a->w, o * a->w_stride + start, type);
        if (!own) {
            shared(sums, base, pitch, bytes, packed, type, ROWS, COUNT);
            continue;
        }
        Sums before;
        UNROLL for (int r = 0; r < ROWS; r++) {
            UNROLL for (int c = 0; c < COUNT; c++) before[r][c] = sums[r][c];
        }
        if (own != all) shared(sums, base, pitch, bytes, packed, type, ROWS, COUNT);
        UNROLL for (int c = 0; c < COUNT; c++) {
            if (!(own >> c & 1)) continue;
            const char *w = weights_of_row(a, m + c, o, start), *x = packed + c * sizeof(vuint);
            const long apart = a->edges[m + c] * width;
            vfloat one[MOST_ROWS];
            UNROLL for (int r = 0; r < ROWS; r++) one[r] = before[r][c];
            for (long byte = 0; byte < bytes; byte += sizeof(vuint)) {
                const vuint xs = raw(x + byte * COUNT);
                UNROLL for (int r = 0; r < ROWS; r++) {
                    one[r] = multiply_add(one[r], raw(w + r * apart + byte), xs, type);
                    __builtin_prefetch(w + (ROWS + r) * apart + byte);
                }
            }
            UNROLL for (int r = 0; r < ROWS; r++) sums[r][c] = one[r];
        }
    }
    vfloat results[MOST_ROWS * MOST_INPUTS];
    UNROLL for (int r = 0; r < ROWS; r++) {
        UNROLL for (int c = 0; c < COUNT; c++) results[r * COUNT + c] = sums[r][c];
    }
    put_sums(a, ROWS, COUNT, results, o, y);
}

INLINE void mixed_group(const struct linear *a, const int type, const int ROWS, long o) {
    const long steps = a->k / step_of(type);
    for (long m = 0; m < a->m; m += MOST_INPUTS) {
        const char *packed = (const char *) a->packed + m * steps * sizeof(vuint);
        void *y = at(a->y, m * a->y_stride, a->y_type);
#define CASE(COUNT) case COUNT: mixed_block(a, type, ROWS, COUNT, o, m, packed, y); break
        switch (MIN(MOST_INPUTS, a->m - m)) {
            CASE(1); CASE(2); CASE(3); CASE(4); CASE(5); CASE(6); CASE(7); CASE(8);
        }
#undef CASE
    }
}

/* Outputs that go together lie in one row of tiles. */
INLINE void mixed_outputs(const struct linear *a, const int type, long begin, long end) {
    for (long o = begin; o < end;) {
        const long stop = MIN(end, (o / a->edge + 1) * a->edge);
        for (; o + 3 <= stop; o += 3) mixed_group(a, type, 3, o);
        for (; o < stop; o++) mixed_group(a, type, 1, o);
    }
}

static void mixed(const void *arguments, long begin, long end) {
    mixed_outputs(arguments, BF16, begin, end);
}

static void mark(const struct linear *a, uint32_t *masks) {
    const long across = a->k / a->edge;
    memset(masks, 0, a->o / a->edge * across * sizeof *masks);
    for (long m = 0; m < a->m; m++) {
        const long edge = a->edges[m], times = edge / a->edge, wide = a->k / edge;
        for (long i = 0; a->tables[m] && i < a->o / edge * wide; i++) {
            if (!a->tables[m][i]) continue;
            uint32_t *corner = masks + i / wide * times * across + i % wide * times;
            for (long r = 0; r < times; r++) {
                for (long c = 0; c < times; c++) corner[r * across + c] |= 1u << m;
            }
        }
    }
}

/* bf16 only. At most 32 inputs; edge divides o, k and every edge, and a vector step divides it. */
EXPORT void inlay_linear_mixed(const void *x, long x_stride, const void *w, long w_stride, const uint64_t *const *tables,
        const int64_t *edges, long edge, void *y, long y_stride, long m, long o, long k, int y_type) {
    struct linear a = {x, x, w, y, m, o, k, x_stride, w_stride, y_stride, NULL, edge, BF16, y_type, tables, edges, NULL};
    const long packed = m * (k / step_of(BF16)) * sizeof(vuint);
    char *memory = scratch(packed + o / edge * (k / edge) * sizeof(uint32_t));
    pack(&a, memory);
    mark(&a, (uint32_t *) (memory + packed));
    a.packed = memory;
    a.masks = (const uint32_t *) (memory + packed);
    inlay_parallel(mixed, &a, o, grain_of(k * bytes_of(BF16)));
}

EXPORT void inlay_linear(const void *x, long x_stride, const void *w, long w_stride, const uint64_t *tiles, long edge, void *y,
        long y_stride, long m, long o, long k, int type, int y_type) {
    struct linear a = {x, x, w, y, m, o, k, x_stride, w_stride, y_stride, tiles, edge, type, y_type, NULL, NULL, NULL};
    if (m > 1 || k % step_of(type)) {
        const long step = step_of(type);
        char *packed = scratch(m * ((k + step - 1) / step) * sizeof(vuint));
        pack(&a, packed);
        a.packed = packed;
    }
    inlay_parallel(linear, &a, o, grain_of(k * bytes_of(type)));
}
