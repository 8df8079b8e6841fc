/*
 * y[m, o] = scales[o] sum_k x[m, k] q[o, k] for few rows m: a linear whose weights are bytes with one scale for each output.
 *
 * Shapes: x [M, K] bf16 or fp32, q int8 [O, K], scales fp32 [O], y [M, O] bf16 or fp32, at most 32 rows. tables: null, or for each row of
 * x null or [O / edge, K / edge] addresses of contiguous [edge, edge] squares of x's type, whose values stand in for the bytes, 0 for none:
 *     y[m, o] = scales[o] sum_{k without a square} x[m, k] q[o, k] + sum_{k with one} x[m, k] w[o, k]
 * Reference: io.inlay.kernels.ScalarKernels.linearInt8, dequantise
 *
 * Order of summation: all in fp32. Lane l takes the elements l, l + LANES, l + 2 LANES, ... of k in ascending order, bytes and squares in
 * sums of their own; the lanes are added by sum_lanes at the end. That depends on K, the instruction set and the row's own table alone: a
 * stretch of k that begins or ends within a vector leaves the other lanes as they are.
 *
 * Bytes go to fp32, not to pairs of bf16 for vdpbf16ps: as many instructions a weight for one row, and products are exact.
 */
#include "inlay.h"

enum { INT8 = 2, MOST_INPUTS = 8, FEW_INPUTS = 4, MOST_ROWS = 4, MANY_ROWS = 3, BAND = 12, CHUNK = 512 };

typedef vfloat Sums[MOST_ROWS][MOST_INPUTS];

struct linear {
    const float *packed;  /* for each set of at most 8 inputs, for each vector of k, one vector of each input; filled up with 0 */
    const int8_t *q;
    const float *scales;
    void *y;
    long m, o, k, q_stride, y_stride;
    int type, y_type;
    const uint64_t *const *tables;
    const int64_t *edges;
    long edge;              /* the greatest common divisor of all edges */
    const uint32_t *masks;  /* mark_squares's; null where no row has a square */
};

INLINE long width_of(int type) { return type == INT8 ? 1 : bytes_of(type); }

INLINE long vectors_of(long k) { return (k + LANES - 1) / LANES; }

/* LANES weights from w on, as floats. */
INLINE vfloat weights_at(const char *w, int type) {
    if (type != INT8) return load(w, 0, type);
#if defined(__AVX512F__)
    return (vfloat) _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *) w)));
#elif defined(__AVX2__)
    return (vfloat) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *) w)));
#else
    typedef int8_t vbyte __attribute__((vector_size(LANES)));
    vbyte bytes;
    memcpy(&bytes, w, sizeof bytes);
    return __builtin_convertvector(bytes, vfloat);
#endif
}

static void pack(const void *x, long x_stride, long m, long k, int type, float *packed) {
    const long vectors = vectors_of(k);
    for (long first = 0; first < m; first += MOST_INPUTS) {
        const long inputs = MIN(MOST_INPUTS, m - first);
        for (long c = 0; c < inputs; c++) {
            const void *row = at(x, (first + c) * x_stride, type);
            float *to = packed + (first * vectors + c) * LANES;
            FOR_VECTORS(k, store(to, v * inputs, FP32, LOAD(row, type)););
        }
    }
}

/* Elements [from, from + count) of a vector of k: what is outside of them counts as 0 on both sides. */
INLINE void add_part(Sums sums, const char *w, const long pitch, const int type, long from, long count, const float *x, const int ROWS,
        const int COUNT) {
    vint inside;
    for (int i = 0; i < LANES; i++) inside[i] = i >= from && i < from + count ? -1 : 0;
    for (int r = 0; r < ROWS; r++) {
        char some[4 * LANES] = {0};
        memcpy(some + from * width_of(type), w + r * pitch, count * width_of(type));
        const vfloat ws = weights_at(some, type);
        for (int c = 0; c < COUNT; c++) sums[r][c] += ws * (vfloat) ((vint) load(x, c * LANES, FP32) & inside);
    }
}

