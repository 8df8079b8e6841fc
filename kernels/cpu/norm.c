/*
 * RMS norm (Zhang and Sennrich 2019), with and without the residual sum in front, and its gradients. All rows [N, H].
 *
 *   forward:  rstd = 1 / sqrt(mean(x^2) + eps);  out = x rstd weight
 *   backward: g = gradOut weight, xhat = x rstd;  gradX += rstd (g - xhat mean(g xhat));  gradWeight += sum_n gradOut xhat
 *
 * Reference: io.inlay.kernels.ScalarKernels.rmsNorm, addRmsNorm, rmsNormBackward
 */
#include "inlay.h"

#include <math.h>

struct norm {
    const void *x, *y, *weight;
    void *sum, *out;
    float *rstd;
    long width, x_stride, y_stride, sum_stride, out_stride;
    float eps;
    int type;
};

INLINE void norm_rows(const struct norm *a, const int type, long begin, long end) {
    for (long n = begin; n < end; n++) {
        const void *x = at(a->x, n * a->x_stride, type);
        vfloat squares = splat(0);
        if (a->y) {
            const void *y = at(a->y, n * a->y_stride, type);
            void *sum = at(a->sum, n * a->sum_stride, type);
            FOR_VECTORS(a->width, {
                vfloat s = rounded(LOAD(x, type) + LOAD(y, type), type);
                STORE(sum, type, s);
                squares += s * s;
            });
            x = sum;
        } else {
            FOR_VECTORS(a->width, {
                vfloat value = LOAD(x, type);
                squares += value * value;
            });
        }
        const float rstd = 1 / sqrtf(sum_lanes(squares) / a->width + a->eps);
        void *out = at(a->out, n * a->out_stride, type);
        FOR_VECTORS(a->width, { STORE(out, type, LOAD(x, type) * rstd * LOAD(a->weight, type)); });
        if (a->rstd) a->rstd[n] = rstd;
    }
}

static void norm(const void *arguments, long begin, long end) {
    const struct norm *a = arguments;
    if (a->type == BF16) norm_rows(a, BF16, begin, end);
    else norm_rows(a, FP32, begin, end);
}

/* y null: out = norm(x); else sum = x + y, rounded, and out = norm(sum). rstd may be null. */
EXPORT void inlay_rms_norm(const void *x, long x_stride, const void *y, long y_stride, void *sum, long sum_stride, const void *weight,
        float eps, void *out, long out_stride, float *rstd, long rows, long width, int type) {
    struct norm a = {x, y, weight, sum, out, rstd, width, x_stride, y_stride, sum_stride, out_stride, eps, type};
    inlay_parallel(norm, &a, rows, grain_of(width * bytes_of(type) * 2));
}

struct norm_backward {
    const void *grad, *x, *weight;
    const float *rstd;
    void *grad_x;
    float *partial;  /* null, or [chunks, H] sums for gradWeight: a chunk is a fixed range of rows, whoever computes it */
    long rows, width, chunks, grad_stride, x_stride, grad_x_stride;
    int type;
};

INLINE void backward_chunks(const struct norm_backward *a, const int type, long begin, long end) {
    const long first = a->rows * begin / a->chunks, last = a->rows * end / a->chunks;
    long chunk = begin - 1, chunk_end = first;
    float *partial = NULL;
    for (long n = first; n < last; n++) {
        while (n >= chunk_end) {
            chunk_end = a->rows * (++chunk + 1) / a->chunks;
            if (a->partial) {
                partial = a->partial + chunk * a->width;
                memset(partial, 0, a->width * sizeof(float));
            }
        }
        const void *grad = at(a->grad, n * a->grad_stride, type), *x = at(a->x, n * a->x_stride, type);
        void *grad_x = at(a->grad_x, n * a->grad_x_stride, type);
        const float rstd = a->rstd[n];
        vfloat dot = splat(0);
        FOR_VECTORS(a->width, { dot += LOAD(grad, type) * LOAD(a->weight, type) * (LOAD(x, type) * rstd); });
        const float mean = sum_lanes(dot) / a->width;
        FOR_VECTORS(a->width, {
            vfloat g = LOAD(grad, type);
            vfloat xhat = LOAD(x, type) * rstd;
            STORE(grad_x, type, LOAD(grad_x, type) + rstd * (g * LOAD(a->weight, type) - xhat * mean));
            if (partial) STORE(partial, FP32, LOAD(partial, FP32) + g * xhat);
        });
    }
}

static void norm_backward(const void *arguments, long begin, long end) {
    const struct norm_backward *a = arguments;
    if (a->type == BF16) backward_chunks(a, BF16, begin, end);
    else backward_chunks(a, FP32, begin, end);
}

EXPORT void inlay_rms_norm_backward(const void *grad, long grad_stride, const void *x, long x_stride, const void *weight,
        const float *rstd, void *grad_x, long grad_x_stride, float *grad_weight, long rows, long width, int type) {
    if (rows == 0) return;
    const long chunks = MIN(rows, 64);
    float *partial = grad_weight ? scratch(chunks * width * sizeof(float)) : NULL;
    struct norm_backward a = {grad, x, weight, rstd, grad_x, partial, rows, width, chunks, grad_stride, x_stride, grad_x_stride, type};
    inlay_parallel(norm_backward, &a, chunks, grain_of(rows / chunks * width * bytes_of(type) * 4));
    for (long chunk = 0; grad_weight && chunk < chunks; chunk++) {
        const float *sums = partial + chunk * width;
        FOR_VECTORS(width, { STORE(grad_weight, FP32, LOAD(grad_weight, FP32) + LOAD(sums, FP32)); });
    }
}
