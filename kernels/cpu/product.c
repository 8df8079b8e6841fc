/*
 * c[m, n] = sum_k a[m, k] b[k, n], or added to c: the products of training, for many rows.
 *
 * Shapes: a [M, K], b [K, N] bf16 or fp32 of any strides, one of each operand's 1 in the fast ways; c [M, N] bf16 or fp32, rows dense.
 * Reference: io.inlay.kernels.Kernels.product, whose default is libtorch's
 *
 * Order of summation: one fused multiply-add after another over k, ascending, in fp32, from c's element where it is added to, else from
 * 0; rounded once at the end. Nothing else has a part in it: not M, not N, not the number of threads.
 *
 * Operands go to fp32 while they are packed: Intel's cores start one vdpbf16ps in two cycles, but two fused multiply-adds in one (of whose
 * rate this reaches 0.8 where all of M, N and K are some hundreds). A tile
 * of ROWS x WIDE sums stays in registers over DEPTH of k; a panel of b [DEPTH, WIDE] in the first-level cache while the tiles of a
 * chunk of rows pass, their packed rows in the second-level one while the panels do.
 */
#include "inlay.h"

#if defined(__AVX2__) && !defined(__AVX512F__)
enum { ROWS = 6 };  /* 16 registers */
#else
enum { ROWS = 12 };
#endif
enum { WIDE = 2 * LANES, DEPTH = 256, MOST_TILES = 32, MOST_PANELS = 128 };

typedef vfloat Sums[ROWS][2];

struct product {
    const void *a, *b;
    void *c;
    long m, n, k, a_row, a_column, b_row, b_column, c_stride;
    int type, c_type, add;
    long first_row, tiles, first_column, panels;
    float *packed;  /* [tiles]: [K, ROWS], and behind each what storing whole vectors may overwrite */
    Sums *sums;     /* [tiles, panels] */
};

INLINE long packed_tile(const struct product *p) { return p->k * ROWS + LANES; }

/* Of LANES vectors, the one that holds the i-th element of each in place of the i-th; all at once, in halves. */
#define UPPER(i, half) ((i) & (half) ? LANES + (i) - (half) : (i))
#define UNDER(i, half) ((i) & (half) ? LANES + (i) : (i) + (half))

INLINE void transpose(vfloat *v) {
    UNROLL for (int half = LANES / 2; half > 0; half /= 2) {
        const vint upper = EACH_LANE(UPPER, half), under = EACH_LANE(UNDER, half);
        UNROLL for (int i = 0; i < LANES; i++) {
            if (i & half) continue;
            const vfloat one = v[i], other = v[i + half];
            v[i] = __builtin_shuffle(one, other, upper);
            v[i + half] = __builtin_shuffle(one, other, under);
        }
    }
}

static void pack_rows(const void *arguments, long begin, long end) {
    const struct product *p = arguments;
    for (long tile = begin; tile < end; tile++) {
        const long first = p->first_row + tile * ROWS, rows = MIN(ROWS, p->m - first);
        float *to = p->packed + tile * packed_tile(p);
        if (p->a_column == 1) {
            for (long k = 0; k < p->k; k += LANES) {
                const long count = MIN(LANES, p->k - k);
                vfloat v[LANES] = {0};
                for (int r = 0; r < rows; r++) {
                    const long from = (first + r) * p->a_row + k;
                    v[r] = count == LANES ? load(p->a, from, p->type) : load_some(p->a, from, p->type, count);
                }
                transpose(v);
                for (int i = 0; i < count; i++) store(to, (k + i) * ROWS, FP32, v[i]);
            }
        } else if (p->a_row == 1) {
            for (long k = 0; k < p->k; k++) {
                const long from = first + k * p->a_column;
                store(to, k * ROWS, FP32, first + LANES <= p->m ? load(p->a, from, p->type) : load_some(p->a, from, p->type, rows));
            }
        } else {
            for (long k = 0; k < p->k; k++) {
                for (int r = 0; r < ROWS; r++) {
                    to[k * ROWS + r] = r < rows ? get(p->a, (first + r) * p->a_row + k * p->a_column, p->type) : 0;
                }
            }
        }
    }
}