/*
 * Elements [begin, end) of k of ROWS rows of weights, `pitch` bytes apart, the first of them at w, against COUNT inputs; a vector of k has
 * `apart` floats in x. Prefetched into the second-level cache is the next group of rows, in the order of memory where rows lie behind
 * each other, and from there into the first what is read soon.
 */
INLINE void add(Sums into, const char *w, const long pitch, const int type, long begin, long end, const float *x, const long apart,
        const int ROWS, const int COUNT) {
    const long width = width_of(type);
    long k = begin;
    if (k % LANES) {
        const long count = MIN(LANES - k % LANES, end - k);
        add_part(into, w, pitch, type, k % LANES, count, x + k / LANES * apart, ROWS, COUNT);
        k += count;
    }
    vfloat sums[MOST_ROWS][MOST_INPUTS];
    UNROLL for (int r = 0; r < ROWS; r++) {
        UNROLL for (int c = 0; c < COUNT; c++) sums[r][c] = into[r][c];
    }
    const int stream = pitch == (end - begin) * width;
    const float *xs = x + k / LANES * apart;
    const char *ws = w + (k - begin) * width;
    for (; k + LANES <= end; k += LANES, xs += apart, ws += LANES * width) {
        vfloat wide[MOST_ROWS];
        UNROLL for (int r = 0; r < ROWS; r++) {
            wide[r] = weights_at(ws + r * pitch, type);
            if (k % 64 == 0 && !stream) __builtin_prefetch(ws + (ROWS + r) * pitch, 0, 2);
            if (k % 64 == 0 && COUNT <= FEW_INPUTS) __builtin_prefetch(ws + r * pitch + NEAR);  /* for more the first level is x's */
        }
        if (stream) __builtin_prefetch(w + ROWS * pitch + (ws - w) * ROWS, 0, 2);
        UNROLL for (int c = 0; c < COUNT; c++) {
            const vfloat input = load(xs, c * LANES, FP32);
            UNROLL for (int r = 0; r < ROWS; r++) sums[r][c] += wide[r] * input;
        }
    }
    UNROLL for (int r = 0; r < ROWS; r++) {
        UNROLL for (int c = 0; c < COUNT; c++) into[r][c] = sums[r][c];
    }
    if (k < end) add_part(into, ws, pitch, type, 0, end - k, xs, ROWS, COUNT);
}

/* Elements [begin, end) of k, within one square of input m: one row of weights into one sum. */
INLINE vfloat add_own(const struct linear *a, vfloat sum, long o, long m, long begin, long end, const float *x, long apart) {
    const long edge = a->edges[m];
    const char *square = (const char *) (uintptr_t) a->tables[m][o / edge * (a->k / edge) + begin / edge];
    const char *w = square + (o % edge * edge + begin % edge) * bytes_of(a->type);
    Sums one;
    one[0][0] = sum;
    if (a->type == BF16) add(one, w, edge * 2, BF16, begin, end, x, apart, 1, 1);
    else add(one, w, edge * 4, FP32, begin, end, x, apart, 1, 1);
    return one[0][0];
}

/* Where the stretch of k from k on ends, in which the same inputs have squares: one column of squares, or all that follow without any. */
INLINE long stretch(const struct linear *a, const uint32_t *masks, uint32_t these, long k) {
    long end = k + a->edge;
    if (!(masks[k / a->edge] & these)) while (end < a->k && !(masks[end / a->edge] & these)) end += a->edge;
    return end;
}

/*
 * Elements [begin, end) of k, whole squares of it, of outputs [o, o + ROWS), which lie in one row of squares, for inputs [m, m + COUNT):
 * into the sums of bytes and those of squares.
 */
