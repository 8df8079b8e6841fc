// What tests ask of the stand-in and tell it, and what Inlay looks for in libtorch's CUDA part, so that an upload finds a current stream.
#include "driver.h"

#include <cstdio>

namespace inlay_driver {

static std::string last_complaint;

void complain(const std::string& text) {
    last_complaint = text;
    fprintf(stderr, "libcuda.so.1 on the CPU: %s\n", text.c_str());
}

static thread_local void* computing;

}  // namespace inlay_driver

using namespace inlay_driver;

// Another machine from now on.
INLAY_API void inlay_driver_machine(int version, int devices, int major, int minor, int pageable) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    machine = {version, devices, major, minor, pageable != 0, machine.lockable};
}

INLAY_API void inlay_driver_lockable(long long bytes) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    machine.lockable = bytes;
}

// By kind, what is there: contexts (counted as retained), modules, streams, events, device memory, page-locked memory, graphs, executable
// graphs, and what was there yet when its context was destroyed.
INLAY_API void inlay_driver_held(long long* counts) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    counts[0] = 0;
    for (const auto& each : contexts.all()) {
        counts[0] += each.second->retained;
    }
    counts[1] = modules.size();
    counts[2] = streams.size();
    counts[3] = events.size();
    counts[4] = ranges(0);
    counts[5] = ranges(1);
    counts[6] = graphs_held(0);
    counts[7] = graphs_held(1);
    counts[8] = lost;
}

// As if nobody had used the driver yet.
INLAY_API void inlay_driver_restart() {
    std::lock_guard<std::recursive_mutex> guard(lock);
    drop_contexts();
    lost = 0;
}

// Work that the device's context has queued.
INLAY_API long long inlay_driver_pending(int device) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    for (const auto& each : contexts.all()) {
        if (each.second->device == device) {
            return pending(*each.second);
        }
    }
    return 0;
}

// The words that came with the last error of a kernel or a copy.
INLAY_API const char* inlay_driver_complaint() {
    return last_complaint.c_str();
}

// ---- libtorch's ----

INLAY_API void inlay_driver_compute_on(void* stream) {
    computing = stream;
}

INLAY_API int aoti_torch_get_current_cuda_stream(int, void** stream) {
    *stream = computing;
    return 0;
}

INLAY_API int cudaRuntimeGetVersion(int* version) {
    *version = machine.version;
    return 0;
}

INLAY_API int aoti_torch_cuda_mm_out(void*, void*, void*) {
    return 1;
}

INLAY_API int aoti_torch_cuda_addmm_out(void*, void*, void*, void*, double, double) {
    return 1;
}
