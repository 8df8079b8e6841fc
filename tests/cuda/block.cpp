// What a block's threads do with each other: barriers, copies, failures, and the turns in which they run.
#include "block.h"

#include <sys/mman.h>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace inlay_host {

__thread const Place* place;
__thread Worker* worker;

Worker::Worker() {
    stacks = static_cast<unsigned char*>(mmap(nullptr, STACK_STRIDE * MOST_THREADS, PROT_READ | PROT_WRITE,
                                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    dynamic = static_cast<unsigned char*>(aligned_alloc(1024, ((MOST_DYNAMIC + CANARY) / 1024 + 1) * 1024));
    if (stacks == MAP_FAILED || dynamic == nullptr) {
        abort();
    }
}

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

const char* base_name(const char* path) {
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

// ---- the turns ----

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
                 base_name(fibers[0].file), fibers[0].line, where(fibers[thread]).c_str(), base_name(fibers[thread].file),
                 fibers[thread].line);
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
        for (const auto& group : fibers[thread].groups) {
            if (!group.empty()) {
                fail("%s ended before its copies to shared memory were waited for", where(fibers[thread]).c_str());
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

}  // namespace inlay_host