INLINE void part(const struct linear *a, const int ROWS, const int COUNT, long o, long m, long begin, long end, Sums bytes, Sums own) {
    const char *q = (const char *) a->q + o * a->q_stride;
    const long apart = COUNT * LANES;
    const float *x = a->packed + m * vectors_of(a->k) * LANES;
    if (!a->masks) {
        add(bytes, q + begin, a->q_stride, INT8, begin, end, x, apart, ROWS, COUNT);
        return;
    }
    const uint32_t *masks = a->masks + o / a->edge * (a->k / a->edge), these = ((1u << COUNT) - 1) << m;
    for (long k = begin, stop; k < end; k = stop) {
        const uint32_t squares = masks[k / a->edge] & these;
        stop = MIN(end, stretch(a, masks, these, k));
        Sums before;
        if (squares) memcpy(before, bytes, sizeof before);
        if (squares != these) add(bytes, q + k, a->q_stride, INT8, k, stop, x, apart, ROWS, COUNT);
        for (int c = 0; squares && c < COUNT; c++) {
            if (!(squares >> m >> c & 1)) continue;
            for (int r = 0; r < ROWS; r++) {
                bytes[r][c] = before[r][c];
                own[r][c] = add_own(a, own[r][c], o + r, m + c, k, stop, x + c * LANES, apart);
            }
        }
    }
}

/* Writes what the sums of outputs [o, o + ROWS) for inputs [m, m + COUNT) add up to. */
INLINE void finish(const struct linear *a, const int ROWS, const int COUNT, long o, long m, Sums bytes, Sums own) {
    void *y = at(a->y, m * a->y_stride + o, a->y_type);
    for (int r = 0; r < ROWS; r++) {
        float sums[MOST_INPUTS + LANES], squares[MOST_INPUTS + LANES] = {0};
        UNROLL for (int first = 0; first < COUNT; first += LANES) {
            const int some = MIN(LANES, COUNT - first);
            store(sums, first, FP32, sum_each(bytes[r] + first, some) * a->scales[o + r]);
            if (a->masks) store(squares, first, FP32, sum_each(own[r] + first, some));
        }
        for (int c = 0; c < COUNT; c++) put(y, c * a->y_stride + r, a->y_type, sums[c] + squares[c]);
    }
}

/*
 * Outputs [o, o + rows), ROWS at a time, for inputs [m, m + COUNT). Many inputs take k in chunks of which x stays in the first-level cache
 * while the rows pass.
 */
INLINE void block(const struct linear *a, const int ROWS, const int COUNT, long o, long rows, long m) {
    Sums bytes[BAND / MANY_ROWS], own[BAND / MANY_ROWS];
    for (long r = 0; r < rows; r++) {
        UNROLL for (int c = 0; c < COUNT; c++) bytes[r / ROWS][r % ROWS][c] = own[r / ROWS][r % ROWS][c] = splat(0);
    }
    long chunk = a->masks ? MAX(1, CHUNK / a->edge) * a->edge : CHUNK;
    if (a->m <= FEW_INPUTS) chunk = a->k;
    for (long k = 0; k < a->k; k += chunk) {
        const long end = MIN(a->k, k + chunk);
        for (long r = 0; r < rows; r += ROWS) part(a, ROWS, COUNT, o + r, m, k, end, bytes[r / ROWS], own[r / ROWS]);
    }
    for (long r = 0; r < rows; r += ROWS) finish(a, ROWS, COUNT, o + r, m, bytes[r / ROWS], own[r / ROWS]);
}

INLINE void group(const struct linear *a, const int ROWS, const int MOST, long o, long rows) {
    for (long m = 0; m < a->m; m += MOST_INPUTS) {
#define CASE(COUNT) case COUNT: if (COUNT <= MOST && COUNT <= MOST_INPUTS) block(a, ROWS, COUNT, o, rows, m); break
        switch (MIN(MOST_INPUTS, a->m - m)) {
            CASE(1); CASE(2); CASE(3); CASE(4); CASE(5); CASE(6); CASE(7); CASE(8);
        }
#undef CASE
    }
}

