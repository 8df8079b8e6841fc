/*
 * y[m, o] = sum_k x[m, k] w[o, k] for few rows m, reading each weight from memory once.
 *
 * Shapes: x [M, K], w [O, K] of x's type (bf16 or fp32), y [M, O] bf16 or fp32. tiles: null, or [O / edge, K / edge] addresses of
 * contiguous [edge, edge] squares that stand in for w's, 0 for w's own.
 * Reference: io.inlay.kernels.ScalarKernels.linear
 *
 * Order of summation: linear.h's.
 *
 * At M = 1 memory bounds it: some rows go together, since the chain of one alone would be as slow as memory, and it reads as fast as a
 * loop that does nothing else. For many inputs what is open of x and of the sums stays in the first-level cache while weights pass: a
 * band of rows takes k in chunks, at 0.7 of the rate of fused multiply-adds.
 */
#include "linear.h"

#include <stdlib.h>

struct linear {
    const void *x, *packed, *w;
    void *y;
    long m, o, k, x_stride, w_stride, y_stride;
    const uint64_t *tiles;
    long edge, across;  /* of tiles: their edge, their columns */
    int type, y_type, form;
};

enum { MOST_INPUTS = 8, MOST_ROWS = 4, MANY_ROWS = 3, BAND = 12, CHUNK_BYTES = 16384 };

enum { MOST_SUMS = MOST_ROWS * MOST_INPUTS / LANES * LANES + LANES };

INLINE long packed_bytes(const struct linear *a, long inputs) {
    return inputs * ((a->k + step_of(a->form) - 1) / step_of(a->form)) * parts_of(a->form) * (long) sizeof(vuint);
}

/*
 * A copy of x as the inner loop reads it, one stream: for each set of at most 8 inputs, for each step of k, for each part, one vector
 * of each input; k is filled up with 0 to whole steps. Rows of x a power of two apart would share their places in the first-level cache.
 */
