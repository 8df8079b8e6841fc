/*
 * What all CPU kernels share: element types, vectors of the machine's width, rounding to bf16, exp, and the thread pool.
 *
 * The sources are compiled once per instruction set (see build.sh). Vectors are GCC's vector extensions, so that one text serves
 * AVX2, AVX-512 and NEON; intrinsics appear only where an instruction has no such spelling. No -ffast-math: NaN and infinity behave
 * as in the Java reference (io.inlay.kernels.ScalarKernels), sums are made in a fixed order.
 *
 * Operands are checked in Java (io.inlay.kernels.Operands) before they come here. Strides count elements.
 */
#ifndef INLAY_H
#define INLAY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline, unused))
#define UNROLL _Pragma("GCC unroll 16")
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

enum { FP32 = 0, BF16 = 1 };  /* element types as Java passes them */

enum { NEAR = 512 };  /* bytes before their use in which weights are fetched from the second-level cache into the first */

enum { PAGE = 16 };  /* positions in a page of keys and values; io.inlay.kernels.KvPages.PAGE */

INLINE long bytes_of(int type) { return type == BF16 ? 2 : 4; }

INLINE void *at(const void *base, long element, int type) { return (char *) base + element * bytes_of(type); }

/* ---- vectors ---- */

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX2__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

typedef float vfloat __attribute__((vector_size(4 * LANES)));
typedef int32_t vint __attribute__((vector_size(4 * LANES)));
typedef uint32_t vuint __attribute__((vector_size(4 * LANES)));
typedef uint16_t vhalf __attribute__((vector_size(2 * LANES)));
typedef double vdouble __attribute__((vector_size(8 * LANES)));

INLINE vfloat splat(float value) { return value - (vfloat) {}; }

INLINE vfloat choose(vint mask, vfloat yes, vfloat no) { return (vfloat) ((mask & (vint) yes) | (~mask & (vint) no)); }

INLINE vfloat vmax(vfloat a, vfloat b) { return choose(a > b, a, b); }

/* A fixed tree: the upper half is added to the lower until one lane is left. */
INLINE float sum_lanes(vfloat v) {
    for (int width = LANES / 2; width > 0; width /= 2) {
        vint upper;
        UNROLL
        for (int i = 0; i < LANES; i++) upper[i] = (i + width) % LANES;
        v += __builtin_shuffle(v, upper);
    }
    return v[0];
}

/* F(i, a) for each lane i, as a vector's initialiser: the indices of a shuffle made by a loop are made anew at run time by compilers. */
#define FOUR_LANES(F, i, a) F(i, a), F(i + 1, a), F(i + 2, a), F(i + 3, a)
#if defined(__AVX512F__)
#define EACH_LANE(F, a) {FOUR_LANES(F, 0, a), FOUR_LANES(F, 4, a), FOUR_LANES(F, 8, a), FOUR_LANES(F, 12, a)}
#elif defined(__AVX2__)
#define EACH_LANE(F, a) {FOUR_LANES(F, 0, a), FOUR_LANES(F, 4, a)}
#else
#define EACH_LANE(F, a) {FOUR_LANES(F, 0, a)}
#endif

#define LOWER(i, half) (((i) < LANES / 2 ? 0 : LANES) + (i) % (LANES / 2) / (half) * 2 * (half) + (i) % (LANES / 2) % (half))

/*
 * sum_lanes of each of COUNT vectors, at most LANES, in the order of the vectors: the same additions, for all at once. A step takes two
 * vectors and adds, of each group of 2 half lanes, the second half to the first: the first vector's groups, then the second's.
 */
INLINE vfloat sum_each(const vfloat *of, const int COUNT) {
    vfloat v[LANES];
    UNROLL for (int i = 0; i < COUNT; i++) v[i] = of[i];
    int count = COUNT;
    UNROLL for (int half = LANES / 2; half > 0; half /= 2) {
        const vint low = EACH_LANE(LOWER, half);
        UNROLL for (int p = 0; p < (count + 1) / 2; p++) {
            const vfloat first = v[2 * p], second = v[MIN(2 * p + 1, count - 1)];
            v[p] = __builtin_shuffle(first, second, low) + __builtin_shuffle(first, second, low + half);
        }
        count = (count + 1) / 2;
    }
    return v[0];
}

INLINE float max_lanes(vfloat v) {
    float lanes[LANES];
    memcpy(lanes, &v, sizeof v);
    float top = lanes[0];
    for (int i = 1; i < LANES; i++) top = MAX(top, lanes[i]);
    return top;
}

/* ---- bf16: the upper half of a float ---- */

INLINE float widen(uint16_t bits) {
    uint32_t word = (uint32_t) bits << 16;
    float value;
    memcpy(&value, &word, 4);
    return value;
}

/* To the nearest, ties to even; NaN stays NaN (made quiet). As io.inlay.kernels.BFloat16. */
INLINE uint16_t narrow(float value) {
    uint32_t word;
    memcpy(&word, &value, 4);
    return value != value ? word >> 16 | 0x40 : (word + 0x7FFF + (word >> 16 & 1)) >> 16;
}

INLINE vfloat widen_lanes(vhalf bits) {
#if defined(__AVX512F__)
    return (vfloat) _mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i) bits), 16);
#elif defined(__AVX2__)
    return (vfloat) _mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i) bits), 16);
#else
    return (vfloat) (__builtin_convertvector(bits, vuint) << 16);
#endif
}

