// Initialisation, errors, devices, primary contexts.
#include "driver.h"

#include <cstdio>
#include <cstring>

namespace inlay_driver {

Machine machine;
std::recursive_mutex lock;
Handles<Context> contexts;
thread_local std::shared_ptr<Context> current;
size_t lost;

static bool initialised;
static std::map<int, void*> primaries;

struct Text {
    Result code;
    const char* name;
    const char* words;
};

// Names and words are the driver's own.
static const Text TEXTS[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {UNSUPPORTED_PTX_VERSION, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
    {INVALID_SOURCE, "CUDA_ERROR_INVALID_SOURCE", "device kernel image is invalid"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {CONTEXT_IS_DESTROYED, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {HOST_MEMORY_ALREADY_REGISTERED, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
     "part or all of the requested memory range is already mapped"},
    {HOST_MEMORY_NOT_REGISTERED, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", "pointer does not correspond to a registered memory region"},
    {MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {CAPTURE_MERGE, "CUDA_ERROR_STREAM_CAPTURE_MERGE", "operation would result in a merge of separate capture sequences"},
    {CAPTURE_UNMATCHED, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "capture was not ended in the same stream as it began"},
    {CAPTURE_UNJOINED, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capturing stream has unjoined work"},
    {CAPTURE_ISOLATION, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "dependency created on uncaptured work in another stream"},
    {CAPTURE_IMPLICIT, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {CAPTURED_EVENT, "CUDA_ERROR_CAPTURED_EVENT", "operation not permitted on an event last recorded in a capturing stream"},
    {CAPTURE_WRONG_THREAD, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
     "attempt to terminate a thread-local capture sequence from another thread"},
};

static const Text* text(int code) {
    for (const Text& each : TEXTS) {
        if (each.code == code) {
            return &each;
        }
    }
    return nullptr;
}

void* next_handle() {
    static uintptr_t last = 0x7700000;
    return reinterpret_cast<void*>(last += 16);
}

int call(const std::function<Result()>& body) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    return initialised ? body() : NOT_INITIALIZED;
}

int call_in_context(const std::function<Result()>& body) {
    return call([&] {
        if (current == nullptr) {
            return INVALID_CONTEXT;
        }
        if (current->destroyed) {
            return CONTEXT_IS_DESTROYED;
        }
        if (current->fault != SUCCESS) {
            return current->fault;
        }
        const Result result = body();
        return result == SUCCESS ? current->fault : result;
    });
}

static bool exists(int device) {
    return device >= 0 && device < machine.devices;
}

static Result attribute(int* value, int which) {
    switch (which) {
        case 1: case 2: case 3: *value = 1024; return SUCCESS;                     // MAX_THREADS_PER_BLOCK, MAX_BLOCK_DIM_X, _Y
        case 4: *value = 64; return SUCCESS;                                      // MAX_BLOCK_DIM_Z
        case 5: *value = 0x7fffffff; return SUCCESS;                              // MAX_GRID_DIM_X
        case 6: case 7: *value = 65535; return SUCCESS;                           // MAX_GRID_DIM_Y, _Z
        case 8: *value = PLAIN_SHARED; return SUCCESS;                            // MAX_SHARED_MEMORY_PER_BLOCK
        case 10: *value = 32; return SUCCESS;                                     // WARP_SIZE
        case 16: *value = 108; return SUCCESS;                                    // MULTIPROCESSOR_COUNT
        case 41: *value = 1; return SUCCESS;                                      // UNIFIED_ADDRESSING
        case 75: *value = machine.major; return SUCCESS;                          // COMPUTE_CAPABILITY_MAJOR
        case 76: *value = machine.minor; return SUCCESS;                          // COMPUTE_CAPABILITY_MINOR
        case 88: *value = machine.pageable; return SUCCESS;                       // PAGEABLE_MEMORY_ACCESS
        case 97: *value = static_cast<int>(most_shared()); return SUCCESS;        // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        default: return INVALID_VALUE;
    }
}

static void destroy(Context& context) {
    const auto ours = [&](const auto& each) { return each.context.get() == &context; };
    const size_t before = streams.size() + events.size() + modules.size();
    streams.remove_if(ours);
    events.remove_if(ours);
    functions.remove_if([&](const Function& each) { return each.module->context.get() == &context; });
    modules.remove_if(ours);
    if (context.fault == SUCCESS) {
        lost += before - streams.size() - events.size() - modules.size();
    }
    drop_graphs(context);
    forget_memory(context);
    context.legacy->context = nullptr;
    context.legacy = nullptr;
    context.destroyed = true;
}

void drop_contexts() {
    for (const auto& each : contexts.all()) {
        destroy(*each.second);
    }
    contexts.remove_if([](const Context&) { return true; });
    primaries.clear();
    initialised = false;
}

}  // namespace inlay_driver

using namespace inlay_driver;

INLAY_API int cuInit(unsigned flags) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (flags != 0) {
        return INVALID_VALUE;
    }
    if (machine.devices == 0) {
        return NO_DEVICE;
    }
    initialised = true;
    return SUCCESS;
}

INLAY_API int cuGetErrorString(int error, const char** words) {
    const Text* found = text(error);
    *words = found == nullptr ? nullptr : found->words;
    return found == nullptr ? INVALID_VALUE : SUCCESS;
}

INLAY_API int cuGetErrorName(int error, const char** name) {
    const Text* found = text(error);
    *name = found == nullptr ? nullptr : found->name;
    return found == nullptr ? INVALID_VALUE : SUCCESS;
}

INLAY_API int cuDriverGetVersion(int* version) {
    if (version == nullptr) {
        return INVALID_VALUE;
    }
    *version = machine.version;
    return SUCCESS;
}

INLAY_API int cuDeviceGetCount(int* count) {
    return call([&] {
        *count = machine.devices;
        return SUCCESS;
    });
}

INLAY_API int cuDeviceGet(int* device, int ordinal) {
    return call([&] {
        *device = ordinal;
        return exists(ordinal) ? SUCCESS : INVALID_DEVICE;
    });
}

INLAY_API int cuDeviceGetName(char* name, int length, int device) {
    return call([&] {
        if (!exists(device)) {
            return INVALID_DEVICE;
        }
        snprintf(name, length, "Inlay CPU as GPU %d", device);
        return SUCCESS;
    });
}

INLAY_API int cuDeviceGetAttribute(int* value, int which, int device) {
    return call([&] { return exists(device) ? attribute(value, which) : INVALID_DEVICE; });
}

// ---- contexts ----

INLAY_API int cuDevicePrimaryCtxRetain(void** context, int device) {
    return call([&] {
        if (!exists(device)) {
            return INVALID_DEVICE;
        }
        if (primaries.count(device) == 0) {
            auto made = std::make_shared<Context>();
            made->device = device;
            made->legacy = std::make_shared<Stream>();
            made->legacy->context = made;
            primaries[device] = contexts.add(made);
        }
        *context = primaries[device];
        contexts.find(*context)->retained++;
        return SUCCESS;
    });
}

INLAY_API int cuDevicePrimaryCtxRelease_v2(int device) {
    return call([&] {
        if (!exists(device)) {
            return INVALID_DEVICE;
        }
        if (primaries.count(device) == 0) {
            return INVALID_CONTEXT;
        }
        auto context = contexts.find(primaries[device]);
        if (--context->retained == 0) {
            destroy(*context);
            contexts.remove(primaries[device]);
            primaries.erase(device);
        }
        return SUCCESS;
    });
}

INLAY_API int cuDevicePrimaryCtxGetState(int device, unsigned* flags, int* active) {
    return call([&] {
        *flags = 0;
        *active = primaries.count(device) > 0;
        return exists(device) ? SUCCESS : INVALID_DEVICE;
    });
}

INLAY_API int cuCtxSetCurrent(void* context) {
    return call([&] {
        if (context == nullptr) {
            current = nullptr;
            return SUCCESS;
        }
        auto found = contexts.find(context);
        if (found == nullptr) {
            return INVALID_CONTEXT;
        }
        current = found;
        return current->fault;
    });
}

INLAY_API int cuCtxGetCurrent(void** context) {
    return call([&] {
        *context = nullptr;
        for (const auto& each : contexts.all()) {
            if (each.second == current) {
                *context = const_cast<void*>(each.first);
            }
        }
        return SUCCESS;
    });
}

INLAY_API int cuCtxSynchronize() {
    return call_in_context([&] {
        const Result refused = refused_beside_capture(*current, CAPTURE_UNSUPPORTED);
        if (refused != SUCCESS) {
            return refused;
        }
        run_all(*current);
        return SUCCESS;
    });
}