static void pack(const struct linear *a, char *packed) {
    const long width = width_of(a->form), step = step_of(a->form);
    for (long first = 0; first < a->m; first += MOST_INPUTS) {
        const long count = MIN(MOST_INPUTS, a->m - first), across = count * sizeof(vuint);
        for (long c = 0; c < count; c++) {
            char *to = packed + packed_bytes(a, first) + c * sizeof(vuint);
            for (long k = 0; k < a->k; k += step, to += parts_of(a->form) * across) {
                const char *x = at(a->x, (first + c) * a->x_stride + k, a->type);
                vuint bits = {0};
                if (a->k - k < step) memcpy(&bits, x, (a->k - k) * width);
                else bits = raw(x);
                if (a->form == WIDENED) {
                    const vfloat second = even(bits);
                    memcpy(to + across, &second, sizeof second);
                    bits = (vuint) odd(bits);
                }
                memcpy(to, &bits, sizeof bits);
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
 * What a block of outputs has for tiles, found once for all of k, since divisions cost as much as some steps of a segment: for each
 * output the row of addresses and the bytes before its row in a tile.
 */
struct found { const uint64_t *tiles[MOST_ROWS]; long before[MOST_ROWS]; };

INLINE void find(const struct linear *a, const int ROWS, long o, struct found *found) {
    if (!a->tiles) return;
    long row = o / a->edge, inside = o - row * a->edge;
    for (int r = 0; r < ROWS; r++, inside++) {
        if (inside == a->edge) {
            row++;
            inside = 0;
        }
        found->tiles[r] = a->tiles + row * a->across;
        found->before[r] = inside * a->edge * bytes_of(a->type);
    }
}

/* Writes sums [rows, count] of outputs from o on to columns of y. Reads sums up to a multiple of LANES. */
static __attribute__((noinline)) void put_sums(const struct linear *a, int rows, int count, const vfloat *sums, long o, void *y) {
    float wide[MOST_SUMS];
    for (int first = 0; first < rows * count; first += LANES) store(wide, first, FP32, sum_each(sums + first, LANES));
    if (a->y_type == FP32) {
        for (int c = 0; c < count; c++) {
            for (int r = 0; r < rows; r++) put(y, c * a->y_stride + o + r, FP32, wide[r * count + c]);
        }
        return;
    }
    uint16_t bits[MOST_SUMS];
    for (int first = 0; first < rows * count; first += LANES) store(bits, first, BF16, load(wide, first, FP32));
    for (int c = 0; c < count; c++) {
        for (int r = 0; r < rows; r++) ((uint16_t *) y)[c * a->y_stride + o + r] = bits[r * count + c];
    }
}

/*
 * What to prefetch into the second-level cache while a segment is read, `lines` vectors at each step: in the order of memory where the
 * next rows lie behind each other (one stream of addresses reaches more of the bandwidth than several at once), else row by row. Rows of
 * a long k would not stay in the first level until they are read: few inputs fetch from the second to the first NEAR bytes before use.
 */
struct ahead { const char *from; long apart; int lines; };

/*
 * `bytes` of ROWS rows of weights against COUNT inputs of packed x; sums [ROWS, COUNT]. The constants make it
 * straight-line code with all sums in registers, which they reach through `open` alone, since compilers leave `sums` in memory.
 */
INLINE void segment(vfloat *sums, const char *const *w, long bytes, const char *x, struct ahead ahead, const int form, const int ROWS,
        const int COUNT) {
    vfloat open[MOST_ROWS][MOST_INPUTS];
    UNROLL for (int r = 0; r < ROWS; r++) {
        UNROLL for (int c = 0; c < COUNT; c++) open[r][c] = sums[r * COUNT + c];
    }
    const char *next = ahead.from;
    const long stride = ahead.apart == sizeof(vuint) ? ahead.lines * sizeof(vuint) : sizeof(vuint);
    for (long byte = 0; byte < bytes; byte += sizeof(vuint)) {
        vuint ws[MOST_ROWS];
        UNROLL for (int r = 0; r < ROWS; r++) ws[r] = raw(w[r] + byte);
        UNROLL for (int r = 0; r < ROWS; r++) {
            if (r < ahead.lines) __builtin_prefetch(next + r * ahead.apart, 0, 2);
            if (COUNT <= FEW_INPUTS) __builtin_prefetch(w[r] + byte + NEAR);  /* for more the first-level cache is x's */
        }
        next += stride;
        UNROLL for (int part = 0; part < parts_of(form); part++) {
            UNROLL for (int c = 0; c < COUNT; c++) {
                vuint xs = raw(x + c * sizeof(vuint));
#if defined(__AVX512F__)
                __asm__("" : "+v"(xs));  /* one load for all rows, where compilers would give each product its own */
#endif
                UNROLL for (int r = 0; r < ROWS; r++) open[r][c] = multiply_add(open[r][c], ws[r], xs, form, part);
            }
            x += COUNT * sizeof(vuint);
        }
    }
    UNROLL for (int r = 0; r < ROWS; r++) {
        UNROLL for (int c = 0; c < COUNT; c++) sums[r * COUNT + c] = open[r][c];
    }
}

/* Where the run of k from `begin`, the left side of column `tile`, on ends in which ROWS outputs read the base. */
INLINE long run_end(const struct linear *a, const int ROWS, const struct found *found, long tile, long begin, long end) {
    if (!a->tiles) return end;
    long k = begin;
    for (; k < end; k += a->edge, tile++) {
        if (found->tiles[0][tile] || found->tiles[ROWS - 1][tile]) break;
    }
    return MIN(k, end);
}

/*
 * Outputs [o, o + ROWS) for inputs [m, m + COUNT) and k in [begin, end): from and to `sums`, and to column o of y at the end of k.
 * next, first, lines: where memory ahead of these weights is fetched from in its order, and which of ROWS rows where it is row by row.
 */
INLINE void block(const struct linear *a, const int form, const int ROWS, const int COUNT, long o, long m, long begin, long end,
        const char *next, int first, int lines, vfloat *sums) {
    const long step = step_of(form), width = width_of(form), whole = end / step * step, x_step = parts_of(form) * COUNT * sizeof(vuint);
    const char *x = (const char *) a->packed + packed_bytes(a, m) + begin / step * x_step;
    if (begin == 0) memset(sums, 0, ROWS * COUNT * sizeof *sums);
    struct found found = {.tiles = {NULL}};
    find(a, ROWS, o, &found);
    long tile = begin && a->tiles ? begin / a->edge : 0;
    for (long k = begin, stop; k < whole; x += (stop - k) / step * x_step, k = stop) {
        stop = run_end(a, ROWS, &found, tile, k, whole);
        const int tiled = stop == k;
        if (tiled) stop = MIN(k + a->edge, whole);
        const char *w[MOST_ROWS];
        UNROLL for (int r = 0; r < ROWS; r++) {
            w[r] = at(a->w, (o + r) * a->w_stride + k, a->type);
            if (tiled && found.tiles[r][tile]) w[r] = (const char *) (uintptr_t) found.tiles[r][tile] + found.before[r];
        }
        const long pitch = (tiled ? a->edge : a->w_stride) * width;
        struct ahead ahead = {w[0] + (ROWS + first) * pitch, pitch, lines};
        if (tiled) ahead = (struct ahead) {w[0] + ROWS * pitch, sizeof(vuint), ROWS};
        else if (stop - k == whole - begin) ahead = (struct ahead) {next, sizeof(vuint), lines};
        segment(sums, w, (stop - k) * width, x, ahead, form, ROWS, COUNT);
        if (a->tiles) tile += tiled ? 1 : (stop - k) / a->edge;
    }
    if (end < a->k) return;
    for (int i = 0; end > whole && i < ROWS * COUNT; i++) {  /* behind the last whole step, which only one segment of all k leaves */
        vuint last = {0};
        memcpy(&last, weights(a, o + i / COUNT, 0) + whole * width, (end - whole) * width);
        for (int part = 0; part < parts_of(form); part++) {
            sums[i] = multiply_add(sums[i], last, raw(x + (part * COUNT + i % COUNT) * sizeof(vuint)), form, part);
        }
    }
    put_sums(a, ROWS, COUNT, sums, o, at(a->y, m * a->y_stride, a->y_type));
}

/*
 * All inputs against `rows` outputs, ROWS at a time, k in chunks of which x fits the first-level cache. Each set of inputs fetches its
 * share of the rows behind these, so that memory is never idle and no set waits for it alone.
 */
INLINE void band(const struct linear *a, const int form, const int ROWS, const int MOST, long o, long rows) {
    const long step = step_of(form);
    vfloat sums[BAND * MOST_INPUTS + LANES];
    memset(sums + BAND * MOST_INPUTS, 0, LANES * sizeof *sums);
    const long sets = (a->m + MOST_INPUTS - 1) / MOST_INPUTS;
    const char *next = at(a->w, (o + rows) * a->w_stride, a->type);
    for (long m = 0, first = 0; m < a->m; m += MOST_INPUTS) {
        const long count = MIN(MOST_INPUTS, a->m - m);
        const int most = form == BF16 && !PAIRS ? MIN(MOST, FEW_INPUTS) : MOST;
        long chunk = MAX(1, CHUNK_BYTES / (count * parts_of(form) * (long) sizeof(vuint))) * step;
        if (a->tiles) chunk = MAX(1, chunk / a->edge) * a->edge;
        if (a->m <= FEW_INPUTS || a->k % step) chunk = a->k;
        const long stop = ((m / MOST_INPUTS + 1) * ROWS + sets - 1) / sets;
        long k = 0;
        do {
            const long end = MIN(k + chunk, a->k);
            for (long r = 0; r < rows; r += ROWS) {
#define CASE(COUNT) case COUNT: if (COUNT <= most) block(a, form, ROWS, COUNT, o + r, m, k, end, next, first, stop - first, \
        sums + r * COUNT); break
                switch (count) {
                    CASE(1); CASE(2); CASE(3); CASE(4); CASE(5); CASE(6); CASE(7); CASE(8);
                }
#undef CASE
                next += (end - k) * width_of(form) * (stop - first);
            }
            k = end;
        } while (k < a->k);
        first = stop;
    }
}

/* As many rows at a time as leave registers for the weights, rows x inputs being the sums that are open (AVX2's 16 spill some). */
INLINE void outputs(const struct linear *a, const int form, long begin, long end) {
    long o = begin;
    if (a->m > FEW_INPUTS) {
        for (long rows; o + MANY_ROWS <= end; o += rows) {
            rows = MIN(BAND, (end - o) / MANY_ROWS * MANY_ROWS);
            band(a, form, MANY_ROWS, MOST_INPUTS, o, rows);
        }
    } else {
        for (; o + MOST_ROWS <= end; o += MOST_ROWS) band(a, form, MOST_ROWS, FEW_INPUTS, o, MOST_ROWS);
    }
    for (; o < end; o++) band(a, form, 1, MOST_INPUTS, o, 1);
}

static void range(const struct linear *a, long begin, long end) {
    if (a->form == BF16) outputs(a, BF16, begin, end);
    else if (a->form == WIDENED) outputs(a, WIDENED, begin, end);
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
    const unsigned before = flush_denormals(a->type);
    if (a->tiles && a->edge < a->k && a->edge % step_of(a->form)) gathered(a, begin, end);
    else range(a, begin, end);
    restore(before);
}

EXPORT void inlay_linear(const void *x, long x_stride, const void *w, long w_stride, const uint64_t *tiles, long edge, void *y,
        long y_stride, long m, long o, long k, int type, int y_type) {
    struct linear a = {x, x, w, y, m, o, k, x_stride, w_stride, y_stride, tiles, edge, tiles ? k / edge : 0, type, y_type,
            form_of(type, m)};
    if (m > 1 || k % step_of(type)) {
        char *packed = scratch(packed_bytes(&a, m));
        pack(&a, packed);
        a.packed = packed;
    }
    inlay_parallel(linear, &a, o, grain_of(k * bytes_of(type)));
}
