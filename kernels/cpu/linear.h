/*
 * What linears of few rows share (linear.c, linear_mixed.c): the forms in which products of bf16 are made, all for the same bits.
 *
 * Order of summation: lane l of one vector of fp32 sums takes the elements (bf16: pairs of elements, the odd one first, each by a fused
 * multiply-add) l, l + LANES, l + 2 LANES, ... of k in ascending order; the lanes are added by sum_lanes at the end. That depends on K
 * and the instruction set alone: rows are grouped, k is cut and tiles are looked up around this chain, never inside it.
 *
 * With AVX512_BF16 denormals count as 0, because vdpbf16ps takes them so; all else that it does is two fused multiply-adds. Intel's
 * cores start one vdpbf16ps in two cycles, but four fused multiply-adds, so that there many inputs take the latter, for the same bits.
 */
#ifndef INLAY_LINEAR_H
#define INLAY_LINEAR_H

#include "inlay.h"

/* How products are made: FP32 and BF16 as both operands lie in memory, WIDENED from w in bf16 and packed x in fp32. */
enum { WIDENED = 2 };

enum { FEW_INPUTS = 4 };  /* as many as memory bounds, whatever the form */

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

/* Inside of a linear of this type denormal results and operands are 0 where vdpbf16ps makes them so. Returns what `restore` takes. */
INLINE unsigned flush_denormals(int type) {
#if defined(__AVX512BF16__)
    const unsigned before = _mm_getcsr();
    if (type == BF16) _mm_setcsr(before | 0x8040);
    return before;
#else
    (void) type;
    return 0;
#endif
}

INLINE void restore(unsigned before) {
#if defined(__AVX512BF16__)
    _mm_setcsr(before);
#else
    (void) before;
#endif
}

#endif
