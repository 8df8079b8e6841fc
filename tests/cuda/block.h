// One block under way: its threads as fibers, and the CPU thread that lets them run in turn.
#pragma once

#include "host.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "stacks.h"

namespace inlay_host {

enum State { READY, AT_BARRIER, IN_COLLECTIVE, DONE };

// By cp_async16; of zeros when it is not valid.
struct Copy {
    void* to;
    const void* from;
    bool valid;
};

struct Fiber {
    Place place;
    Context context;
    State state;
    const char* file;  // of the barrier
    int line;
    Collective* waiting;
    std::vector<std::vector<Copy>> groups;  // of copies, committed
    std::vector<Copy> open;
};

const int MOST_THREADS = 1024;
const size_t STACK = 64 << 10;
// Stacks one after another would all begin in the same cache sets.
const size_t STACK_STRIDE = STACK + 9 * 64;
const size_t MOST_DYNAMIC = 227 << 10;
const size_t CANARY = 256;
const uint64_t GUARD = 0x1a11a11a11a11a11u;
// NaN as bf16, fp32 and fp64 alike.
const unsigned char UNSET = 0xff;

// What workers share.
struct Launch {
    const Kernel* kernel;
    dim3 grid, block;
    size_t dynamic_bytes;
    void** parameters;
    std::atomic<unsigned long long> next{0};
    std::mutex lock;
    std::atomic<bool> failed{false};
    std::string error;
};

// A CPU thread's stacks and shared memory, and the block that it runs.
struct Worker {
    std::unique_ptr<Fiber[]> fibers{new Fiber[MOST_THREADS]};
    unsigned char* stacks;
    unsigned char* dynamic;
    Context scheduler;
    Fiber* running = nullptr;
    Launch* launch = nullptr;
    int threads = 0;

    Worker();
    unsigned char* stack(int thread) { return stacks + thread * STACK_STRIDE; }

    // Takes blocks of the launch until there is none.
    void run();
    void run_block(const dim3& block);
    // Lets every fiber that can run do so until it waits; false when none could.
    bool step();
    // Carries out one operation of this warp for which all lanes of its mask wait; false when there is none.
    bool resolve(int warp);
    void release_barrier();
    void describe_stuck();
};

// The worker of this CPU thread.
extern __thread Worker* worker;

const char* base_name(const char* path);

}  // namespace inlay_host
