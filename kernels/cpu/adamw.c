/*
 * AdamW (Loshchilov and Hutter 2019) on fp32 masters, the new value rounded into `weight` in the same pass. n elements:
 *
 *   g = scale gradient;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
 *   master = decay master - step_size m / (sqrt(v) root_scale + epsilon);  weight = master
 *
 * The constants are derived in Java: io.inlay.kernels.AdamWConstants. Reference: io.inlay.kernels.ScalarKernels.adamW
 */
#include "inlay.h"

#include <math.h>

struct adamw {
    const void *gradient;
    float *master, *first, *second;
    void *weight;
    long n;
    float scale, beta1, rest1, beta2, rest2, decay, step_size, root_scale, epsilon;
    int gradient_type, weight_type;
};

enum { PIECE = 4096 };

INLINE vfloat root(vfloat x) {
#if defined(__AVX512F__)
    return (vfloat) _mm512_sqrt_ps((__m512) x);
#elif defined(__AVX2__)
    return (vfloat) _mm256_sqrt_ps((__m256) x);
#else
    for (int i = 0; i < LANES; i++) x[i] = sqrtf(x[i]);
    return x;
#endif
}

INLINE void step(const struct adamw *a, const int gradient_type, const int weight_type, long begin, long end) {
    const long from = begin * PIECE, length = MIN(a->n, end * PIECE) - from;
    const void *gradient = at(a->gradient, from, gradient_type);
    float *master = a->master + from, *first = a->first + from, *second = a->second + from;
    void *weight = at(a->weight, from, weight_type);
    FOR_VECTORS(length, {
        vfloat g = LOAD(gradient, gradient_type) * a->scale;
        vfloat m = LOAD(first, FP32) * a->beta1 + g * a->rest1;
        vfloat s = LOAD(second, FP32) * a->beta2 + g * g * a->rest2;
        vfloat p = LOAD(master, FP32) * a->decay - m * a->step_size / (root(s) * a->root_scale + a->epsilon);
        STORE(first, FP32, m);
        STORE(second, FP32, s);
        STORE(master, FP32, p);
        STORE(weight, weight_type, p);
    });
}

static void adamw(const void *arguments, long begin, long end) {
    const struct adamw *a = arguments;
    if (a->gradient_type == BF16 && a->weight_type == BF16) step(a, BF16, BF16, begin, end);
    else if (a->gradient_type == BF16) step(a, BF16, FP32, begin, end);
    else if (a->weight_type == BF16) step(a, FP32, BF16, begin, end);
    else step(a, FP32, FP32, begin, end);
}

EXPORT void inlay_adamw(const void *gradient, float *master, float *first, float *second, void *weight, long n, float scale, float beta1,
        float rest1, float beta2, float rest2, float decay, float step_size, float root_scale, float epsilon, int gradient_type,
        int weight_type) {
    struct adamw a = {gradient, master, first, second, weight, n, scale, beta1, rest1, beta2, rest2, decay, step_size, root_scale,
        epsilon, gradient_type, weight_type};
    inlay_parallel(adamw, &a, (n + PIECE - 1) / PIECE, 4);
}
