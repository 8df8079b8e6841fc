// CUDA on the CPU, as far as kernels/*.cu need it, to test them without a GPU: included before each of them (build.sh).
//
// Blocks run on CPU threads (INLAY_THREADS), the threads of a block as fibers that switch at barriers and warp-collective operations, so
// that these are really collective: what not all threads reach is an error with its line, where a GPU would hang or compute something.
// Shared memory begins as NaN in every block. Copies by cp_async land when they are waited for. What a GPU forbids and a CPU would do
// anyway is refused: 16-byte accesses off their alignment, lanes outside a mask, dynamic shared memory beyond what was asked for, arguments
// of another size.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __constant__ static const
// One block at a time runs on a CPU thread, so what is shared within a block is local to the CPU thread.
#define __shared__ static __thread

struct uint2 { unsigned x, y; } __align__(8);
struct uint4 { unsigned x, y, z, w; } __align__(16);
struct int2 { int x, y; } __align__(8);
struct int4 { int x, y, z, w; } __align__(16);
struct float2 { float x, y; } __align__(8);
struct float4 { float x, y, z, w; } __align__(16);
struct dim3 { unsigned x, y, z; };

namespace inlay_host {

const int WARP = 32;

// What a lane waits for in a warp-collective operation, and what it brings.
struct Collective {
    enum Kind { SYNC, SHUFFLE, BALLOT, MMA, MATRIX };
    Kind kind;
    unsigned mask;
    const char* file;
    int line;
    int source;              // SHUFFLE: the lane that it reads
    uint64_t value;          // SHUFFLE: its own, then the one it read; BALLOT: its predicate, then the votes; MATRIX: the row's address
    bool transposed;         // MATRIX
    float* d;                // MMA
    const unsigned* a;       // MMA
    const unsigned* b;       // MMA
    unsigned* to;            // MATRIX
};

// The place of the running fiber.
struct Place {
    dim3 thread, block, grid_size, block_size;
    int lane;
};

extern __thread const Place* place;

unsigned char* dynamic_shared();
void barrier(const char* file, int line);
void collective(Collective& mine);
void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));
void require_aligned(const void* at, int bytes, const char* what);
void begin_copy(void* shared, const void* global, bool valid);
void commit_copies();
void finish_copies(int groups_left);
void mma_bf16_16x8x16(float* d, const unsigned* a, const unsigned* b, const char* file = __builtin_FILE(), int line = __builtin_LINE());
void ldmatrix_x4(unsigned* to, const void* row, bool transposed, const char* file = __builtin_FILE(), int line = __builtin_LINE());

// ---- kernels by name ----

typedef void (*Function)();
struct Kernel {
    const char* name;
    Function function;
    void (*invoke)(Function function, void** parameters);
    const unsigned char* sizes;
    const unsigned char* pointers;  // whether each argument is one
    int count;
};
int add(const Kernel& kernel);

template <typename... A, size_t... I>
void unpack(void (*kernel)(A...), void** parameters, std::index_sequence<I...>) {
    (void) parameters;
    kernel(*static_cast<std::remove_cv_t<A>*>(parameters[I])...);
}

template <typename... A>
int add(const char* name, void (*kernel)(A...)) {
    static const unsigned char sizes[sizeof...(A) + 1] = {sizeof(A)..., 0};
    static const unsigned char pointers[sizeof...(A) + 1] = {std::is_pointer<A>::value..., 0};
    return add(Kernel{name, reinterpret_cast<Function>(kernel),
                      [](Function function, void** parameters) {
                          unpack(reinterpret_cast<void (*)(A...)>(function), parameters, std::index_sequence_for<A...>());
                      },
                      sizes, pointers, static_cast<int>(sizeof...(A))});
}

// ---- shuffles ----

template <typename V>
V shuffle(unsigned mask, V value, int source, const char* file, int line) {
    static_assert(sizeof(V) == 4 || sizeof(V) == 8, "shuffles move 4 or 8 bytes");
    Collective mine = {};
    mine.kind = Collective::SHUFFLE;
    mine.mask = mask;
    mine.file = file;
    mine.line = line;
    mine.source = source;
    memcpy(&mine.value, &value, sizeof(V));
    collective(mine);
    memcpy(&value, &mine.value, sizeof(V));
    return value;
}

