/*
 * Rotary embedding (Su et al. 2021) in place, Hugging Face's half-split layout: x1, x2 are the halves of D,
 *
 *   x1' = x1 cos - x2 sin;  x2' = x2 cos + x1 sin;  the inverse negates sin
 *
 * x [N, heads, D] with any strides of N and heads, table fp32 [P, D] (D/2 cosines, D/2 sines), positions int32 [N].
 * Reference: io.inlay.kernels.ScalarKernels.rope
 */
#include "inlay.h"

struct rope {
    void *x;
    const float *table;
    const int32_t *positions;
    long heads, half, token_stride, head_stride, table_stride;
    float sign;
    int type;
};

INLINE void rotate(const struct rope *a, const int type, long begin, long end) {
    for (long n = begin; n < end; n++) {
        const float *cosines = a->table + a->positions[n] * a->table_stride, *sines = cosines + a->half;
        for (long head = 0; head < a->heads; head++) {
            void *lower = at(a->x, n * a->token_stride + head * a->head_stride, type), *upper = at(lower, a->half, type);
            FOR_VECTORS(a->half, {
                vfloat x1 = LOAD(lower, type);
                vfloat x2 = LOAD(upper, type);
                vfloat cos = LOAD(cosines, FP32);
                vfloat sin = LOAD(sines, FP32) * a->sign;
                STORE(lower, type, x1 * cos - x2 * sin);
                STORE(upper, type, x2 * cos + x1 * sin);
            });
        }
    }
}

static void rope(const void *arguments, long begin, long end) {
    const struct rope *a = arguments;
    if (a->type == BF16) rotate(a, BF16, begin, end);
    else rotate(a, FP32, begin, end);
}

EXPORT void inlay_rope(void *x, long token_stride, long head_stride, const float *table, long table_stride, const int32_t *positions,
        int inverse, long tokens, long heads, long d, int type) {
    struct rope a = {x, table, positions, heads, d / 2, token_stride, head_stride, table_stride, inverse ? -1.0f : 1.0f, type};
    inlay_parallel(rope, &a, tokens, grain_of(heads * d * bytes_of(type) * 2));
}
