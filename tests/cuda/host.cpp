// Runs grids on CPU threads and the threads of a block as fibers (host.h says what for).
//
// A CPU thread takes a worker, which has a stack for every thread of a block, and takes blocks one after another. It lets the fibers run in
// turn, each until it waits: warp by warp, and when all of a mask's lanes wait for one operation, that is carried out and they go on.
#include "host.h"

#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace inlay_host {

struct Fiber;

// ---- switching stacks: swapcontext would make a system call for the signal mask every time ----

#if defined(__x86_64__)
struct Context {
    void* stack_pointer;
};
extern "C" void inlay_switch(void** from, void* to);
asm(R"(
    .text
    .hidden inlay_switch
    .globl inlay_switch
    .type inlay_switch, @function
inlay_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size inlay_switch, .-inlay_switch
)");

static void switch_to(Context& from, Context& to) {
    inlay_switch(&from.stack_pointer, to.stack_pointer);
}

static void prepare(Context& context, unsigned char* stack, size_t bytes, void (*entry)()) {
    // The stack pointer is a multiple of 16 before a call, so 8 off at a function's first instruction.
    void** top = reinterpret_cast<void**>((reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t(15));
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(entry);
    for (int saved = 0; saved < 6; saved++) {
        *--top = nullptr;
    }
    context.stack_pointer = top;
}
#else
struct Context {
    ucontext_t machine;
};

static void switch_to(Context& from, Context& to) {
    swapcontext(&from.machine, &to.machine);
}

static void prepare(Context& context, unsigned char* stack, size_t bytes, void (*entry)()) {
    getcontext(&context.machine);
    context.machine.uc_stack.ss_sp = stack;
    context.machine.uc_stack.ss_size = bytes;
    context.machine.uc_link = nullptr;
    makecontext(&context.machine, entry, 0);
}
#endif

// ---- a block's threads ----

enum State { READY, AT_BARRIER, IN_COLLECTIVE, DONE };

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

struct Worker {
    std::unique_ptr<Fiber[]> fibers{new Fiber[MOST_THREADS]};
    unsigned char* stacks;
    unsigned char* dynamic;
    Context scheduler;
    Fiber* running = nullptr;
    Launch* launch = nullptr;
    int threads = 0;

    Worker() {
        stacks = static_cast<unsigned char*>(mmap(nullptr, STACK_STRIDE * MOST_THREADS, PROT_READ | PROT_WRITE,
                                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        dynamic = static_cast<unsigned char*>(aligned_alloc(1024, ((MOST_DYNAMIC + CANARY) / 1024 + 1) * 1024));
        if (stacks == MAP_FAILED || dynamic == nullptr) {
            abort();
        }
    }

    unsigned char* stack(int thread) { return stacks + thread * STACK_STRIDE; }
    void run();
    void run_block(const dim3& block);
    bool step();
    bool resolve(int warp);
    void release_barrier();
    void describe_stuck();
};

// These two survive the filling of this library's thread-local memory, which is where kernels' shared memory lies.
thread_local const Place* place;
static thread_local Worker* worker;

unsigned char* dynamic_shared() {
    return worker->dynamic;
}

// The first failure of a launch is reported; the fiber that finds one never goes on, nor does its launch.
void fail(const char* format, ...) {
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    Worker* mine = worker;
    {
        std::lock_guard<std::mutex> guard(mine->launch->lock);
        if (!mine->launch->failed) {
            mine->launch->error = text;
            mine->launch->failed = true;
        }
    }
    if (mine->running != nullptr) {
        switch_to(mine->running->context, mine->scheduler);
        abort();
    }
}

static std::string where(const Fiber& fiber) {
    char text[120];
    snprintf(text, sizeof(text), "thread (%u, %u, %u) of block (%u, %u, %u)", fiber.place.thread.x, fiber.place.thread.y,
             fiber.place.thread.z, fiber.place.block.x, fiber.place.block.y, fiber.place.block.z);
    return text;
}

static const char* base_name(const char* path) {
    const char* slash = strrchr(path, '/');
    return slash == nullptr ? path : slash + 1;
}

void require_aligned(const void* at, int bytes, const char* what) {
    if (reinterpret_cast<uintptr_t>(at) % bytes != 0) {
        fail("%s of an address that is not a multiple of %d, by %s", what, bytes, where(*worker->running).c_str());
    }
}

static void wait(State state) {
    Worker* mine = worker;
    Fiber* fiber = mine->running;
    fiber->state = state;
    switch_to(fiber->context, mine->scheduler);
}

void barrier(const char* file, int line) {
    worker->running->file = file;
    worker->running->line = line;
    wait(AT_BARRIER);
}

void collective(Collective& mine) {
    const int lane = place->lane;
    if ((mine.mask >> lane & 1) == 0) {
        fail("lane %d is not in its own mask %08x at %s:%d", lane, mine.mask, base_name(mine.file), mine.line);
    }
    worker->running->waiting = &mine;
    wait(IN_COLLECTIVE);
}

void mma_bf16_16x8x16(float* d, const unsigned* a, const unsigned* b, const char* file, int line) {
    Collective mine = {};
    mine.kind = Collective::MMA;
    mine.mask = 0xffffffffu;
    mine.file = file;
    mine.line = line;
    mine.d = d;
    mine.a = a;
    mine.b = b;
    collective(mine);
}

void ldmatrix_x4(unsigned* to, const void* row, bool transposed, const char* file, int line) {
    require_aligned(row, 16, "ldmatrix");
    Collective mine = {};
    mine.kind = Collective::MATRIX;
    mine.mask = 0xffffffffu;
    mine.file = file;
    mine.line = line;
    mine.value = reinterpret_cast<uintptr_t>(row);
    mine.transposed = transposed;
    mine.to = to;
    collective(mine);
}

// ---- copies that land when they are waited for, so that a missing wait shows ----

void begin_copy(void* shared, const void* global, bool valid) {
    require_aligned(shared, 16, "cp_async16 to shared memory");
    if (valid) {
        require_aligned(global, 16, "cp_async16 from global memory");
    }
    worker->running->open.push_back({shared, global, valid});
}

void commit_copies() {
    Fiber* fiber = worker->running;
    fiber->groups.push_back(std::move(fiber->open));
    fiber->open.clear();
}

void finish_copies(int groups_left) {
    auto& groups = worker->running->groups;
    while (static_cast<int>(groups.size()) > groups_left) {
        for (const Copy& copy : groups.front()) {
            if (copy.valid) {
                memcpy(copy.to, copy.from, 16);
            } else {
                memset(copy.to, 0, 16);
            }
        }
        groups.erase(groups.begin());
    }
}

// ---- warp-collective operations, carried out for all lanes at once ----

static float element(unsigned pair, int which) {
    return __uint_as_float(which == 0 ? pair << 16 : pair & 0xffff0000u);
}

static void multiply(Collective* const* lanes) {
    float a[16][16], b[16][8];
    for (int lane = 0; lane < WARP; lane++) {
        const int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 2; i++) {
            a[g][2 * t + i] = element(lanes[lane]->a[0], i);
            a[g + 8][2 * t + i] = element(lanes[lane]->a[1], i);
            a[g][2 * t + 8 + i] = element(lanes[lane]->a[2], i);
            a[g + 8][2 * t + 8 + i] = element(lanes[lane]->a[3], i);
            b[2 * t + i][g] = element(lanes[lane]->b[0], i);
            b[2 * t + 8 + i][g] = element(lanes[lane]->b[1], i);
        }
    }
    for (int row = 0; row < 16; row++) {
        float sums[8] = {};
        for (int k = 0; k < 16; k++) {
            for (int column = 0; column < 8; column++) {
                sums[column] += a[row][k] * b[k][column];
            }
        }
        for (int column = 0; column < 8; column++) {
            lanes[row % 8 * 4 + column / 2]->d[row / 8 * 2 + column % 2] += sums[column];
        }
    }
}

static void load_matrices(Collective* const* lanes) {
    unsigned short rows[WARP][8];
    for (int lane = 0; lane < WARP; lane++) {
        memcpy(rows[lane], reinterpret_cast<const void*>(static_cast<uintptr_t>(lanes[lane]->value)), 16);
    }
    for (int lane = 0; lane < WARP; lane++) {
        const int g = lane / 4, t = lane % 4;
        for (int matrix = 0; matrix < 4; matrix++) {
            const unsigned short(*m)[8] = rows + 8 * matrix;
            const bool transposed = lanes[lane]->transposed;
            const unsigned low = transposed ? m[2 * t][g] : m[g][2 * t];
            const unsigned high = transposed ? m[2 * t + 1][g] : m[g][2 * t + 1];
            lanes[lane]->to[matrix] = low | high << 16;
        }
    }
}

// Carries out one operation of this warp for which all lanes of its mask wait; false when there is none.
bool Worker::resolve(int warp) {
    Collective* lanes[WARP] = {};
    const int count = threads - warp * WARP < WARP ? threads - warp * WARP : WARP;
    for (int lane = 0; lane < count; lane++) {
        Fiber& fiber = fibers[warp * WARP + lane];
        lanes[lane] = fiber.state == IN_COLLECTIVE ? fiber.waiting : nullptr;
    }
    for (int first = 0; first < count; first++) {
        if (lanes[first] == nullptr) {
            continue;
        }
        const Collective op = *lanes[first];
        bool whole = true;
        for (int lane = 0; lane < WARP && whole; lane++) {
            const bool wanted = op.mask >> lane & 1;
            whole = !wanted || (lanes[lane] != nullptr && lanes[lane]->mask == op.mask && lanes[lane]->kind == op.kind
                                && lanes[lane]->line == op.line);
        }
        if (!whole) {
            continue;
        }
        uint64_t values[WARP] = {};
        unsigned votes = 0;
        for (int lane = 0; lane < WARP; lane++) {
            if (op.mask >> lane & 1) {
                values[lane] = lanes[lane]->value;
                votes |= static_cast<unsigned>(values[lane] & 1) << lane;
            }
        }
        if (op.kind == Collective::MMA) {
            multiply(lanes);
        } else if (op.kind == Collective::MATRIX) {
            load_matrices(lanes);
        }
        for (int lane = 0; lane < WARP; lane++) {
            if ((op.mask >> lane & 1) == 0) {
                continue;
            }
            Collective& mine = *lanes[lane];
            if (op.kind == Collective::SHUFFLE) {
                if (mine.source < 0 || mine.source >= WARP || (op.mask >> mine.source & 1) == 0) {
                    running = nullptr;
                    fail("lane %d reads lane %d, which is not in the mask %08x, at %s:%d", lane, mine.source, op.mask,
                         base_name(op.file), op.line);
                    return false;
                }
                mine.value = values[mine.source];
            } else if (op.kind == Collective::BALLOT) {
                mine.value = votes;
            }
            fibers[warp * WARP + lane].state = READY;
        }
        return true;
    }
    return false;
}

// Lets every fiber that can run do so until it waits; false when none could.
bool Worker::step() {
    bool moved = false;
    for (int warp = 0; warp * WARP < threads; warp++) {
        for (bool again = true; again;) {
            again = false;
            for (int thread = warp * WARP; thread < threads && thread < (warp + 1) * WARP; thread++) {
                if (fibers[thread].state == READY) {
                    running = &fibers[thread];
                    place = &running->place;
                    switch_to(scheduler, running->context);
                    running = nullptr;
                    moved = true;
                    if (launch->failed) {
                        return false;
                    }
                }
            }
            again = resolve(warp);
            if (launch->failed) {
                return false;
            }
        }
    }
    return moved;
}

void Worker::release_barrier() {
    for (int thread = 1; thread < threads; thread++) {
        if (fibers[thread].line != fibers[0].line || strcmp(fibers[thread].file, fibers[0].file) != 0) {
            fail("the threads of a block wait at different barriers: %s at %s:%d, %s at %s:%d", where(fibers[0]).c_str(),
                 base_name(fibers[0].file), fibers[0].line, where(fibers[thread]).c_str(), base_name(fibers[thread].file), fibers[thread].line);
            return;
        }
    }
    for (int thread = 0; thread < threads; thread++) {
        fibers[thread].state = READY;
    }
}

void Worker::describe_stuck() {
    const Fiber* waits = nullptr;
    const Fiber* missing = nullptr;
    for (int thread = 0; thread < threads; thread++) {
        const Fiber& fiber = fibers[thread];
        if (fiber.state == IN_COLLECTIVE || (fiber.state == AT_BARRIER && waits == nullptr)) {
            waits = &fiber;
        }
    }
    for (int thread = 0; thread < threads && missing == nullptr; thread++) {
        const Fiber& fiber = fibers[thread];
        const bool absent = waits->state == AT_BARRIER ? fiber.state != AT_BARRIER
                : fiber.place.lane != waits->place.lane && &fiber - fibers.get() >= (waits - fibers.get()) / WARP * WARP
                        && (waits->waiting->mask >> fiber.place.lane & 1)
                        && (fiber.state != IN_COLLECTIVE || fiber.waiting->line != waits->waiting->line);
        missing = absent ? &fiber : nullptr;
    }
    const char* file = waits->state == AT_BARRIER ? waits->file : waits->waiting->file;
    const int line = waits->state == AT_BARRIER ? waits->line : waits->waiting->line;
    if (missing == nullptr) {
        fail("%s waits at %s:%d with lanes that its block does not have", where(*waits).c_str(), base_name(file), line);
    } else {
        fail("not all threads come to %s:%d: %s waits there, %s %s", base_name(file), line, where(*waits).c_str(), where(*missing).c_str(),
             missing->state == DONE ? "has ended" : "waits elsewhere");
    }
}

static void enter() {
    Worker* mine = worker;
    mine->launch->kernel->invoke(mine->launch->kernel->function, mine->launch->parameters);
    mine = worker;
    mine->running->state = DONE;
    switch_to(mine->running->context, mine->scheduler);
    abort();
}

// ---- shared memory ----

struct Segment {
    unsigned char* from;
    size_t bytes;
};

static int find_segment(dl_phdr_info* info, size_t, void* found) {
    bool here = false;
    size_t bytes = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr)& part = info->dlpi_phdr[i];
        const uintptr_t from = info->dlpi_addr + part.p_vaddr;
        const uintptr_t self = reinterpret_cast<uintptr_t>(&enter);
        here = here || (part.p_type == PT_LOAD && self >= from && self < from + part.p_memsz);
        bytes = part.p_type == PT_TLS ? part.p_memsz : bytes;
    }
    if (here) {
        *static_cast<Segment*>(found) = {static_cast<unsigned char*>(info->dlpi_tls_data), bytes};
    }
    return here;
}

