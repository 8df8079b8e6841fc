/*
 * y[m, o] = sum_k x[m, k] w_m[o, k] for few rows m, each with a tile table of its own or none: what several rows have in common, the
 * base's weights or a table's, is read once for all of them.
 *
 * Shapes: x [M, K], w [O, K] bf16, y [M, O] bf16 or fp32, at most 32 rows. tables: for each row of x null, or [O / edge, K / edge]
 * addresses of contiguous [edge, edge] squares that stand in for w's, 0 for w's own.
 * Reference: io.inlay.kernels.ScalarKernels.linear, a row at a time
 *
 * Order of summation: linear.h's; with whom a row shares its weights is a matter of speed alone.
 *
 * Outputs go by bands, a band's k by squares, a square by its sources: w and each table that has one there, with the inputs that read it.
 * A source of several inputs is bound by arithmetic, one of a single input by memory. So while the former are multiplied the latter are
 * fetched too, evenly over time: row after row of all sources in the order in which they will be read, as many as the work done is due.
 * Loops over a single input's rows are short: they have no branch that depends on the plan, so that the processor runs ahead over them.
 */
#include "linear.h"

#include <stdlib.h>

struct mixed {
    const void *x, *w;
    const char *packed;  /* for each column of squares, for each input, for each step, for each part, one vector; null for few inputs */
    void *y;
    long m, o, k, x_stride, w_stride, y_stride;
    int y_type;
    const uint64_t *const *tables;
    const int64_t *edges;
    long side;  /* of the squares that are taken at once: divides every edge, o and k, and is divided by a vector step */
};

enum { MOST_TABLES = 32, MOST_INPUTS = 8, MOST_ROWS = 4, MANY_ROWS = 3, BAND = 12, MOST_SIDE = 256, LINES = 6, PIECES_PER_THREAD = 4 };

enum { AHEAD = 4 };  /* rows of w between those that are read and those that are fetched into the second-level cache */

/* What some inputs read at column k: rows that begin at w and lie `pitch` bytes apart. */
struct source { const char *w; long pitch, k; int count; uint8_t inputs[MOST_TABLES]; };

/*
 * The sources of `rows` rows of w within one row of squares, in the order of reading, `band` rows at a time, and what is fetched next: row
 * `row` of the band [first, stop) of source `at`. `owed` rows of sources should have been fetched and were not; a row's unit of work owes `rate` more.
 */
struct plan { struct source *sources; long count, rows, band; long at, row, first, stop; double owed, rate; };

INLINE long steps_of(const struct mixed *a) { return a->side / (2 * LANES); }

static void pack(const struct mixed *a, char *to) {
    const int form = form_of(BF16, a->m);
    for (long k = 0; k < a->k; k += a->side) {
        for (long m = 0; m < a->m; m++) {
            const char *x = at(a->x, m * a->x_stride + k, BF16);
            for (long step = 0; step < steps_of(a); step++, x += sizeof(vuint), to += parts_of(form) * sizeof(vuint)) {
                vuint bits = raw(x);
                if (form == WIDENED) {
                    const vfloat second = even(bits);
                    memcpy(to + sizeof(vuint), &second, sizeof second);
                    bits = (vuint) odd(bits);
                }
                memcpy(to, &bits, sizeof bits);
            }
        }
    }
}

/* A row's work for `count` inputs: their products, and what it takes to have the weights. None in which nothing is fetched. */
INLINE long work_of(const struct mixed *a, int count) {
    return count == 1 && a->m > FEW_INPUTS ? 0 : count + (count + MOST_INPUTS - 1) / MOST_INPUTS;
}

static struct plan plan_of(const struct mixed *a, long begin, long rows, struct source *sources) {
    struct plan plan = {.sources = sources, .rows = rows, .band = a->m > FEW_INPUTS ? BAND : MANY_ROWS};
    for (long k = 0; k < a->k; k += a->side) {
        const long first = plan.count;
        for (int m = 0; m < a->m; m++) {
            const long edge = a->edges[m];
            const uint64_t square = a->tables[m] ? a->tables[m][begin / edge * (a->k / edge) + k / edge] : 0;
            const char *w = square ? (const char *) (uintptr_t) square + (begin % edge * edge + k % edge) * bytes_of(BF16)
                    : at(a->w, begin * a->w_stride + k, BF16);
            const long pitch = (square ? edge : a->w_stride) * bytes_of(BF16);
            long s = first;
            while (s < plan.count && (sources[s].w != w || sources[s].pitch != pitch)) s++;
            if (s == plan.count) sources[plan.count++] = (struct source) {w, pitch, k, 0, {0}};
            sources[s].inputs[sources[s].count++] = m;
        }
    }
    long work = 0;
    for (long s = 0; s < plan.count; s++) work += work_of(a, sources[s].count);
    plan.rate = (double) plan.count / MAX(1, work);
    plan.owed = plan.count * AHEAD;
    return plan;
}

