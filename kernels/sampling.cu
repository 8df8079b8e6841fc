// ids[r] = the token drawn of logits[r], by the definition of Kernels.draw, bit for bit.
//
//   logits  T [R, V], rows `stride` elements apart, V up to 2^22; T bf16 or fp32
//   draws   [R], what each row is drawn with (below); written by CudaSampling
//   ids     int [R]; where a logit is NaN or +inf, or all are -inf, -1 - v for the first such v
//
// Launch: blocks of 1024 threads, grid x = R, one row each. Weights are integers, so that neither atomics nor blocks decide anything by
// their order. Nothing is sorted: a cut finds the key of the last token that stays by histograms in shared memory, first over distances
// from the largest logit in equal steps, which spreads a row's tokens, then over the bits of the keys, 11 at a time. What cannot stay is
// not counted: for top-k what is below the k-th largest of the threads' maxima, for top-p what weighs too little even together.
// Floor: a read of the row, 5 us for V = 128,256 by one SM at 100 GB/s, from the second-level cache after the first. Greedy reads once,
// a draw without cuts twice, of which one makes all exponentials; top-k reads four times more, top-p five, six where it ends in a tie.
// Reference: ScalarDraws.
#include "inlay.cuh"

#define THREADS 1024
#define EIGHT 8                 // elements that a thread takes at a time
#define TILE (THREADS * EIGHT)  // ids that a block takes at a time
#define DIGIT 11
#define BINS (1 << DIGIT)
#define NOBODY 0x7fffffff
#define WHOLE 1099511627776.0   // what the likeliest weighs

typedef unsigned long long Weight;

struct __align__(16) Draw {
    Weight random;
    double top_p;
    double least;  // minP of WHOLE
    float scale;   // 0: the largest logit
    int top_k;     // 0: all; -1: nothing is drawn
};

// ---- one logit ----

