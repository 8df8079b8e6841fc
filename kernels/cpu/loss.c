/*
 * Cross-entropy of rows of logits [N, V] against targets int32 [N], and its gradient in place:
 *
 *   losses[n] = log(sum_v e^(l[v] - top)) + top - l[target];  l[v] = scale (softmax(l)[v] - (v == target))
 *
 * Reference: io.inlay.kernels.ScalarKernels.crossEntropy
 */
#include "inlay.h"

#include <math.h>

struct loss {
    void *logits;
    const int32_t *targets;
    float *losses;
    long vocabulary, stride;
    float scale;
    int gradient, type;
};

INLINE void rows_of_logits(const struct loss *a, const int type, long begin, long end) {
    for (long n = begin; n < end; n++) {
        void *row = at(a->logits, n * a->stride, type);
        const long whole = a->vocabulary / LANES * LANES;
        vfloat tops = splat(-INFINITY);
        for (long v = 0; v < whole; v += LANES) tops = vmax(load(row, v, type), tops);
        float top = max_lanes(tops);
        for (long v = whole; v < a->vocabulary; v++) top = MAX(get(row, v, type), top);
        /* Each partial sum of 64 vectors goes into a double, so that 100,000 terms lose nothing. */
        double sum = 0;
        for (long from = 0; from < whole; from += 64 * LANES) {
            vfloat sums = splat(0);
            for (long v = from; v < MIN(whole, from + 64 * LANES); v += LANES) sums += exp_lanes(load(row, v, type) - top);
            sum += sum_lanes(sums);
        }
        for (long v = whole; v < a->vocabulary; v++) sum += expf(get(row, v, type) - top);
        const float hit = get(row, a->targets[n], type);
        a->losses[n] = (float) (log(sum) + top - hit);
        if (a->gradient) {
            const float share = a->scale / (float) sum, p = expf(hit - top) / (float) sum;
            FOR_VECTORS(a->vocabulary, { STORE(row, type, exp_lanes(LOAD(row, type) - top) * share); });
            put(row, a->targets[n], type, a->scale * (p - 1));
        }
    }
}

static void loss(const void *arguments, long begin, long end) {
    const struct loss *a = arguments;
    if (a->type == BF16) rows_of_logits(a, BF16, begin, end);
    else rows_of_logits(a, FP32, begin, end);
}

EXPORT void inlay_cross_entropy(void *logits, long stride, const int32_t *targets, float scale, int gradient, float *losses,
        long rows, long vocabulary, int type) {
    struct loss a = {logits, targets, losses, vocabulary, stride, scale, gradient, type};
    inlay_parallel(loss, &a, rows, grain_of(vocabulary * bytes_of(type) * 4));
}