INLINE void fetch_band(struct plan *plan, long first) {
    plan->at = 0;
    plan->row = plan->first = first;
    plan->stop = MIN(first + plan->band, plan->rows);
}

/* The addresses of the rows that are to be fetched with `work` more, at most LINES; `any` for none. */
INLINE void fetch(struct plan *plan, long work, const char *any, const char **lines) {
    plan->owed += work * plan->rate;
    UNROLL for (int i = 0; i < LINES; i++) {
        lines[i] = any;
        if (plan->row == plan->rows || plan->owed <= 0) continue;
        const struct source *source = plan->sources + plan->at;
        lines[i] = source->w + plan->row * source->pitch;
        plan->owed--;
        if (++plan->row < plan->stop) continue;
        plan->row = plan->first;
        if (++plan->at == plan->count) fetch_band(plan, plan->stop);
    }
}

/*
 * `bytes` of ROWS rows of weights against COUNT inputs of x: sums [ROWS, across], of which each input has its column. The constants make
 * it straight-line code with all sums in registers. Of each line, if there are any, one vector goes to the second-level cache at each
 * step; where inputs are few, of the next rows to the first.
 */
INLINE void segment(vfloat *sums, long across, const uint8_t *inputs, const char *w, long pitch, long bytes, const char *const *x,
        const char *const *lines, const int form, const int ROWS, const int COUNT) {
    vfloat open[MOST_ROWS][MOST_INPUTS];
    const char *xs[MOST_INPUTS];
    UNROLL for (int c = 0; c < COUNT; c++) {
        xs[c] = x[inputs[c]];
        UNROLL for (int r = 0; r < ROWS; r++) open[r][c] = sums[r * across + inputs[c]];
    }
    for (long byte = 0; byte < bytes; byte += sizeof(vuint)) {
        vuint ws[MOST_ROWS];
        UNROLL for (int r = 0; r < ROWS; r++) {
            ws[r] = raw(w + r * pitch + byte);
            if (COUNT <= FEW_INPUTS && (lines || r == 0)) __builtin_prefetch(w + (ROWS + r) * pitch + byte);
        }
        if (lines) {
            UNROLL for (int i = 0; i < LINES; i++) __builtin_prefetch(lines[i] + byte, 0, 2);
        }
        UNROLL for (int part = 0; part < parts_of(form); part++) {
            UNROLL for (int c = 0; c < COUNT; c++) {
                vuint each = raw(xs[c] + byte * parts_of(form) + part * sizeof(vuint));
#if defined(__AVX512F__)
                __asm__("" : "+v"(each));  /* one load for all rows, where compilers would give each product its own */
#endif
                UNROLL for (int r = 0; r < ROWS; r++) open[r][c] = multiply_add(open[r][c], ws[r], each, form, part);
            }
        }
    }
    UNROLL for (int c = 0; c < COUNT; c++) {
        UNROLL for (int r = 0; r < ROWS; r++) sums[r * across + inputs[c]] = open[r][c];
    }
}

/* As `segment`, for rows and inputs that are known at run time only. */
static __attribute__((noinline)) void segment_of(vfloat *sums, long across, const uint8_t *inputs, const char *w, long pitch, long bytes,
        const char *const *x, const char *const *lines, int form, int rows, int count) {
#define CASE(FORM, ROWS, COUNT) case (FORM * MOST_ROWS + ROWS) * MOST_INPUTS + COUNT: \
        segment(sums, across, inputs, w, pitch, bytes, x, lines, FORM, ROWS, COUNT); break
#define CASES(FORM, ROWS) CASE(FORM, ROWS, 5); CASE(FORM, ROWS, 6); CASE(FORM, ROWS, 7); CASE(FORM, ROWS, 8)
    switch ((form * MOST_ROWS + rows) * MOST_INPUTS + count) {
        CASES(WIDENED, 1); CASES(WIDENED, MANY_ROWS);
#if defined(__AVX512BF16__)
        CASES(BF16, 1); CASES(BF16, MANY_ROWS);
#endif
        CASE(BF16, 1, 1); CASE(BF16, 1, 2); CASE(BF16, 1, 3); CASE(BF16, 1, 4);
        CASE(BF16, MANY_ROWS, 1); CASE(BF16, MANY_ROWS, 2); CASE(BF16, MANY_ROWS, 3); CASE(BF16, MANY_ROWS, 4);
    }
#undef CASES
#undef CASE
}

/* Rows [o, o + rows) of y from sums [rows, across]. */
static __attribute__((noinline)) void put_sums(const struct mixed *a, int rows, const vfloat *sums, long across, long o) {
    for (int r = 0; r < rows; r++, sums += across) {
        float wide[MOST_TABLES];
        uint16_t bits[MOST_TABLES];
        for (int first = 0; first < a->m; first += LANES) {
            const vfloat each = sum_each(sums + first, LANES);
            store(wide, first, FP32, each);
            store(bits, first, BF16, each);
        }
        for (int m = 0; m < a->m; m++) {
            if (a->y_type == FP32) ((float *) a->y)[m * a->y_stride + o + r] = wide[m];
            else ((uint16_t *) a->y)[m * a->y_stride + o + r] = bits[m];
        }
    }
}

