// Kernels by name, workers, launches (host.h says what for).
//
// A CPU thread takes a worker, which has a stack for every thread of a block, and takes blocks one after another. It lets the fibers run
// in turn, each until it waits: warp by warp, and when all of a mask's lanes wait for one operation, that is carried out and they go on.
#include "block.h"

#include <elf.h>
#include <link.h>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace inlay_host {

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
        const uintptr_t self = reinterpret_cast<uintptr_t>(&find_segment);
        here = here || (part.p_type == PT_LOAD && self >= from && self < from + part.p_memsz);
        bytes = part.p_type == PT_TLS ? part.p_memsz : bytes;
    }
    if (here) {
        *static_cast<Segment*>(found) = {static_cast<unsigned char*>(info->dlpi_tls_data), bytes};
    }
    return here;
}

// This CPU thread's copy of the library's thread-local memory: the static shared memory of all kernels, and the variables of block.cpp.
static Segment thread_local_memory() {
    Segment found = {};
    dl_iterate_phdr(find_segment, &found);
    return found;
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

static const Kernel* find(const char* name) {
    for (const Kernel& each : kernels()) {
        if (strcmp(each.name, name) == 0) {
            return &each;
        }
    }
    return nullptr;
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
    if (threads == 0 || threads > MOST_THREADS || b.z > 64 || g.x == 0 || g.y == 0 || g.z == 0 || g.x > 0x7fffffffu || g.y > 65535
            || g.z > 65535 || launch.dynamic_bytes > MOST_DYNAMIC) {
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

// The bytes of a kernel's arguments and which are pointers; their number, or -1 where there is no such kernel.
extern "C" __attribute__((visibility("default"))) int inlay_cuda_arguments(
        const char* name, const unsigned char** sizes, const unsigned char** pointers) {
    const inlay_host::Kernel* kernel = inlay_host::find(name);
    if (kernel == nullptr) {
        return -1;
    }
    *sizes = kernel->sizes;
    *pointers = kernel->pointers;
    return kernel->count;
}

// As cuLaunchKernel: `geometry` is grid x y z, block x y z; `parameters` has the address of each argument, `sizes` its bytes, which must be
// the kernel's. Returns when all is done: 0, or 1 with what went wrong in `error`.
extern "C" __attribute__((visibility("default"))) int inlay_cuda_launch(
        const char* name, const unsigned* geometry, unsigned shared_bytes, void** parameters, const unsigned char* sizes, int count,
        char* error, int error_bytes) {
    using namespace inlay_host;
    Launch launch;
    launch.kernel = find(name);
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