INLINE vhalf narrow_lanes(vfloat value) {
    /* vcvtneps2bf16 would flush denormals; shifts keep them and cost nothing beside memory. */
    vuint word = (vuint) value;
    vuint rounded = (word + 0x7FFF + (word >> 16 & 1)) >> 16;
    vuint quiet = word >> 16 | 0x40;
    vuint nan = (vuint) (value != value);
    vuint bits = (nan & quiet) | (~nan & rounded);
#if defined(__AVX512F__)
    return (vhalf) _mm512_cvtepi32_epi16((__m512i) bits);
#elif defined(__AVX2__)
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32((__m256i) bits, (__m256i) bits), 0x08);
    return (vhalf) _mm256_castsi256_si128(packed);
#else
    return __builtin_convertvector(bits, vhalf);
#endif
}

/* ---- elements of either type as floats ---- */

INLINE float get(const void *base, long i, int type) {
    if (type == BF16) {
        uint16_t bits;
        memcpy(&bits, (const char *) base + 2 * i, 2);
        return widen(bits);
    }
    float value;
    memcpy(&value, (const char *) base + 4 * i, 4);
    return value;
}

INLINE void put(void *base, long i, int type, float value) {
    if (type == BF16) {
        uint16_t bits = narrow(value);
        memcpy((char *) base + 2 * i, &bits, 2);
    } else {
        memcpy((char *) base + 4 * i, &value, 4);
    }
}

INLINE vfloat load(const void *base, long i, int type) {
    if (type == BF16) {
        vhalf bits;
        memcpy(&bits, (const char *) base + 2 * i, sizeof bits);
        return widen_lanes(bits);
    }
    vfloat value;
    memcpy(&value, (const char *) base + 4 * i, sizeof value);
    return value;
}

INLINE void store(void *base, long i, int type, vfloat value) {
    if (type == BF16) {
        vhalf bits = narrow_lanes(value);
        memcpy((char *) base + 2 * i, &bits, sizeof bits);
    } else {
        memcpy((char *) base + 4 * i, &value, sizeof value);
    }
}

/* The first count lanes; the rest are 0. */
INLINE vfloat load_some(const void *base, long i, int type, long count) {
    char some[4 * LANES] = {0};
    memcpy(some, at(base, i, type), count * bytes_of(type));
    return load(some, 0, type);
}

INLINE void store_some(void *base, long i, int type, vfloat value, long count) {
    char some[4 * LANES];
    store(some, 0, type, value);
    memcpy(at(base, i, type), some, count * bytes_of(type));
}

/* What storing and loading again would give. */
INLINE vfloat rounded(vfloat value, int type) { return type == BF16 ? widen_lanes(narrow_lanes(value)) : value; }

/*
 * Runs the statement with `v` = first element and `count` = elements of each vector of [0, n). For whole vectors `count` is a
 * constant, so that LOAD and STORE become plain moves.
 */
#define LOAD(base, type) (count == LANES ? load(base, v, type) : load_some(base, v, type, count))
#define STORE(base, type, value) (count == LANES ? store(base, v, type, value) : store_some(base, v, type, value, count))
#define FOR_VECTORS(n, ...) \
    do { \
        long v = 0; \
        for (; v + LANES <= (n); v += LANES) { \
            const long count = LANES; \
            __VA_ARGS__ \
        } \
        if (v < (n)) { \
            const long count = (n) - v; \
            __VA_ARGS__ \
        } \
    } while (0)

/* ---- exp ---- */

/*
 * e^x by Cody and Waite's reduction and a polynomial of degree 6: at most 2 units in the last place; 0 below -87.3 (no denormals),
 * infinity above 88.7, NaN for NaN.
 */
INLINE vfloat exp_lanes(vfloat x) {
    const vfloat log2e = splat(1.44269504f), high = splat(0.693145752f), low = splat(1.42860677e-6f), magic = splat(12582912.0f);
    vfloat clamped = choose(x < -88.0f, splat(-88.0f), choose(x > 88.9f, splat(88.9f), x));
    vfloat shifted = clamped * log2e + magic;
    vfloat n = shifted - magic;
    vfloat r = clamped - n * high - n * low;
    vfloat p = splat(1.0f / 720);
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    /* 2^n in two factors, because n reaches 128. */
    vint exponent = (vint) shifted - (vint) magic;
    vint half = exponent >> 1;
    vfloat y = p * (vfloat) ((half + 127) << 23) * (vfloat) ((exponent - half + 127) << 23);
    y = choose(x < -87.3f, splat(0), choose(x > 88.7228f, splat(__builtin_inff()), y));
    return choose(x != x, x, y);
}

/* 1 / (1 + e^-x) */
INLINE vfloat sigmoid_lanes(vfloat x) { return 1.0f / (1.0f + exp_lanes(-x)); }

/* ---- threads (pool.c) ---- */

typedef void (*Body)(const void *arguments, long begin, long end);

/*
 * Calls body on pieces that together cover [0, items), each of at least `grain` items, on as many cores as there are; returns when
 * all are done. Which piece runs where is open: a body's results must not depend on how items are cut.
 */
void inlay_parallel(Body body, const void *arguments, long items, long grain);

/* How many threads work on a job, the caller's with them: for jobs whose pieces should be few, since each begins with some work. */
int pool_threads(void);

/* Memory of the calling thread, at least this large, 64-byte aligned, with undefined contents, good until its next call. */
void *scratch(long bytes);

/* The grain for items of this size, so that a piece is worth handing to another core. */
INLINE long grain_of(long bytes_per_item) { return MAX(1, 32768 / MAX(1, bytes_per_item)); }

#endif