/* b [k, k + depth) of columns [column, column + columns), filled up with 0 to WIDE. */
static void pack_panel(const struct product *p, long k, long depth, long column, long columns, float *to) {
    for (int side = 0; side < WIDE; side += LANES) {
        const long count = MAX(0, MIN(LANES, columns - side));
        if (p->b_column == 1) {
            for (long i = 0; i < depth; i++) {
                const long from = count ? (k + i) * p->b_row + column + side : 0;
                store(to, i * WIDE + side, FP32, count == LANES ? load(p->b, from, p->type) : load_some(p->b, from, p->type, count));
            }
        } else if (p->b_row == 1) {
            for (long i = 0; i < depth; i += LANES) {
                const long some = MIN(LANES, depth - i);
                vfloat v[LANES] = {0};
                for (int j = 0; j < count; j++) {
                    const long from = (column + side + j) * p->b_column + k + i;
                    v[j] = some == LANES ? load(p->b, from, p->type) : load_some(p->b, from, p->type, some);
                }
                transpose(v);
                UNROLL for (int j = 0; j < LANES; j++) store(to, (i + j) * WIDE + side, FP32, v[j]);
            }
        } else {
            for (long i = 0; i < depth; i++) {
                for (int j = 0; j < LANES; j++) {
                    to[i * WIDE + side + j] = j < count ? get(p->b, (k + i) * p->b_row + (column + side + j) * p->b_column, p->type) : 0;
                }
            }
        }
    }
}

static void add_products(const float *a, const float *b, long depth, Sums sums) {
    vfloat open[ROWS][2];
    UNROLL for (int r = 0; r < ROWS; r++) {
        open[r][0] = sums[r][0];
        open[r][1] = sums[r][1];
    }
    for (long k = 0; k < depth; k++, a += ROWS, b += WIDE) {
        const vfloat left = load(b, 0, FP32), right = load(b, LANES, FP32);
        UNROLL for (int r = 0; r < ROWS; r++) {
            const vfloat x = splat(a[r]);
            open[r][0] = x * left + open[r][0];
            open[r][1] = x * right + open[r][1];
        }
    }
    UNROLL for (int r = 0; r < ROWS; r++) {
        sums[r][0] = open[r][0];
        sums[r][1] = open[r][1];
    }
}

/* Between c and the sums of a tile: rows and columns that c has, from or to it. */
static void exchange(const struct product *p, long row, long column, Sums sums, int out) {
    const long rows = MIN(ROWS, p->m - row);
    for (int r = 0; r < rows; r++) {
        for (int side = 0; side < 2; side++) {
            const long at = (row + r) * p->c_stride + column + side * LANES, count = MIN(LANES, p->n - column - side * LANES);
            if (count <= 0) continue;
            if (out && count == LANES) store(p->c, at, p->c_type, sums[r][side]);
            else if (out) store_some(p->c, at, p->c_type, sums[r][side], count);
            else sums[r][side] = count == LANES ? load(p->c, at, p->c_type) : load_some(p->c, at, p->c_type, count);
        }
    }
}

static void panels(const void *arguments, long begin, long end) {
    const struct product *p = arguments;
    _Alignas(64) float panel[DEPTH * WIDE];
    for (long k = 0; k < p->k; k += DEPTH) {
        const long depth = MIN(DEPTH, p->k - k);
        for (long at = begin; at < end; at++) {
            const long column = p->first_column + at * WIDE;
            pack_panel(p, k, depth, column, MIN(WIDE, p->n - column), panel);
            for (long tile = 0; tile < p->tiles; tile++) {
                vfloat (*sums)[2] = p->sums[tile * p->panels + at];
                const long row = p->first_row + tile * ROWS;
                if (k == 0) {
                    memset(sums, 0, sizeof(Sums));
                    if (p->add) exchange(p, row, column, sums, 0);
                }
                add_products(p->packed + tile * packed_tile(p) + k * ROWS, panel, depth, sums);
                if (k + depth == p->k) exchange(p, row, column, sums, 1);
            }
        }
    }
}

/* Strides count elements: from a row to the next, from a column to the next. */
EXPORT void inlay_product(const void *a, long a_row, long a_column, const void *b, long b_row, long b_column, void *c, long c_stride,
        long m, long n, long k, int type, int c_type, int add) {
    struct product p = {a, b, c, m, n, k, a_row, a_column, b_row, b_column, c_stride, type, c_type, add, 0, 0, 0, 0, NULL, NULL};
    const long tiles = MIN(MOST_TILES, (m + ROWS - 1) / ROWS), most = MIN(MOST_PANELS, (n + WIDE - 1) / WIDE);
    const long rows_bytes = (tiles * packed_tile(&p) * (long) sizeof(float) + 63) / 64 * 64;
    char *memory = scratch(rows_bytes + tiles * most * (long) sizeof(Sums));
    p.packed = (float *) memory;
    p.sums = (Sums *) (memory + rows_bytes);
    for (p.first_row = 0; p.first_row < m; p.first_row += tiles * ROWS) {
        p.tiles = MIN(tiles, (m - p.first_row + ROWS - 1) / ROWS);
        inlay_parallel(pack_rows, &p, p.tiles, 1);
        for (p.first_column = 0; p.first_column < n; p.first_column += most * WIDE) {
            p.panels = MIN(most, (n - p.first_column + WIDE - 1) / WIDE);
            inlay_parallel(panels, &p, p.panels, 1);
        }
    }
}