// This CPU thread's copy of the library's thread-local memory: all static shared memory of all kernels, and two variables above.
static Segment thread_local_memory() {
    Segment found = {};
    dl_iterate_phdr(find_segment, &found);
    return found;
}

void Worker::run_block(const dim3& block) {
    for (int thread = 0; thread < threads; thread++) {
        Fiber& fiber = fibers[thread];
        const unsigned x = launch->block.x, y = launch->block.y;
        fiber.place = {{thread % x, thread / x % y, thread / x / y}, block, launch->grid, launch->block, thread % WARP};
        fiber.state = READY;
        fiber.groups.clear();
        fiber.open.clear();
        memcpy(stack(thread), &GUARD, sizeof(GUARD));
        prepare(fiber.context, stack(thread), STACK, enter);
    }
    for (;;) {
        if (step()) {
            continue;
        }
        if (launch->failed) {
            return;
        }
        int done = 0, waiting = 0;
        for (int thread = 0; thread < threads; thread++) {
            done += fibers[thread].state == DONE;
            waiting += fibers[thread].state == AT_BARRIER;
        }
        if (done == threads) {
            break;
        }
        if (waiting == threads) {
            release_barrier();
        } else {
            describe_stuck();
        }
    }
    for (int thread = 0; thread < threads; thread++) {
        if (memcmp(stack(thread), &GUARD, sizeof(GUARD)) != 0) {
            fail("%s needs more than %zu bytes of stack", where(fibers[thread]).c_str(), STACK);
        }
        if (!fibers[thread].groups.empty() || !fibers[thread].open.empty()) {
            for (const auto& group : fibers[thread].groups) {
                if (!group.empty()) {
                    fail("%s ended before its copies to shared memory were waited for", where(fibers[thread]).c_str());
                }
            }
        }
    }
    for (size_t i = 0; i < CANARY; i += sizeof(GUARD)) {
        if (memcmp(dynamic + launch->dynamic_bytes + i, &GUARD, sizeof(GUARD)) != 0) {
            fail("block (%u, %u, %u) wrote behind the %zu bytes of dynamic shared memory that were asked for", block.x, block.y, block.z,
                 launch->dynamic_bytes);
        }
    }
}

