/*
 * y[m, o] = sum_k x[m, k] w[o, k] for few rows m, reading each weight from memory once.
 *
 * Shapes: x [M, K], w [O, K] of x's type (bf16 or fp32), y [M, O] bf16 or fp32. tiles: null, or [O / edge, K / edge] addresses of
 * contiguous [edge, edge] squares that stand in for w's, 0 for w's own. Mixed: a table and an edge, or null, for each row of x.
 * Reference: io.inlay.kernels.ScalarKernels.linear
 *
 * Order of summation: lane l of one vector of fp32 sums takes the elements (bf16: pairs of elements, the odd one first, each by a fused
 * multiply-add) l, l + LANES, l + 2 LANES, ... of k in ascending order; the lanes are added by sum_lanes at the end. That depends on K
 * and the instruction set alone: rows are grouped, k is cut and tiles are looked up around this chain, never inside it.
 *
 * With AVX512_BF16 denormals count as 0, because vdpbf16ps takes them so; all else that it does is two fused multiply-adds. Intel's
 * cores start one vdpbf16ps in two cycles, but four fused multiply-adds, so that there many inputs take the latter, for the same bits.
 *
 * At M = 1 memory bounds it: some rows go together, since the chain of one alone would be as slow as memory, and it reads as fast as a
 * loop that does nothing else. For many inputs what is open of x and of the sums stays in the first-level cache while weights pass: a
 * band of rows takes k in chunks, at 0.7 of the rate of fused multiply-adds.
 */
#include "inlay.h"

#include <stdlib.h>

struct linear {
    const void *x, *packed, *w;
    void *y;
    long m, o, k, x_stride, w_stride, y_stride;
    const uint64_t *tiles;
    long edge, across;  /* of tiles: their edge, their columns */
    int type, y_type, form;
    /* Mixed: edge is the greatest common divisor of all edges, masks [O / edge, K / edge] have bit m where row m has a tile. */
    const uint64_t *const *tables;
    const int64_t *edges;
    const uint32_t *masks;
};

/* How products are made: FP32 and BF16 as both operands lie in memory, WIDENED from w in bf16 and packed x in fp32. */
enum { WIDENED = 2 };

enum { MOST_INPUTS = 8, FEW_INPUTS = 4, MOST_ROWS = 4, MANY_ROWS = 3, BAND = 12, CHUNK_BYTES = 16384 };

enum { MOST_SUMS = MOST_ROWS * MOST_INPUTS / LANES * LANES + LANES };

INLINE long step_of(int form) { return form == FP32 ? LANES : 2 * LANES; }

INLINE long width_of(int form) { return form == FP32 ? 4 : 2; }

/* Vectors of packed x in a step: of the odd elements, of the even ones. */
INLINE int parts_of(int form) { return form == WIDENED ? 2 : 1; }

#if defined(__AVX512BF16__)
enum { PAIRS = 1 };  /* there is an instruction for products of pairs */
INLINE int widens(void) { return __builtin_cpu_is("intel"); }
#else
enum { PAIRS = 0 };
INLINE int widens(void) { return 1; }
#endif

INLINE int form_of(int type, long m) { return type == FP32 ? FP32 : m > FEW_INPUTS && widens() ? WIDENED : BF16; }

INLINE vfloat odd(vuint pairs) { return (vfloat) (pairs & 0xFFFF0000u); }

INLINE vfloat even(vuint pairs) { return (vfloat) (pairs << 16); }

INLINE vfloat multiply_add(vfloat sum, vuint w, vuint x, int form, int part) {
    if (form == FP32) return (vfloat) w * (vfloat) x + sum;
    if (form == WIDENED) return (part == 0 ? odd(w) : even(w)) * (vfloat) x + sum;
#if defined(__AVX512BF16__)
    return (vfloat) _mm512_dpbf16_ps((__m512) sum, (__m512bh) w, (__m512bh) x);
#else
    sum = odd(w) * odd(x) + sum;
    return even(w) * even(x) + sum;
#endif
}

INLINE vuint raw(const void *p) {
    vuint value;
    memcpy(&value, p, sizeof value);
    return value;
}

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

/* As weights, of input m's own tile, of which the following outputs' rows lie behind each other. */
INLINE const char *weights_of_input(const struct linear *a, long m, long o, long k) {
    const long edge = a->edges[m];
    const uint64_t tile = a->tables[m][o / edge * (a->k / edge) + k / edge];
    return (const char *) (uintptr_t) tile + (o % edge * edge + k % edge) * bytes_of(a->type);
}

