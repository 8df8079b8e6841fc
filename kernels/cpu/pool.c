/*
 * The thread pool under all kernels: the calling thread and cores - 1 workers.
 *
 * A worker spins for some tens of microseconds after its last piece, since the next kernel of a forward pass follows at once, and then
 * sleeps. One job runs at a time; a caller that finds the pool taken does its job alone, so callers never wait for each other.
 *
 * A job is cut into pieces that are claimed through one word: the job's number, how many pieces it has, and the next one. A claim is a
 * compare-and-swap on the whole word, so a worker that wakes late can never take a piece of a job that is over; and since a job is not
 * replaced before all its pieces are done, what a worker read of it before a claim that succeeded was that job's.
 */
#define _GNU_SOURCE
#include "inlay.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { SPIN_MICROSECONDS = 60, PIECES_PER_THREAD = 8, MOST_THREADS = 256 };

static struct {
    _Alignas(64) atomic_ullong ticket;  /* job << 32 | pieces << 16 | next piece */
    _Alignas(64) atomic_long done;      /* pieces finished */
    _Alignas(64) _Atomic(Body) body;
    _Atomic(const void *) arguments;
    atomic_long items;
    _Alignas(64) atomic_flag taken;
    atomic_int sleepers;
    int threads;  /* with the caller; 0 before the start */
    pthread_mutex_t lock;
    pthread_cond_t wake;
} pool = {.taken = ATOMIC_FLAG_INIT, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

INLINE void pause_core(void) {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

/* Works on job `number` until none of its pieces is left. */
static void work(uint32_t number) {
    for (;;) {
        unsigned long long ticket = atomic_load(&pool.ticket);
        Body body = atomic_load_explicit(&pool.body, memory_order_relaxed);
        const void *arguments = atomic_load_explicit(&pool.arguments, memory_order_relaxed);
        long items = atomic_load_explicit(&pool.items, memory_order_relaxed);
        long pieces = ticket >> 16 & 0xFFFF;
        long piece = ticket & 0xFFFF;
        if (ticket >> 32 != number || piece >= pieces) return;
        if (!atomic_compare_exchange_strong(&pool.ticket, &ticket, ticket + 1)) continue;
        body(arguments, items * piece / pieces, items * (piece + 1) / pieces);
        atomic_fetch_add(&pool.done, 1);
    }
}

static uint32_t current(void) { return atomic_load(&pool.ticket) >> 32; }

static void *worker(void *unused) {
    uint32_t seen = 0;
    for (;;) {
        int64_t until = microseconds() + SPIN_MICROSECONDS;
        while (current() == seen) {
            for (int i = 0; i < 32 && current() == seen; i++) pause_core();
            if (current() != seen || microseconds() < until) continue;
            pthread_mutex_lock(&pool.lock);
            atomic_fetch_add(&pool.sleepers, 1);
            while (current() == seen) pthread_cond_wait(&pool.wake, &pool.lock);
            atomic_fetch_sub(&pool.sleepers, 1);
            pthread_mutex_unlock(&pool.lock);
        }
        seen = current();
        work(seen);
    }
    return unused;
}

/* A child of fork has no workers; it computes alone. */
static void forked(void) {
    pool.threads = 1;
    atomic_flag_clear(&pool.taken);
}

/* Starts the workers, once; later calls change nothing. Returns the number of threads that compute, the caller's with them. */
EXPORT int inlay_start(int threads) {
    pthread_mutex_lock(&pool.lock);
    if (pool.threads == 0) {
        threads = MAX(1, MIN(threads, MOST_THREADS));
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);  /* signals belong to the host's threads */
        int started = 1;
        for (; started < threads; started++) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, worker, NULL) != 0) break;
            pthread_detach(thread);
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_atfork(NULL, NULL, forked);
        pool.threads = started;
    }
    int running = pool.threads;
    pthread_mutex_unlock(&pool.lock);
    return running;
}

int pool_threads(void) { return MAX(1, pool.threads); }

void inlay_parallel(Body body, const void *arguments, long items, long grain) {
    if (items <= 0) return;
    long pieces = MIN(items / MAX(1, grain), (long) PIECES_PER_THREAD * pool.threads);
    if (pieces <= 1 || pool.threads <= 1 || atomic_flag_test_and_set(&pool.taken)) {
        body(arguments, 0, items);
        return;
    }
    atomic_store_explicit(&pool.body, body, memory_order_relaxed);
    atomic_store_explicit(&pool.arguments, arguments, memory_order_relaxed);
    atomic_store_explicit(&pool.items, items, memory_order_relaxed);
    atomic_store_explicit(&pool.done, 0, memory_order_relaxed);
    uint32_t number = current() + 1;
    atomic_store(&pool.ticket, (unsigned long long) number << 32 | (unsigned long long) pieces << 16);
    if (atomic_load(&pool.sleepers) > 0) {
        pthread_mutex_lock(&pool.lock);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.lock);
    }
    work(number);
    for (int spins = 0; atomic_load(&pool.done) < pieces; spins++) {
        if (spins < 4096) pause_core();
        else sched_yield();
    }
    atomic_flag_clear(&pool.taken);
}

static _Thread_local struct { void *memory; long bytes; } mine;
static pthread_key_t at_exit;
static pthread_once_t at_exit_made = PTHREAD_ONCE_INIT;

static void make_at_exit(void) { pthread_key_create(&at_exit, free); }

void *scratch(long bytes) {
    if (mine.bytes < bytes) {
        pthread_once(&at_exit_made, make_at_exit);
        free(mine.memory);
        mine.bytes = (bytes + 4095) / 4096 * 4096;
        mine.memory = aligned_alloc(64, mine.bytes);
        if (!mine.memory) abort();
        pthread_setspecific(at_exit, mine.memory);
    }
    return mine.memory;
}