void Worker::run() {
    worker = this;
    const Segment memory = thread_local_memory();
    threads = launch->block.x * launch->block.y * launch->block.z;
    const unsigned long long blocks = static_cast<unsigned long long>(launch->grid.x) * launch->grid.y * launch->grid.z;
    for (unsigned long long i; (i = launch->next++) < blocks && !launch->failed;) {
        memset(memory.from, UNSET, memory.bytes);
        worker = this;
        running = nullptr;
        memset(dynamic, UNSET, launch->dynamic_bytes);
        for (size_t at = 0; at < CANARY; at += sizeof(GUARD)) {
            memcpy(dynamic + launch->dynamic_bytes + at, &GUARD, sizeof(GUARD));
        }
        const unsigned x = launch->grid.x, y = launch->grid.y;
        run_block({static_cast<unsigned>(i % x), static_cast<unsigned>(i / x % y), static_cast<unsigned>(i / x / y)});
    }
    worker = nullptr;
}

// ---- kernels, workers, launches ----

static std::vector<Kernel>& kernels() {
    static std::vector<Kernel> all;
    return all;
}

int add(const Kernel& kernel) {
    kernels().push_back(kernel);
    return static_cast<int>(kernels().size());
}

static std::mutex pool_lock;
static std::vector<std::unique_ptr<Worker>> pool;

