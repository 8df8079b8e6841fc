/*
 * The token drawn of each of some rows of logits [R, V], by the definition of io.inlay.kernels.Kernels.draw, bit for bit.
 *
 * Nothing is sorted, and where there are cuts only tokens are looked at that could stay. A bound on their logits comes from the maxima of
 * small groups of logits, since the k-th largest of all is no less than the k-th largest of these; for top-p from the total, since tokens
 * which all together weigh no more than the rest that top-p leaves out are of that rest. Among them the last that stays is found by
 * histograms of their keys, 11 bits at a time.
 *
 * Reference: io.inlay.kernels.ScalarDraws
 */
#include "inlay.h"

#include <math.h>

enum { VECTORS = 64, GROUP = VECTORS * LANES, DIGIT = 11 };

#define WHOLE 1099511627776.0  /* what the likeliest weighs */
#define FARTHEST -29.0f        /* what is farther from it by the temperature weighs nothing */
#define SLACK 1e-3             /* for which logarithms of weights are good */

typedef uint64_t vlong __attribute__((vector_size(8 * LANES)));
typedef int64_t vsigned __attribute__((vector_size(8 * LANES)));

/* As io.inlay.kernels.Draw writes it. */
struct draw {
    uint64_t random;
    double top_p, least;  /* least: minP of WHOLE */
    float scale;          /* 0: the largest logit */
    int32_t top_k;        /* 0: all; -1: nothing is drawn */
};

/* A row, and memory for what is made of it. */
struct row {
    const void *logits;
    long n, groups;
    float top, scale;
    float *tops;                            /* of each lane of each group */
    uint64_t *sums;                         /* of groups */
    long count;                             /* of tokens that may stay: */
    int32_t *ids;                           /* ascending, */
    float *values;                          /* their logits, */
    uint32_t *keys, *some_keys;             /* what orders them, */
    uint64_t *weights, *some_weights;       /* and what they weigh */
};

/* ---- one logit ---- */