template <typename V>
V atomic_add(V* at, V value) {
    typedef typename std::conditional<sizeof(V) == 8, uint64_t, uint32_t>::type Bits;
    Bits* bits = reinterpret_cast<Bits*>(at);
    Bits seen = __atomic_load_n(bits, __ATOMIC_RELAXED);
    for (;;) {
        V old;
        memcpy(&old, &seen, sizeof(V));
        const V sum = old + value;
        Bits next;
        memcpy(&next, &sum, sizeof(V));
        if (__atomic_compare_exchange_n(bits, &seen, next, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
            return old;
        }
    }
}

}  // namespace inlay_host

#define INLAY_KERNEL(name) static const int inlay_known_##name = ::inlay_host::add(#name, name)
#define INLAY_DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(::inlay_host::dynamic_shared())

#define threadIdx (::inlay_host::place->thread)
#define blockIdx (::inlay_host::place->block)
#define blockDim (::inlay_host::place->block_size)
#define gridDim (::inlay_host::place->grid_size)
#define warpSize 32

#define INLAY_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(INLAY_HERE) { inlay_host::barrier(file, line); }

inline void __syncwarp(unsigned mask = 0xffffffffu, INLAY_HERE) {
    inlay_host::Collective mine = {};
    mine.kind = inlay_host::Collective::SYNC;
    mine.mask = mask;
    mine.file = file;
    mine.line = line;
    inlay_host::collective(mine);
}

template <typename V>
inline V __shfl_sync(unsigned mask, V value, int source, int width = 32, INLAY_HERE) {
    const int lane = inlay_host::place->lane;
    return inlay_host::shuffle(mask, value, (lane & ~(width - 1)) + (source & (width - 1)), file, line);
}

template <typename V>
inline V __shfl_xor_sync(unsigned mask, V value, int bits, int width = 32, INLAY_HERE) {
    const int lane = inlay_host::place->lane;
    const int source = lane ^ bits;
    return inlay_host::shuffle(mask, value, source / width > lane / width ? lane : source, file, line);
}

template <typename V>
inline V __shfl_down_sync(unsigned mask, V value, unsigned distance, int width = 32, INLAY_HERE) {
    const int lane = inlay_host::place->lane;
    const int source = lane + static_cast<int>(distance);
    return inlay_host::shuffle(mask, value, source / width == lane / width ? source : lane, file, line);
}

template <typename V>
inline V __shfl_up_sync(unsigned mask, V value, unsigned distance, int width = 32, INLAY_HERE) {
    const int lane = inlay_host::place->lane;
    const int source = lane - static_cast<int>(distance);
    return inlay_host::shuffle(mask, value, source >= (lane & ~(width - 1)) ? source : lane, file, line);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, INLAY_HERE) {
    inlay_host::Collective mine = {};
    mine.kind = inlay_host::Collective::BALLOT;
    mine.mask = mask;
    mine.file = file;
    mine.line = line;
    mine.value = predicate != 0;
    inlay_host::collective(mine);
    return static_cast<unsigned>(mine.value);
}

inline int __any_sync(unsigned mask, int predicate, INLAY_HERE) { return __ballot_sync(mask, predicate, file, line) != 0; }
inline int __all_sync(unsigned mask, int predicate, INLAY_HERE) { return __ballot_sync(mask, predicate, file, line) == mask; }

template <typename V, typename W>
inline V atomicAdd(V* at, W value) { return inlay_host::atomic_add(at, static_cast<V>(value)); }

inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

template <typename V>
inline V __ldg(const V* at) { return *at; }

inline float __uint_as_float(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }
inline unsigned __float_as_uint(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }
inline float __int_as_float(int bits) { float x; memcpy(&x, &bits, 4); return x; }
inline int __float_as_int(float x) { int bits; memcpy(&bits, &x, 4); return bits; }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float rsqrtf(float x) { return static_cast<float>(1 / sqrt(static_cast<double>(x))); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(x) * y >> 64);
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
template <typename V> inline V min(V a, V b) { return b < a ? b : a; }
template <typename V> inline V max(V a, V b) { return a < b ? b : a; }