static std::unique_ptr<Worker> take() {
    std::lock_guard<std::mutex> guard(pool_lock);
    if (pool.empty()) {
        return std::make_unique<Worker>();
    }
    std::unique_ptr<Worker> taken = std::move(pool.back());
    pool.pop_back();
    return taken;
}

static void work(Launch* launch) {
    std::unique_ptr<Worker> mine = take();
    mine->launch = launch;
    mine->run();
    std::lock_guard<std::mutex> guard(pool_lock);
    pool.push_back(std::move(mine));
}

static std::string refusal(const Launch& launch, const char* name, const unsigned char* sizes, int count) {
    const Kernel* kernel = launch.kernel;
    if (kernel == nullptr) {
        return std::string("there is no kernel ") + name + "; is INLAY_KERNEL missing?";
    }
    if (count != kernel->count) {
        return std::string(name) + " takes " + std::to_string(kernel->count) + " arguments, not " + std::to_string(count);
    }
    for (int i = 0; i < count; i++) {
        if (sizes[i] != kernel->sizes[i]) {
            return std::string(name) + ": argument " + std::to_string(i) + " has " + std::to_string(kernel->sizes[i]) + " bytes, not "
                    + std::to_string(sizes[i]);
        }
    }
    const dim3 &g = launch.grid, &b = launch.block;
    const unsigned long long threads = static_cast<unsigned long long>(b.x) * b.y * b.z;
    if (threads == 0 || threads > MOST_THREADS || b.z > 64 || g.x == 0 || g.y == 0 || g.z == 0 || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535
            || launch.dynamic_bytes > MOST_DYNAMIC) {
        return std::string(name) + ": no GPU takes a grid of " + std::to_string(g.x) + " x " + std::to_string(g.y) + " x "
                + std::to_string(g.z) + " blocks of " + std::to_string(threads) + " threads with "
                + std::to_string(launch.dynamic_bytes) + " bytes of shared memory";
    }
    return "";
}