// Orders unsigned as the logit; both zeros are one.
__device__ __forceinline__ unsigned key_of(float logit) {
    const unsigned bits = __float_as_uint(__fadd_rn(logit, 0.0f));
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float logit_of(unsigned key) {
    return __uint_as_float(key & 0x80000000u ? key ^ 0x80000000u : ~key);
}

__device__ __forceinline__ float difference(float logit, float top, float scale) {
    return __fmul_rn(__fsub_rn(logit, top), scale);
}

__device__ __forceinline__ Weight weight_of(float logit, float top, float scale) {
    const float rounder = 12582912.0f, x = fmaxf(difference(logit, top, scale), -29.0f);
    const float shifted = fmaf(x, 1.44269504f, rounder), n = __fsub_rn(shifted, rounder);
    const float r = fmaf(n, -1.42860677e-6f, fmaf(n, -0.693145752f, x));
    float p = 1.0f / 720;
    p = fmaf(p, r, 1.0f / 120);
    p = fmaf(p, r, 1.0f / 24);
    p = fmaf(p, r, 1.0f / 6);
    p = fmaf(p, r, 0.5f);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    const Weight mantissa = static_cast<unsigned>(__fmul_rn(p, 16777216.0f));
    return mantissa << 16 >> (__float_as_uint(rounder) - __float_as_uint(shifted));
}

// ---- a row ----

template <typename T>
struct Row {
    const T* at;
    int columns;
    bool packed;
    float scale;
    float top, lowest;  // of what is finite

    // Calls visit(logit, id) for eight logits from the thread's place in a tile on; behind the row's end nothing is visited.
    template <typename Visit>
    __device__ __forceinline__ void tile(int first, const Visit& visit) const {
        float eight[EIGHT];
        first += threadIdx.x * EIGHT;
        read8(eight, at, first, columns, packed);
#pragma unroll
        for (int i = 0; i < EIGHT; i++) {
            if (first + i < columns) {
                visit(eight[i], first + i);
            }
        }
    }

    template <typename Visit>
    __device__ __forceinline__ void all(const Visit& visit) const {
        for (int first = 0; first < columns; first += TILE) {
            tile(first, visit);
        }
    }

    __device__ __forceinline__ Weight weight(float logit) const {
        return weight_of(logit, top, scale);
    }
};

// The tokens that stay.
struct Kept {
    unsigned key;   // of the last in order
    int last;       // id, of those with that key
    double least;   // weight

    __device__ __forceinline__ bool in_order(unsigned other, int id) const {
        return other > key || (other == key && id <= last);
    }
};

struct Shared {
    Weight bins[BINS];
    Weight warps[INLAY_WARP];
    Weight before;
    int chosen;
};

// ---- sums over a block ----

// What the threads before this one have, in order; `all`: what all have. All threads call it.
__device__ __forceinline__ Weight before_me(Weight mine, Shared& shared, Weight& all) {
    const int lane = threadIdx.x % INLAY_WARP, warp = threadIdx.x / INLAY_WARP;
    Weight sum = mine;
#pragma unroll
    for (int distance = 1; distance < INLAY_WARP; distance *= 2) {
        const Weight other = __shfl_up_sync(INLAY_ALL_LANES, sum, distance);
        sum += lane >= distance ? other : 0;
    }
    if (lane == INLAY_WARP - 1) {
        shared.warps[warp] = sum;
    }
    __syncthreads();
    Weight before = sum - mine;
    all = 0;
    for (int other = 0; other < THREADS / INLAY_WARP; other++) {
        before += other < warp ? shared.warps[other] : 0;
        all += shared.warps[other];
    }
    __syncthreads();
    return before;
}

// ---- the place in order where enough is reached ----

struct Place {
    unsigned key;
    Weight above, tied;  // the measure of all keys above, and of all tokens with this one
};

// Adds to a bin; lanes that all have the same one add together. All lanes call it.
__device__ __forceinline__ void add_to(Weight* bins, int bin, Weight measure) {
    const int first = __shfl_sync(INLAY_ALL_LANES, bin, 0);
    if (__all_sync(INLAY_ALL_LANES, bin == first)) {
        measure = warp_sum(measure);
        if (threadIdx.x % INLAY_WARP == 0 && measure > 0) {
            atomicAdd(&bins[bin], measure);
        }
    } else if (measure > 0) {
        atomicAdd(&bins[bin], measure);
    }
}

// Of bins in order, the one with which what is above and they reach enough; `above` then is what is above it.
__device__ __forceinline__ int reaching(Shared& shared, double enough, Weight& above, Weight& own) {
    const Weight first = shared.bins[2 * threadIdx.x], second = shared.bins[2 * threadIdx.x + 1];
    Weight all;
    const Weight before = above + before_me(first + second, shared, all);
    if (!(static_cast<double>(before) >= enough) && static_cast<double>(before + first + second) >= enough) {
        const bool later = !(static_cast<double>(before + first) >= enough);
        shared.chosen = 2 * threadIdx.x + later;
        shared.before = before + (later ? first : 0);
    }
    __syncthreads();
    const int chosen = shared.chosen;
    above = shared.before;
    own = shared.bins[chosen];
    __syncthreads();
    return chosen;
}

__device__ __forceinline__ void clear(Shared& shared) {
    __syncthreads();  // others may still read them
    shared.bins[2 * threadIdx.x] = 0;
    shared.bins[2 * threadIdx.x + 1] = 0;
    __syncthreads();
}

// measure(logit, id) is what a token counts for. Those below the logit `bound` are not counted; the others together have enough.
template <typename T, typename Measure>
__device__ __forceinline__ Place find(const Row<T>& row, float bound, double enough, const Measure& measure, Shared& shared) {
    const float span = __fsub_rn(row.top, fmaxf(bound, row.lowest)), steps = span > 0 ? __fdiv_rn(BINS - 1, span) : 0;
    Place place = {0, 0, 0};
    int step = 0;
#pragma unroll 1
    for (int level = 0; level < 4; level++) {
        const int shift = level == 0 ? 32 : level == 1 ? 21 : level == 2 ? 10 : 0, digit = level == 3 ? 10 : DIGIT;
        clear(shared);
        for (int first = 0; first < row.columns; first += TILE) {
            float eight[EIGHT];
            const int mine = first + threadIdx.x * EIGHT;
            read8(eight, row.at, mine, row.columns, row.packed);
#pragma unroll
            for (int i = 0; i < EIGHT; i++) {
                const bool there = mine + i < row.columns && eight[i] >= bound;
                // Negative infinity, whose product with 0 is NaN, comes last.
                const int at = there ? static_cast<int>(fminf(__fmul_rn(__fsub_rn(row.top, eight[i]), steps), BINS - 1)) : 0;
                const unsigned key = key_of(eight[i]);
                const bool counts = there && (level == 0 || (at == step && (level == 1 || key >> (shift + digit) == place.key)));
                if (__any_sync(INLAY_ALL_LANES, counts)) {
                    const int bin = level == 0 ? at : BINS - 1 - static_cast<int>(key >> (shift & 31) & ((1u << digit) - 1));
                    add_to(shared.bins, bin, counts ? measure(eight[i], mine + i) : 0);
                }
            }
        }
        __syncthreads();
        const int bin = reaching(shared, enough, place.above, place.tied);
        if (level == 0) {
            step = bin;
        } else {
            place.key = place.key << digit | static_cast<unsigned>(BINS - 1 - bin);
        }
    }
    return place;
}

// ---- the place in ids where a prefix sum exceeds a number ----

// The measure of all tokens, by tiles, which `choose` reads.
template <typename T, typename Measure>
__device__ __forceinline__ Weight sum_tiles(const Row<T>& row, const Measure& measure, Shared& shared) {
    clear(shared);
    Weight total = 0;
    for (int first = 0, t = 0; first < row.columns; first += TILE, t++) {
        Weight mine = 0;
        row.tile(first, [&](float logit, int id) { mine += measure(logit, id); });
        mine = warp_sum(mine);
        if (threadIdx.x % INLAY_WARP == 0) {
            atomicAdd(&shared.bins[t], mine);
        }
    }
    __syncthreads();
    for (int first = 0, t = 0; first < row.columns; first += TILE, t++) {
        total += shared.bins[t];
    }
    return total;
}

// The first id up to which the measure exceeds `place`, which is less than the total; after sum_tiles of the same measure.
template <typename T, typename Measure>
__device__ __forceinline__ int choose(const Row<T>& row, Weight place, const Measure& measure, Shared& shared) {
    int t = 0;
    for (; shared.bins[t] <= place; t++) {
        place -= shared.bins[t];
    }
    Weight mine = 0, all;
    row.tile(t * TILE, [&](float logit, int id) { mine += measure(logit, id); });
    Weight before = before_me(mine, shared, all);
    if (before <= place && before + mine > place) {
        int chosen = NOBODY;
        row.tile(t * TILE, [&](float logit, int id) {
            before += measure(logit, id);
            chosen = before > place ? min(chosen, id) : chosen;
        });
        shared.chosen = chosen;
    }
    __syncthreads();
    const int chosen = shared.chosen;
    __syncthreads();
    return chosen;
}

// ---- the largest ----

struct Best {
    float value;
    int at;
    int refused;  // the first that is no logit, or NOBODY
};

__device__ __forceinline__ Best better(const Best& a, const Best& b) {
    const bool second = b.value > a.value || (b.value == a.value && b.at < a.at);
    const Best chosen = {second ? b.value : a.value, second ? b.at : a.at, min(a.refused, b.refused)};
    return chosen;
}

__device__ __forceinline__ Best warp_best(Best best) {
#pragma unroll
    for (int distance = INLAY_WARP / 2; distance > 0; distance /= 2) {
        const Best other = {__shfl_xor_sync(INLAY_ALL_LANES, best.value, distance), __shfl_xor_sync(INLAY_ALL_LANES, best.at, distance),
                            __shfl_xor_sync(INLAY_ALL_LANES, best.refused, distance)};
        best = better(best, other);
    }
    return best;
}

// Of all threads' best, for all threads.
__device__ __forceinline__ Best block_best(Best best) {
    __shared__ Best warps[INLAY_WARP];
    best = warp_best(best);
    if (threadIdx.x % INLAY_WARP == 0) {
        warps[threadIdx.x / INLAY_WARP] = best;
    }
    __syncthreads();
    best = warp_best(warps[threadIdx.x % INLAY_WARP]);
    __syncthreads();
    return best;
}

// The k-th largest of the threads' maxima, k up to THREADS: no logit of the row's k largest is less.
__device__ __forceinline__ float bound_of_k(float mine, int k, Shared& shared) {
    unsigned key = 0;
    Weight above = 0, own;
#pragma unroll 1
    for (int level = 1; level < 4; level++) {
        const int shift = level == 1 ? 21 : level == 2 ? 10 : 0, digit = level == 3 ? 10 : DIGIT;
        clear(shared);
        const bool counts = level == 1 || key_of(mine) >> (shift + digit) == key;
        add_to(shared.bins, BINS - 1 - static_cast<int>(key_of(mine) >> shift & ((1u << digit) - 1)), counts);
        __syncthreads();
        key = key << digit | static_cast<unsigned>(BINS - 1 - reaching(shared, k, above, own));
    }
    return logit_of(key);
}

// ---- a draw ----

// Top-p among the tokens that stay so far, which are all from `bound` on.
template <typename T>
__device__ __forceinline__ void cut_to_p(const Row<T>& row, double top_p, float bound, Kept& kept, Shared& shared) {
    const unsigned least = kept.key;
    const auto weight = [&](float logit, int) { return key_of(logit) >= least ? row.weight(logit) : 0; };
    const Weight total = sum_tiles(row, weight, shared);
    const double enough = fmax(1.0, top_p * static_cast<double>(total));
    // Tokens which all together weigh less than what top-p leaves out; half of that, so that no rounding matters.
    const double each = (static_cast<double>(total) - enough) / row.columns / 2;
    const float farthest = each < 1 ? -29.0f : fmaxf(logf(static_cast<float>(each / WHOLE)) - 1e-3f, -29.0f);
    const float below = nextafterf(static_cast<float>(row.top + static_cast<double>(farthest) / row.scale), -INFINITY);
    const Place place = find(row, fmaxf(bound, below), enough, weight, shared);
    kept.key = place.key;
    // As many tokens of this key, which weigh the same, as reach enough.
    const Weight one = row.weight(logit_of(place.key));
    Weight ties = static_cast<Weight>((enough - static_cast<double>(place.above)) / static_cast<double>(one));
    ties = max(ties, static_cast<Weight>(1));
    while (ties > 1 && static_cast<double>(place.above + (ties - 1) * one) >= enough) {
        ties--;
    }
    while (!(static_cast<double>(place.above + ties * one) >= enough)) {
        ties++;
    }
    if (ties * one < place.tied) {
        const auto tied = [&](float logit, int) { return static_cast<Weight>(key_of(logit) == place.key); };
        sum_tiles(row, tied, shared);
        kept.last = choose(row, ties - 1, tied, shared);
    }
}

template <typename T>
__device__ __forceinline__ void draw(const T* logits, long long stride, int columns, const Draw* draws, int* ids) {
    __shared__ Shared shared;
    const Draw with = draws[blockIdx.x];
    if (with.top_k < 0) {
        return;
    }
    const T* first = logits + blockIdx.x * stride;
    Row<T> row = {first, columns, aligned16(first), with.scale, 0, 0};
    Best best = {-INFINITY, NOBODY, NOBODY};
    float lowest = INFINITY;
    row.all([&](float logit, int id) {
        const Best one = {logit, id, logit < INFINITY ? NOBODY : id};
        best = better(best, one);
        lowest = logit > -INFINITY ? fminf(lowest, logit) : lowest;
    });
    const float mine = best.value;
    best = block_best(best);
    if (best.refused != NOBODY || best.value == -INFINITY || with.scale == 0) {
        if (threadIdx.x == 0) {
            ids[blockIdx.x] = best.refused != NOBODY ? -1 - best.refused : best.value == -INFINITY ? -1 : best.at;
        }
        return;
    }
    row.top = best.value;
    row.lowest = -block_max(-lowest);
    Kept kept = {0, NOBODY, with.least};
    float bound = -INFINITY;
    if (with.top_k > 0 && with.top_k < columns) {
        bound = with.top_k <= THREADS ? bound_of_k(mine, with.top_k, shared) : bound;
        kept.key = find(row, bound, with.top_k, [](float, int) { return static_cast<Weight>(1); }, shared).key;
        bound = logit_of(kept.key);
    }
    if (with.top_p < 1) {
        cut_to_p(row, with.top_p, bound, kept, shared);
    }
    const auto weight = [&](float logit, int id) {
        const Weight own = kept.in_order(key_of(logit), id) ? row.weight(logit) : 0;
        return static_cast<double>(own) >= kept.least ? own : 0;
    };
    const Weight total = sum_tiles(row, weight, shared);
    const int id = choose(row, __umul64hi(with.random, total), weight, shared);
    if (threadIdx.x == 0) {
        ids[blockIdx.x] = id;
    }
}

#define SAMPLING(suffix, T) \
    extern "C" __global__ void __launch_bounds__(THREADS) draw_##suffix( \
        const T* logits, long long stride, int columns, const Draw* draws, int* ids) { \
        draw(logits, stride, columns, draws, ids); \
    } \
    INLAY_KERNEL(draw_##suffix)

SAMPLING(bf16, bf16);
SAMPLING(f32, float);