/*
 * What a block of outputs has for tiles, found once for all of k, since divisions cost as much as some steps of a segment: for each
 * output the row of addresses and the bytes before its row in a tile; for the first one the row of masks.
 */
struct found { const uint64_t *tiles[MOST_ROWS]; long before[MOST_ROWS]; const uint32_t *masks; };

INLINE void find(const struct linear *a, const int ROWS, long o, struct found *found) {
    if (!a->tiles && !a->masks) return;
    long row = o / a->edge, inside = o - row * a->edge;
    if (a->masks) {
        found->masks = a->masks + row * a->across;
        return;
    }
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
 * `bytes` of ROWS rows of weights against COUNT of the `across` inputs that packed x holds; sums [ROWS, COUNT]. The constants make it
 * straight-line code with all sums in registers, which they reach through `open` alone, since compilers leave `sums` in memory.
 */
INLINE void segment(vfloat *sums, const char *const *w, long bytes, const char *x, struct ahead ahead, const int form, const int ROWS,
        const int COUNT, const int across) {
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
            x += across * sizeof(vuint);
        }
    }
    UNROLL for (int r = 0; r < ROWS; r++) {
        UNROLL for (int c = 0; c < COUNT; c++) sums[r * COUNT + c] = open[r][c];
    }
}

/* Where the run of k from `begin`, the left side of column `tile`, on ends in which ROWS outputs read the base for all inputs. */
INLINE long run_end(const struct linear *a, const int ROWS, const struct found *found, long tile, long begin, long end, uint32_t inputs) {
    if (!a->tiles && !a->masks) return end;
    long k = begin;
    for (; k < end; k += a->edge, tile++) {
        if (a->masks ? (found->masks[tile] & inputs) != 0 : found->tiles[0][tile] || found->tiles[ROWS - 1][tile]) break;
    }
    return MIN(k, end);
}

/* As `segment`, for one of `across` inputs and its own tile in column k of tiles. Not part of the code around it, for its size. */
static __attribute__((noinline)) void own_tile(const struct linear *a, int rows, long m, long o, long k, vfloat *sums, const char *x,
        int across) {
    const long pitch = a->edges[m] * width_of(a->form), bytes = a->edge * width_of(a->form);
    const char *w[MOST_ROWS];
    w[0] = weights_of_input(a, m, o, k);
    for (int r = 1; r < rows; r++) w[r] = w[0] + r * pitch;
    const struct ahead ahead = {w[0] + rows * pitch, pitch, rows};
#define CASE(ROWS) case ROWS: \
        if (a->form == BF16) segment(sums, w, bytes, x, ahead, BF16, ROWS, 1, across); \
        else segment(sums, w, bytes, x, ahead, WIDENED, ROWS, 1, across); \
        break
    switch (rows) {
        CASE(1); CASE(MANY_ROWS); CASE(MOST_ROWS);
    }
#undef CASE
}

/*
 * A tile that some inputs [m, m + COUNT) have of their own: the base was multiplied with all, from `before` on; those that have one go
 * back to before and are multiplied with theirs, so that the base's weights are read once, whoever shares them.
 */
INLINE void own_tiles(const struct linear *a, const int ROWS, const int COUNT, long o, long k, long m, uint32_t own, const char *x,
        const vfloat *before, vfloat *sums) {
    for (int c = 0; c < COUNT; c++) {
        if (!(own >> c & 1)) continue;
        vfloat one[MOST_ROWS];
        for (int r = 0; r < ROWS; r++) one[r] = before[r * COUNT + c];
        own_tile(a, ROWS, m + c, o, k, one, x + c * sizeof(vuint), COUNT);
        for (int r = 0; r < ROWS; r++) sums[r * COUNT + c] = one[r];
    }
}

/*
 * Outputs [o, o + ROWS) for inputs [m, m + COUNT) and k in [begin, end): from and to `sums`, and to column o of y at the end of k.
 * next, first, lines: where memory ahead of these weights is fetched from in its order, and which of ROWS rows where it is row by row.
 */
