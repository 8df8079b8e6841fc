/*
 * The gated feed-forward's activation and its gradients, all [N, F]; results may overwrite operands.
 *
 *   out = silu(gate) up,  silu(a) = a s,  s = 1 / (1 + e^-a)
 *   gradGate = gradOut up s (1 + gate (1 - s));  gradUp = gradOut gate s
 *
 * Reference: io.inlay.kernels.ScalarKernels.swiGlu, swiGluBackward
 */
#include "inlay.h"

struct swiglu {
    const void *gate, *up, *grad;
    void *out, *grad_up;  /* backward: out is gradGate */
    long columns, pieces, gate_stride, up_stride, grad_stride, out_stride, grad_up_stride;
    int type;
};

enum { PIECE = 4096 };  /* columns of one item: a row of a single token is still spread over cores */

INLINE void activate(const struct swiglu *a, const int type, long begin, long end) {
    for (long item = begin; item < end; item++) {
        const long n = item / a->pieces, column = item % a->pieces * PIECE, width = MIN(PIECE, a->columns - column);
        const void *gate = at(a->gate, n * a->gate_stride + column, type), *up = at(a->up, n * a->up_stride + column, type);
        void *out = at(a->out, n * a->out_stride + column, type);
        if (!a->grad) {
            FOR_VECTORS(width, {
                vfloat x = LOAD(gate, type);
                STORE(out, type, x * sigmoid_lanes(x) * LOAD(up, type));
            });
        } else {
            const void *grad = at(a->grad, n * a->grad_stride + column, type);
            void *grad_up = at(a->grad_up, n * a->grad_up_stride + column, type);
            FOR_VECTORS(width, {
                vfloat g = LOAD(grad, type);
                vfloat x = LOAD(gate, type);
                vfloat y = LOAD(up, type);
                vfloat s = sigmoid_lanes(x);
                STORE(out, type, g * y * s * (1.0f + x * (1.0f - s)));
                STORE(grad_up, type, g * x * s);
            });
        }
    }
}

static void swiglu(const void *arguments, long begin, long end) {
    const struct swiglu *a = arguments;
    if (a->type == BF16) activate(a, BF16, begin, end);
    else activate(a, FP32, begin, end);
}

static void run(struct swiglu *a, long rows) {
    a->pieces = (a->columns + PIECE - 1) / PIECE;
    inlay_parallel(swiglu, a, rows * a->pieces, grain_of(MIN(a->columns, PIECE) * bytes_of(a->type) * 3));
}

EXPORT void inlay_swiglu(const void *gate, long gate_stride, const void *up, long up_stride, void *out, long out_stride, long rows,
        long columns, int type) {
    struct swiglu a = {.gate = gate, .up = up, .out = out, .columns = columns, .gate_stride = gate_stride, .up_stride = up_stride,
        .out_stride = out_stride, .type = type};
    run(&a, rows);
}

EXPORT void inlay_swiglu_backward(const void *grad, long grad_stride, const void *gate, long gate_stride, const void *up, long up_stride,
        void *grad_gate, long grad_gate_stride, void *grad_up, long grad_up_stride, long rows, long columns, int type) {
    struct swiglu a = {.gate = gate, .up = up, .grad = grad, .out = grad_gate, .grad_up = grad_up, .columns = columns,
        .gate_stride = gate_stride, .up_stride = up_stride, .grad_stride = grad_stride, .out_stride = grad_gate_stride,
        .grad_up_stride = grad_up_stride, .type = type};
    run(&a, rows);
}