/* Orders unsigned as the logit; both zeros are one. */
INLINE uint32_t key_of(float logit) {
    const float plain = logit + 0.0f;
    uint32_t bits;
    memcpy(&bits, &plain, 4);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

INLINE float logit_of(uint32_t key) {
    const uint32_t bits = key & 0x80000000u ? key ^ 0x80000000u : ~key;
    float logit;
    memcpy(&logit, &bits, 4);
    return logit;
}

/* Those behind the row's end are negative infinity. */
INLINE vfloat lanes_of(const struct row *row, long v, const int type) {
    if (v + LANES <= row->n) return load(row->logits, v, type);
    vfloat some;
    for (int i = 0; i < LANES; i++) some[i] = v + i < row->n ? get(row->logits, v + i, type) : -INFINITY;
    return some;
}

/* a b + c with one rounding. */
INLINE vfloat fused(vfloat a, vfloat b, vfloat c) {
#if defined(__AVX512F__)
    return (vfloat) _mm512_fmadd_ps((__m512) a, (__m512) b, (__m512) c);
#elif defined(__FMA__)
    return (vfloat) _mm256_fmadd_ps((__m256) a, (__m256) b, (__m256) c);
#else
    vfloat result;
    UNROLL for (int i = 0; i < LANES; i++) result[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return result;
#endif
}

INLINE vlong weights_of(vfloat logits, float top, float scale) {
    const vfloat rounder = splat(12582912.0f), x = vmax((logits - top) * scale, splat(FARTHEST));
    const vfloat shifted = fused(x, splat(1.44269504f), rounder), n = shifted - rounder;
    const vfloat r = fused(n, splat(-1.42860677e-6f), fused(n, splat(-0.693145752f), x));
    vfloat p = splat(1.0f / 720);
    p = fused(p, r, splat(1.0f / 120));
    p = fused(p, r, splat(1.0f / 24));
    p = fused(p, r, splat(1.0f / 6));
    p = fused(p, r, splat(0.5f));
    p = fused(p, r, splat(1.0f));
    p = fused(p, r, splat(1.0f));
    /* Its exponent is -1 or 0. */
    const vuint bits = (vuint) p, mantissas = ((bits & 0x7FFFFF) | 0x800000) << ((bits >> 23) - 126);
    return (__builtin_convertvector(mantissas, vlong) << 16) >> __builtin_convertvector((vuint) rounder - (vuint) shifted, vlong);
}

/* ---- the largest ---- */

/* Fills the tops; the first that is no logit, or -1. */
INLINE long maxima(struct row *row, const int type) {
    vfloat most = splat(-INFINITY);
    vint fine = (vint) {} - 1;
    for (long g = 0; g < row->groups; g++) {
        vfloat top = splat(-INFINITY);
        for (long v = g * GROUP; v < MIN(row->n, (g + 1) * GROUP); v += LANES) {
            const vfloat logits = lanes_of(row, v, type);
            fine &= logits < INFINITY;
            top = vmax(logits, top);
        }
        memcpy(row->tops + g * LANES, &top, sizeof top);
        most = vmax(top, most);
    }
    row->top = max_lanes(most);
    int all = -1;
    for (int i = 0; i < LANES; i++) all &= fine[i];
    long v = 0;
    if (all) return -1;
    while (get(row->logits, v, type) < INFINITY) v++;
    return v;
}

INLINE long first_of_largest(const struct row *row, const int type) {
    long i = 0;
    while (row->tops[i] != row->top) i++;
    long v = i / LANES * GROUP;
    while (get(row->logits, v, type) != row->top) v++;
    return v;
}

/* ---- weights ---- */

INLINE uint64_t sum_all(struct row *row, const int type) {
    uint64_t total = 0;
    for (long g = 0; g < row->groups; g++) {
        vlong sums = {};
        for (long v = g * GROUP; v < MIN(row->n, (g + 1) * GROUP); v += LANES) {
            sums += weights_of(lanes_of(row, v, type), row->top, row->scale);
        }
        row->sums[g] = 0;
        for (int i = 0; i < LANES; i++) row->sums[g] += sums[i];
        total += row->sums[g];
    }
    return total;
}

INLINE uint64_t place_of(uint64_t random, uint64_t total) { return (unsigned __int128) random * total >> 64; }

INLINE long choose_of_all(struct row *row, uint64_t random, const int type) {
    uint64_t at = place_of(random, sum_all(row, type));
    long g = 0;
    for (; row->sums[g] <= at; g++) at -= row->sums[g];
    for (long v = g * GROUP;; v += LANES) {
        const vlong weights = weights_of(lanes_of(row, v, type), row->top, row->scale);
        for (int i = 0; i < LANES; i++) {
            if (weights[i] > at) return v + i;
            at -= weights[i];
        }
    }
}

/* ---- what may stay ---- */

/* A logit of which none is less whose difference from the largest by the temperature is x or more. */
static float bound_of(const struct row *row, double x) {
    return nextafterf((float) (row->top + fmax(x - SLACK, FARTHEST) / row->scale), -INFINITY);
}

INLINE long take(vfloat logits, float bound, long v, const struct row *row, long count) {
#if defined(__AVX512F__)
    const __mmask16 taken = _mm512_cmp_ps_mask((__m512) logits, _mm512_set1_ps(bound), _CMP_GE_OQ);
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    _mm512_mask_compressstoreu_epi32(row->ids + count, taken, _mm512_add_epi32(_mm512_set1_epi32((int) v), lanes));
    _mm512_mask_compressstoreu_ps(row->values + count, taken, (__m512) logits);
    return count + __builtin_popcount(taken);
#else
    for (int i = 0; i < LANES; i++) {
        row->ids[count] = (int32_t) (v + i);
        row->values[count] = logits[i];
        count += logits[i] >= bound;
    }
    return count;
#endif
}

/* Takes the logits that are no less than the bound. */
INLINE void collect(struct row *row, float bound, const int type) {
    long count = 0;
    for (long g = 0; g < row->groups; g++) {
        int any = 0;
        for (int i = 0; i < LANES; i++) any |= row->tops[g * LANES + i] >= bound;
        for (long v = g * GROUP; any && v < MIN(row->n, (g + 1) * GROUP); v += LANES) {
            count = take(lanes_of(row, v, type), bound, v, row, count);
        }
    }
    while (row->ids[count - 1] >= row->n) count--;
    row->count = count;
    for (long i = 0; i < count; i += LANES) {
        const vint bits = (vint) (load(row->values, i, FP32) + 0.0f), keys = bits ^ (bits >> 31 | INT32_MIN);
        memcpy(row->keys + i, &keys, sizeof keys);
    }
}

struct place {
    uint32_t key;
    uint64_t above;  /* the number of larger keys, or what they weigh */
};

/* The largest key by which, from the largest down, their number, or what they weigh, is enough; weights NULL for the number. */
static struct place crossing(const struct row *row, const uint32_t *keys, const uint64_t *weights, long n, double enough) {
    uint64_t bins[2][1 << DIGIT];  /* in turns, since neighbours often have one bin, and a sum waits for the one before it */
    struct place place = {0, 0};
    for (int before = 32;;) {
        const int digit = MIN(DIGIT, before), shift = before - digit;
        const uint32_t mask = (1u << digit) - 1;
        memset(bins, 0, sizeof bins);
        for (long i = 0; i < n; i++) bins[i & 1][keys[i] >> shift & mask] += weights ? weights[i] : 1;
        uint32_t at = mask;
        while ((double) (int64_t) (place.above + bins[0][at] + bins[1][at]) < enough) place.above += bins[0][at] + bins[1][at], at--;
        place.key = place.key << digit | at;
        if (shift == 0) return place;
        long inside = 0;
        for (long i = 0; i < n; i++) {
            row->some_keys[inside] = keys[i];
            row->some_weights[inside] = weights ? weights[i] : 1;
            inside += (keys[i] >> shift & mask) == at;
        }
        keys = row->some_keys, weights = row->some_weights, n = inside, before = shift;
    }
}

/* The k-th largest of the tops. */
static float bound_of_k(const struct row *row, long k) {
    const long n = row->groups * LANES;
    if (k > n) return -INFINITY;
    for (long i = 0; i < n; i++) row->keys[i] = key_of(row->tops[i]);
    return logit_of(crossing(row, row->keys, NULL, n, (double) k).key);
}

/* Leaves those whose keys are no less. */
static void drop(struct row *row, uint32_t least) {
    long staying = 0;
    for (long i = 0; i < row->count; i++) {
        const uint32_t key = row->keys[i];
        row->ids[staying] = row->ids[i];
        row->values[staying] = row->values[i];
        row->keys[staying] = key;
        staying += key >= least;
    }
    row->count = staying;
}

static void weigh(struct row *row) {
    for (int i = 0; i < LANES; i++) row->values[row->count + i] = -INFINITY;
    for (long i = 0; i < row->count; i += LANES) {
        const vlong weights = weights_of(load(row->values, i, FP32), row->top, row->scale);
        memcpy(row->weights + i, &weights, sizeof weights);
    }
}

static uint64_t sum_some(const struct row *row) {
    uint64_t total = 0;
    for (long i = 0; i < row->count; i++) total += row->weights[i];
    return total;
}

/* The last id that is needed for enough of those with the key where it is reached. */
static int32_t last_of_ties(const struct row *row, struct place place, double enough) {
    int32_t last = 0;
    for (long i = 0; (double) (int64_t) place.above < enough; i++) {
        if (row->keys[i] == place.key) {
            place.above += row->weights[i];
            last = row->ids[i];
        }
    }
    return last;
}

/* Of what is above a key, or has it and an id up to the last, and weighs the least. */
static long choose_some(struct row *row, uint64_t random, uint32_t key, int32_t last, double least) {
    vlong sums = {};
    for (long i = 0; i < row->count; i += LANES) {
        vuint keys;
        vint ids;
        vlong weights;
        memcpy(&keys, row->keys + i, sizeof keys);
        memcpy(&ids, row->ids + i, sizeof ids);
        memcpy(&weights, row->weights + i, sizeof weights);
        const vsigned heavy = (vsigned) (__builtin_convertvector((vsigned) weights, vdouble) >= least);
        const vint in_order = (keys > key) | ((keys == key) & (ids <= last));
        weights &= (vlong) (heavy & __builtin_convertvector(in_order, vsigned));
        memcpy(row->weights + i, &weights, sizeof weights);
        sums += weights;
    }
    uint64_t total = 0;
    for (int i = 0; i < LANES; i++) total += sums[i];
    uint64_t at = place_of(random, total);
    long i = 0;
    for (; row->weights[i] <= at; i++) at -= row->weights[i];
    return row->ids[i];
}

/* ---- rows ---- */

INLINE double enough_of(const struct draw *draw, uint64_t total) { return fmax(1, draw->top_p * (double) (int64_t) total); }

/* How far below the largest, by the temperature, tokens are that are left out whatever their order is. */
static double farthest(const struct row *row, const struct draw *draw, uint64_t total) {
    if (draw->top_p == 1) return log(draw->least / WHOLE);
    /* Half of what they may weigh, so that no rounding matters. */
    const double each = ((double) (int64_t) total - enough_of(draw, total)) / row->n / 2;
    return each < 1 ? FARTHEST : log(each / WHOLE);
}

INLINE long draw_row(struct row *row, const struct draw *draw, const int type) {
    const long refused = maxima(row, type);
    if (refused >= 0) return -1 - refused;
    if (row->top == -INFINITY) return -1;
    if (draw->scale == 0) return first_of_largest(row, type);
    row->scale = draw->scale;
    const int cuts_to_k = draw->top_k > 0 && draw->top_k < row->n;
    if (!cuts_to_k && draw->top_p == 1 && draw->least == 0) return choose_of_all(row, draw->random, type);
    uint64_t total = cuts_to_k || draw->top_p == 1 ? 0 : sum_all(row, type);
    collect(row, cuts_to_k ? bound_of_k(row, draw->top_k) : bound_of(row, farthest(row, draw, total)), type);
    if (cuts_to_k) drop(row, crossing(row, row->keys, NULL, row->count, draw->top_k).key);
    weigh(row);
    struct place place = {0, 0};
    int32_t last = (int32_t) row->n;
    if (draw->top_p < 1) {
        const double enough = enough_of(draw, cuts_to_k ? sum_some(row) : total);
        place = crossing(row, row->keys, row->weights, row->count, enough);
        last = last_of_ties(row, place, enough);
    }
    return choose_some(row, draw->random, place.key, last, draw->least);
}

struct rows {
    const void *logits;
    const struct draw *draws;
    int32_t *ids;
    long vocabulary, stride;
    int type;
};

static void draw_rows(const void *arguments, long begin, long end) {
    const struct rows *a = arguments;
    const long groups = (a->vocabulary + GROUP - 1) / GROUP, most = groups * GROUP + LANES;
    struct row row = {.n = a->vocabulary, .groups = groups};
    row.weights = scratch(most * (2 * sizeof *row.weights + 2 * sizeof *row.keys + sizeof *row.ids + sizeof *row.values)
                          + groups * (sizeof *row.sums + LANES * sizeof *row.tops));
    row.some_weights = row.weights + most;
    row.sums = row.some_weights + most;
    row.keys = (uint32_t *) (row.sums + groups);
    row.some_keys = row.keys + most;
    row.ids = (int32_t *) (row.some_keys + most);
    row.values = (float *) (row.ids + most);
    row.tops = row.values + most;
    for (long r = begin; r < end; r++) {
        if (a->draws[r].top_k < 0) continue;
        row.logits = at(a->logits, r * a->stride, a->type);
        a->ids[r] = (int32_t) (a->type == BF16 ? draw_row(&row, a->draws + r, BF16) : draw_row(&row, a->draws + r, FP32));
    }
}

EXPORT void inlay_draw(const void *logits, long stride, const void *draws, int32_t *ids, long rows, long vocabulary, int type) {
    struct rows a = {logits, draws, ids, vocabulary, stride, type};
    inlay_parallel(draw_rows, &a, rows, 1);
}