/* Rows [first, first + rows) of a source for some of its inputs, as many as go together. */
INLINE void multiply(const struct mixed *a, struct plan *plan, const struct source *source, long first, int rows, const uint8_t *inputs,
        int count, const char *const *x, int form, vfloat *sums, long across) {
    const char *lines[LINES], *w = source->w + first * source->pitch;
    for (int r = 0, taken; r < rows; r += taken, w += taken * source->pitch) {
        taken = r + MANY_ROWS <= rows ? MANY_ROWS : 1;
        fetch(plan, taken * work_of(a, count), x[inputs[0]], lines);
        segment_of(sums + r * across, across, inputs, w, source->pitch, a->side * bytes_of(BF16), x, lines, form, taken, count);
    }
}

/* As `multiply`, for a source of one input where others have more. */
INLINE void multiply_one(const struct mixed *a, const struct source *source, long first, int rows, const char *const *x, vfloat *sums,
        long across) {
    const long bytes = a->side * bytes_of(BF16);
    const char *w = source->w + first * source->pitch;
    int r = 0;
    for (; r + MOST_ROWS <= rows; r += MOST_ROWS, w += MOST_ROWS * source->pitch) {
        segment(sums + r * across, across, source->inputs, w, source->pitch, bytes, x, NULL, BF16, MOST_ROWS, 1);
    }
    for (; r < rows; r++, w += source->pitch) {
        segment(sums + r * across, across, source->inputs, w, source->pitch, bytes, x, NULL, BF16, 1, 1);
    }
}

/* Rows [first, first + rows) of a plan: columns of y from o on. */
static void band(const struct mixed *a, struct plan *plan, long first, int rows, long o) {
    const long across = (a->m + LANES - 1) / LANES * LANES;
    const int form = form_of(BF16, a->m);
    vfloat sums[BAND * MOST_TABLES];
    memset(sums, 0, rows * across * sizeof *sums);
    const char *x[2][MOST_TABLES];  /* as it came, packed */
    if (plan->first < first) fetch_band(plan, first);  /* more was due than could be fetched */
    for (const struct source *source = plan->sources; source < plan->sources + plan->count; source++) {
        for (int m = 0; m < a->m; m++) {
            x[0][m] = at(a->x, m * a->x_stride + source->k, BF16);
            if (a->packed) x[1][m] = a->packed + (source->k * a->m + m * a->side) * parts_of(form) * bytes_of(BF16);
        }
        if (!work_of(a, source->count)) {
            multiply_one(a, source, first, rows, x[0], sums, across);
            continue;
        }
        const int sets = (source->count + MOST_INPUTS - 1) / MOST_INPUTS, set = (source->count + sets - 1) / sets;
        for (int c = 0, count; c < source->count; c += count) {
            count = MIN(set, source->count - c);
            const int few = count <= FEW_INPUTS;
            multiply(a, plan, source, first, rows, source->inputs + c, count, x[!few], few ? BF16 : form, sums, across);
        }
    }
    put_sums(a, rows, sums, across, o);
}

static void mixed(const void *arguments, long begin, long end) {
    const struct mixed *a = arguments;
    const unsigned before = flush_denormals(BF16);
    struct source *sources = malloc(a->k / a->side * a->m * sizeof *sources);
    for (long o = begin, stop; o < end; o = stop) {
        stop = MIN(end, (o / a->side + 1) * a->side);
        struct plan plan = plan_of(a, o, stop - o, sources);
        fetch_band(&plan, 0);
        for (long first = 0; first < plan.rows; first += plan.band) {
            band(a, &plan, first, MIN(plan.band, plan.rows - first), o + first);
        }
    }
    free(sources);
    restore(before);
}

/* edge divides o, k and every edge, and a vector step divides it. */
EXPORT void inlay_linear_mixed(const void *x, long x_stride, const void *w, long w_stride, const uint64_t *const *tables,
        const int64_t *edges, long edge, void *y, long y_stride, long m, long o, long k, int y_type) {
    long side = MOST_SIDE;
    while (edge % side) side /= 2;
    struct mixed a = {x, w, NULL, y, m, o, k, x_stride, w_stride, y_stride, y_type, tables, edges, side};
    if (m > FEW_INPUTS) {
        char *packed = scratch(m * k * parts_of(form_of(BF16, m)) * bytes_of(BF16));
        pack(&a, packed);
        a.packed = packed;
    }
    inlay_parallel(mixed, &a, o, MAX(BAND, o / (PIECES_PER_THREAD * pool_threads())));
}
