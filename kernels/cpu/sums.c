/*
 * Sums over elements: x += y, the sum of squares, block means, the sum over a group of heads.
 * Reference: io.inlay.kernels.ScalarKernels.add, accumulate, sumOfSquares, blockMean, blockAbsoluteMean
 */
#include "inlay.h"

enum { PIECE = 8192 };  /* elements of one item */

/* ---- x[n, :] += y[n, :], rounded to x's type ---- */

struct add {
    void *x;
    const void *y;
    long columns, pieces, x_stride, y_stride;
    int x_type, y_type;
};

INLINE void add_rows(const struct add *a, const int x_type, const int y_type, long begin, long end) {
    for (long item = begin; item < end; item++) {
        const long n = item / a->pieces, column = item % a->pieces * PIECE;
        void *x = at(a->x, n * a->x_stride + column, x_type);
        const void *y = at(a->y, n * a->y_stride + column, y_type);
        FOR_VECTORS(MIN(PIECE, a->columns - column), { STORE(x, x_type, LOAD(x, x_type) + LOAD(y, y_type)); });
    }
}

static void add(const void *arguments, long begin, long end) {
    const struct add *a = arguments;
    if (a->x_type == BF16 && a->y_type == BF16) add_rows(a, BF16, BF16, begin, end);
    else if (a->x_type == BF16) add_rows(a, BF16, FP32, begin, end);
    else if (a->y_type == BF16) add_rows(a, FP32, BF16, begin, end);
    else add_rows(a, FP32, FP32, begin, end);
}

EXPORT void inlay_add(void *x, long x_stride, const void *y, long y_stride, long rows, long columns, int x_type, int y_type) {
    const long pieces = (columns + PIECE - 1) / PIECE;
    struct add a = {x, y, columns, pieces, x_stride, y_stride, x_type, y_type};
    inlay_parallel(add, &a, rows * pieces, grain_of(MIN(columns, PIECE) * (bytes_of(x_type) + bytes_of(y_type))));
}

/* ---- sum of squares: each piece in doubles, lane by lane; the pieces' sums in order ---- */

struct squares {
    const void *x;
    double *partial;
    long columns, pieces, stride;
    int type;
};

INLINE void square_rows(const struct squares *a, const int type, long begin, long end) {
    for (long item = begin; item < end; item++) {
        const long n = item / a->pieces, column = item % a->pieces * PIECE;
        const void *x = at(a->x, n * a->stride + column, type);
        vdouble sums = {0};
        FOR_VECTORS(MIN(PIECE, a->columns - column), {
            vdouble value = __builtin_convertvector(LOAD(x, type), vdouble);
            sums += value * value;
        });
        double sum = 0;
        for (int lane = 0; lane < LANES; lane++) sum += sums[lane];
        a->partial[item] = sum;
    }
}

static void squares(const void *arguments, long begin, long end) {
    const struct squares *a = arguments;
    if (a->type == BF16) square_rows(a, BF16, begin, end);
    else square_rows(a, FP32, begin, end);
}

EXPORT double inlay_sum_of_squares(const void *x, long stride, long rows, long columns, int type) {
    const long pieces = (columns + PIECE - 1) / PIECE, items = rows * pieces;
    double *partial = scratch(items * sizeof(double)), sum = 0;
    struct squares a = {x, partial, columns, pieces, stride, type};
    inlay_parallel(squares, &a, items, grain_of(MIN(columns, PIECE) * bytes_of(type)));
    for (long item = 0; item < items; item++) sum += partial[item];
    return sum;
}

/* ---- scores[i, j] += mean of g, or |g|, over block (i, j): g [R, C], scores fp32 [R / edge, C / edge] ---- */

struct scores {
    const void *g;
    float *scores;
    long edge, across, stride, scores_stride;
    int absolute, type;
};

INLINE void score_blocks(const struct scores *a, const int type, long begin, long end) {
    for (long block = begin; block < end; block++) {
        const long i = block / a->across, j = block % a->across;
        double sum = 0;
        for (long r = 0; r < a->edge; r++) {
            const void *g = at(a->g, (i * a->edge + r) * a->stride + j * a->edge, type);
            vfloat sums = splat(0);
            FOR_VECTORS(a->edge, {
                vfloat value = LOAD(g, type);
                if (a->absolute) value = (vfloat) ((vuint) value & 0x7FFFFFFFu);
                sums += value;
            });
            sum += sum_lanes(sums);
        }
        a->scores[i * a->scores_stride + j] += (float) (sum / ((double) a->edge * a->edge));
    }
}

static void scores(const void *arguments, long begin, long end) {
    const struct scores *a = arguments;
    if (a->type == BF16) score_blocks(a, BF16, begin, end);
    else score_blocks(a, FP32, begin, end);
}

EXPORT void inlay_block_means(const void *g, long stride, long edge, float *result, long result_stride, long down, long across,
        int absolute, int type) {
    struct scores a = {g, result, edge, across, stride, result_stride, absolute, type};
    inlay_parallel(scores, &a, down * across, grain_of(edge * edge * bytes_of(type)));
}