INLINE void block(const struct linear *a, const int form, const int ROWS, const int COUNT, long o, long m, long begin, long end,
        const char *next, int first, int lines, vfloat *sums) {
    const long step = step_of(form), width = width_of(form), whole = end / step * step, x_step = parts_of(form) * COUNT * sizeof(vuint);
    const uint32_t inputs = (1u << COUNT) - 1;
    const char *x = (const char *) a->packed + packed_bytes(a, m) + begin / step * x_step;
    if (begin == 0) memset(sums, 0, ROWS * COUNT * sizeof *sums);
    struct found found = {.masks = NULL};
    find(a, ROWS, o, &found);
    long tile = begin && (a->tiles || a->masks) ? begin / a->edge : 0;
    for (long k = begin, stop; k < whole; x += (stop - k) / step * x_step, k = stop) {
        stop = run_end(a, ROWS, &found, tile, k, whole, inputs << m);
        const int tiled = stop == k;
        if (tiled) stop = MIN(k + a->edge, whole);
        const uint32_t own = tiled && a->masks ? found.masks[tile] >> m & inputs : 0;
        const char *w[MOST_ROWS];
        UNROLL for (int r = 0; r < ROWS; r++) {
            w[r] = at(a->w, (o + r) * a->w_stride + k, a->type);
            if (tiled && a->tiles && found.tiles[r][tile]) w[r] = (const char *) (uintptr_t) found.tiles[r][tile] + found.before[r];
        }
        const long pitch = (tiled && !a->masks ? a->edge : a->w_stride) * width;
        struct ahead ahead = {w[0] + (ROWS + first) * pitch, pitch, lines};
        if (tiled && !a->masks) ahead = (struct ahead) {w[0] + ROWS * pitch, sizeof(vuint), ROWS};
        else if (stop - k == whole - begin) ahead = (struct ahead) {next, sizeof(vuint), lines};
        vfloat before[MOST_ROWS * MOST_INPUTS];
        if (own) memcpy(before, sums, ROWS * COUNT * sizeof *sums);
        if (own != inputs) segment(sums, w, (stop - k) * width, x, ahead, form, ROWS, COUNT, COUNT);
        if (own) own_tiles(a, ROWS, COUNT, o, k, m, own, x, before, sums);
        if (a->tiles || a->masks) tile += tiled ? 1 : (stop - k) / a->edge;
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
        if (a->tiles || a->masks) chunk = MAX(1, chunk / a->edge) * a->edge;
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
#if defined(__AVX512BF16__)
    const unsigned before = _mm_getcsr();
    if (a->type == BF16) _mm_setcsr(before | 0x8040);  /* denormal results and operands are 0 */
#endif
    if (a->masks) {
        for (long o = begin; o < end;) {  /* outputs that go together lie in one row of tiles */
            const long stop = MIN(end, (o / a->edge + 1) * a->edge);
            range(a, o, stop);
            o = stop;
        }
    } else if (a->tiles && a->edge < a->k && a->edge % step_of(a->form)) {
        gathered(a, begin, end);
    } else {
        range(a, begin, end);
    }
#if defined(__AVX512BF16__)
    _mm_setcsr(before);
#endif
}

/* bf16 only. At most 32 inputs; edge divides o, k and every edge, and a vector step divides it. */
EXPORT void inlay_linear_mixed(const void *x, long x_stride, const void *w, long w_stride, const uint64_t *const *tables,
        const int64_t *edges, long edge, void *y, long y_stride, long m, long o, long k, int y_type) {
    struct linear a = {x, x, w, y, m, o, k, x_stride, w_stride, y_stride, NULL, edge, k / edge, BF16, y_type, form_of(BF16, m), tables,
            edges, NULL};
    const long packed = packed_bytes(&a, m);
    char *memory = scratch(packed + o / edge * (k / edge) * sizeof(uint32_t));
    pack(&a, memory);
    mark_squares(tables, edges, edge, m, o, k, (uint32_t *) (memory + packed));
    a.packed = memory;
    a.masks = (const uint32_t *) (memory + packed);
    inlay_parallel(linear, &a, o, grain_of(k * bytes_of(BF16)));
}

EXPORT void inlay_linear(const void *x, long x_stride, const void *w, long w_stride, const uint64_t *tiles, long edge, void *y,
        long y_stride, long m, long o, long k, int type, int y_type) {
    struct linear a = {x, x, w, y, m, o, k, x_stride, w_stride, y_stride, tiles, edge, tiles ? k / edge : 0, type, y_type,
            form_of(type, m), NULL, NULL, NULL};
    if (m > 1 || k % step_of(type)) {
        char *packed = scratch(packed_bytes(&a, m));
        pack(&a, packed);
        a.packed = packed;
    }
    inlay_parallel(linear, &a, o, grain_of(k * bytes_of(type)));
}