static int cpu_threads() {
    const char* setting = getenv("INLAY_THREADS");
    const int asked = setting == nullptr ? 0 : atoi(setting);
    const int all = static_cast<int>(std::thread::hardware_concurrency());
    return asked > 0 ? asked : all > 0 ? all : 1;
}

}  // namespace inlay_host

// As cuLaunchKernel: `geometry` is grid x y z, block x y z; `parameters` has the address of each argument, `sizes` its bytes, which must be the
// kernel's. Returns when all is done: 0, or 1 with what went wrong in `error`.
extern "C" __attribute__((visibility("default"))) int inlay_cuda_launch(const char* name, const unsigned* geometry, unsigned shared_bytes,
                                                                       void** parameters, const unsigned char* sizes, int count, char* error,
                                                                       int error_bytes) {
    using namespace inlay_host;
    Launch launch;
    launch.kernel = nullptr;
    for (const Kernel& each : kernels()) {
        launch.kernel = strcmp(each.name, name) == 0 ? &each : launch.kernel;
    }
    launch.grid = {geometry[0], geometry[1], geometry[2]};
    launch.block = {geometry[3], geometry[4], geometry[5]};
    launch.dynamic_bytes = shared_bytes;
    launch.parameters = parameters;
    launch.error = refusal(launch, name, sizes, count);
    if (launch.error.empty()) {
        const unsigned long long blocks = static_cast<unsigned long long>(launch.grid.x) * launch.grid.y * launch.grid.z;
        std::vector<std::thread> others;
        for (int i = 1; i < cpu_threads() && static_cast<unsigned long long>(i) < blocks; i++) {
            others.emplace_back(work, &launch);
        }
        work(&launch);
        for (std::thread& other : others) {
            other.join();
        }
        if (launch.failed) {
            launch.error = std::string(name) + ": " + launch.error;
        }
    }
    snprintf(error, error_bytes, "%s", launch.error.c_str());
    return launch.error.empty() ? 0 : 1;
}