/* As many outputs at a time as leave registers for the weights, outputs x inputs being the sums that are open. */
static void linear(const void *arguments, long begin, long end) {
    const struct linear *a = arguments;
    for (long o = begin; o < end;) {
        const long stop = a->masks ? MIN(end, (o / a->edge + 1) * a->edge) : end;
        if (a->m > FEW_INPUTS) {
            for (long rows; o + MANY_ROWS <= stop; o += rows) {
                rows = MIN(BAND, (stop - o) / MANY_ROWS * MANY_ROWS);
                group(a, MANY_ROWS, MOST_INPUTS, o, rows);
            }
        } else {
            for (; o + MOST_ROWS <= stop; o += MOST_ROWS) group(a, MOST_ROWS, FEW_INPUTS, o, MOST_ROWS);
        }
        for (; o < stop; o++) group(a, 1, MOST_INPUTS, o, 1);
    }
}

/*
 * masks [O / edge, K / edge]: bit m where table m, null or [O / edges[m], K / edges[m]] addresses, has a square there that is not 0. edge
 * divides every edge.
 */
static void mark_squares(const uint64_t *const *tables, const int64_t *edges, long edge, long m, long o, long k, uint32_t *masks) {
    const long across = k / edge;
    memset(masks, 0, o / edge * across * sizeof *masks);
    for (long t = 0; t < m; t++) {
        const long times = edges[t] / edge, wide = k / edges[t];
        for (long i = 0; tables[t] && i < o / edges[t] * wide; i++) {
            if (!tables[t][i]) continue;
            uint32_t *corner = masks + i / wide * times * across + i % wide * times;
            for (long r = 0; r < times; r++) {
                for (long c = 0; c < times; c++) corner[r * across + c] |= 1u << t;
            }
        }
    }
}

EXPORT void inlay_linear_int8(const void *x, long x_stride, const int8_t *q, long q_stride, const float *scales,
        const uint64_t *const *tables, const int64_t *edges, long edge, void *y, long y_stride, long m, long o, long k, int type,
        int y_type) {
    const long packed = m * vectors_of(k) * LANES * sizeof(float);
    const long masks = tables ? o / edge * (k / edge) * sizeof(uint32_t) : 0;
    char *memory = scratch(packed + masks);
    struct linear a = {(float *) memory, q, scales, y, m, o, k, q_stride, y_stride, type, y_type, tables, edges, edge, NULL};
    pack(x, x_stride, m, k, type, (float *) memory);
    if (tables) {
        mark_squares(tables, edges, edge, m, o, k, (uint32_t *) (memory + packed));
        a.masks = (const uint32_t *) (memory + packed);
    }
    inlay_parallel(linear, &a, o, grain_of(k));
}

/* ---- back to floats ---- */

struct dequantise {
    const int8_t *q;
    const float *scales;
    const uint64_t *tiles;
    void *out;
    long k, q_stride, out_stride, edge;
    int type;
};

static void dequantise(const void *arguments, long begin, long end) {
    const struct dequantise *a = arguments;
    for (long o = begin; o < end; o++) {
        const char *q = (const char *) a->q + o * a->q_stride;
        void *out = at(a->out, o * a->out_stride, a->type);
        long k = 0;
        for (; k + LANES <= a->k; k += LANES) store(out, k, a->type, weights_at(q + k, INT8) * a->scales[o]);
        for (; k < a->k; k++) put(out, k, a->type, (float) q[k] * a->scales[o]);
        for (long column = 0; a->tiles && column < a->k / a->edge; column++) {
            const uint64_t square = a->tiles[o / a->edge * (a->k / a->edge) + column];
            if (!square) continue;
            memcpy(at(out, column * a->edge, a->type), at((const void *) (uintptr_t) square, o % a->edge * a->edge, a->type),
                    a->edge * bytes_of(a->type));
        }
    }
}

/* out[o, k] = scales[o] q[o, k], rounded to its type, and the squares' own values in their places: q int8 [O, K], out [O, K]. */
EXPORT void inlay_dequantise(const int8_t *q, long q_stride, const float *scales, const uint64_t *tiles, long edge, void *out,
        long out_stride, long o, long k, int type) {
    struct dequantise a = {q, scales, tiles, out, k, q_stride, out_stride, edge, type};
    inlay_parallel(dequantise, &a, o, grain_of(k * bytes_of(type)));
}
