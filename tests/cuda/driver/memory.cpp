// Device memory, page-locked memory, copies.
#include "driver.h"

#include <cstring>
#include <sys/mman.h>

namespace inlay_driver {

struct Range {
    size_t bytes;
    const Context* context;
    bool ours = true;  // from cuMemHostAlloc
};

typedef std::map<uintptr_t, Range> Ranges;
static Ranges allocated, locked;

// A device's memory, and the addresses that it has for all that will ever be allocated.
static const size_t MEMORY = size_t{4} << 30;
static const size_t ADDRESSES = size_t{1} << 36;
static const size_t PAGE = 4096;
static uintptr_t first_address, next_address;
static int reached;

// The range with all of these bytes; their end may be its end.
static Ranges::iterator within(Ranges& ranges, uintptr_t at, size_t bytes) {
    auto after = ranges.upper_bound(at);
    if (after == ranges.begin()) {
        return ranges.end();
    }
    --after;
    return at + bytes <= after->first + after->second.bytes ? after : ranges.end();
}

static bool overlaps(const Ranges& ranges, uintptr_t at, size_t bytes) {
    for (const auto& each : ranges) {
        if (at < each.first + each.second.bytes && each.first < at + bytes) {
            return true;
        }
    }
    return false;
}

static size_t pages(size_t bytes) {
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static bool device_address(uintptr_t at) {
    return first_address != 0 && at >= first_address && at < first_address + ADDRESSES;
}

bool on_device(const void* memory, size_t bytes) {
    const uintptr_t at = reinterpret_cast<uintptr_t>(memory);
    if (device_address(at)) {
        return within(allocated, at, bytes) != allocated.end();
    }
    return machine.pageable || within(locked, at, bytes) != locked.end();
}

bool page_locked(const void* memory, size_t bytes) {
    return within(locked, reinterpret_cast<uintptr_t>(memory), bytes) != locked.end();
}

static void protect(int protection) {
    for (const auto& each : allocated) {
        mprotect(reinterpret_cast<void*>(each.first), pages(each.second.bytes), protection);
    }
}

Reach::Reach() {
    if (reached++ == 0) {
        protect(PROT_READ | PROT_WRITE);
    }
}

Reach::~Reach() {
    if (--reached == 0) {
        protect(PROT_NONE);
    }
}

static size_t taken(const Context& context) {
    size_t all = 0;
    for (const auto& each : allocated) {
        all += each.second.context == &context ? each.second.bytes : 0;
    }
    return all;
}

// As of cuMemAlloc: aligned to 256 bytes, which lie in pages of their own with one that nobody has behind.
static Result allocate(uint64_t* address, size_t bytes) {
    if (bytes == 0 || address == nullptr) {
        return INVALID_VALUE;
    }
    if (first_address == 0) {
        void* all = mmap(nullptr, ADDRESSES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (all == MAP_FAILED) {
            return OUT_OF_MEMORY;
        }
        first_address = next_address = reinterpret_cast<uintptr_t>(all);
    }
    if (bytes > MEMORY - taken(*current) || next_address + pages(bytes) + PAGE > first_address + ADDRESSES) {
        return OUT_OF_MEMORY;
    }
    const uintptr_t at = next_address;
    next_address += pages(bytes) + PAGE;
    mprotect(reinterpret_cast<void*>(at), pages(bytes), PROT_READ | PROT_WRITE);
    memset(reinterpret_cast<void*>(at), 0xff, pages(bytes));
    if (reached == 0) {
        mprotect(reinterpret_cast<void*>(at), pages(bytes), PROT_NONE);
    }
    allocated[at] = {bytes, current.get()};
    *address = at;
    return SUCCESS;
}

static void give_back(Ranges::iterator range) {
    mmap(reinterpret_cast<void*>(range->first), pages(range->second.bytes), PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    allocated.erase(range);
}

static void unlock(Ranges::iterator range) {
    if (range->second.ours) {
        munmap(reinterpret_cast<void*>(range->first), pages(range->second.bytes));
    }
    locked.erase(range);
}

void forget_memory(const Context& context) {
    for (auto each = allocated.begin(); each != allocated.end();) {
        auto next = std::next(each);
        if (each->second.context == &context) {
            lost += context.fault == SUCCESS;
            give_back(each);
        }
        each = next;
    }
    for (auto each = locked.begin(); each != locked.end();) {
        auto next = std::next(each);
        if (each->second.context == &context) {
            lost += context.fault == SUCCESS;
            unlock(each);
        }
        each = next;
    }
}

// What tests count: 0 allocated, 1 page-locked.
size_t ranges(int kind) {
    return kind == 0 ? allocated.size() : locked.size();
}

// ---- copies ----

static Act copied(void* to, const void* from, size_t bytes) {
    return [=] {
        // Whoever gave the memory back meanwhile did so too early.
        for (const void* each : {static_cast<const void*>(to), from}) {
            if (device_address(reinterpret_cast<uintptr_t>(each)) && !on_device(each, bytes)) {
                complain("a copy came to memory that had been given back");
                return ILLEGAL_ADDRESS;
            }
        }
        memcpy(to, from, bytes);
        return SUCCESS;
    };
}

// From page-locked memory when it is done, and then only if that is still there.
static Act copied_from_locked(void* to, const void* from, size_t bytes) {
    return [=] {
        if (!page_locked(from, bytes)) {
            complain("a copy came to page-locked memory that had been given back");
            return ILLEGAL_ADDRESS;
        }
        return copied(to, from, bytes)();
    };
}

static Result refused_pageable(Stream& stream) {
    return stream.capture == nullptr ? SUCCESS : refused_in_capture(stream);
}

static Result to_device(void* to, const void* from, size_t bytes, Stream& stream) {
    if (bytes == 0) {
        return SUCCESS;
    }
    if (from == nullptr || !on_device(to, bytes) || device_address(reinterpret_cast<uintptr_t>(from))) {
        return INVALID_VALUE;
    }
    if (page_locked(from, bytes)) {
        return submit(stream, copied_from_locked(to, from, bytes));
    }
    const Result refused = refused_pageable(stream);
    if (refused != SUCCESS) {
        return refused;
    }
    const auto* first = static_cast<const unsigned char*>(from);
    auto staged = std::make_shared<std::vector<unsigned char>>(first, first + bytes);
    return submit(stream, [=] { return copied(to, staged->data(), staged->size())(); });
}

static Result to_host(void* to, const void* from, size_t bytes, Stream& stream) {
    if (bytes == 0) {
        return SUCCESS;
    }
    if (to == nullptr || !on_device(from, bytes) || device_address(reinterpret_cast<uintptr_t>(to))) {
        return INVALID_VALUE;
    }
    if (page_locked(to, bytes)) {
        return submit(stream, [=] {
            if (!page_locked(to, bytes)) {
                complain("a copy came to page-locked memory that had been given back");
                return ILLEGAL_ADDRESS;
            }
            return copied(to, from, bytes)();
        });
    }
    const Result refused = refused_pageable(stream);
    if (refused != SUCCESS) {
        return refused;
    }
    const Result result = submit(stream, copied(to, from, bytes));
    if (result == SUCCESS) {
        run(stream);
    }
    return result;
}

static Result on_stream(void* handle, const std::function<Result(Stream&)>& body) {
    auto stream = stream_of(handle);
    return stream == nullptr ? INVALID_HANDLE : body(*stream);
}

static void* pointer(uint64_t address) {
    return reinterpret_cast<void*>(address);
}

}  // namespace inlay_driver

using namespace inlay_driver;

INLAY_API int cuMemGetInfo_v2(size_t* free, size_t* total) {
    return call_in_context([&] {
        *free = MEMORY - taken(*current);
        *total = MEMORY;
        return SUCCESS;
    });
}

INLAY_API int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
    return call_in_context([&] {
        const Result refused = potentially_unsafe();
        return refused != SUCCESS ? refused : allocate(address, bytes);
    });
}

INLAY_API int cuMemFree_v2(uint64_t address) {
    return call_in_context([&] {
        const Result refused = potentially_unsafe();
        if (refused != SUCCESS || address == 0) {
            return refused;
        }
        auto range = allocated.find(address);
        if (range == allocated.end()) {
            return INVALID_VALUE;
        }
        give_back(range);
        return SUCCESS;
    });
}

INLAY_API int cuMemHostAlloc(void** memory, size_t bytes, unsigned flags) {
    return call_in_context([&] {
        const Result refused = potentially_unsafe();
        if (refused != SUCCESS) {
            return refused;
        }
        if (bytes == 0 || flags > 7 || memory == nullptr) {
            return INVALID_VALUE;
        }
        size_t already = 0;
        for (const auto& each : locked) {
            already += each.second.bytes;
        }
        if (already + bytes > machine.lockable) {
            return OUT_OF_MEMORY;
        }
        void* made = mmap(nullptr, pages(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (made == MAP_FAILED) {
            return OUT_OF_MEMORY;
        }
        locked[reinterpret_cast<uintptr_t>(made)] = {bytes, current.get()};
        *memory = made;
        return SUCCESS;
    });
}

static int give_back_locked(void* memory, bool ours, Result unknown) {
    return call_in_context([&] {
        const Result refused = potentially_unsafe();
        if (refused != SUCCESS) {
            return refused;
        }
        auto range = locked.find(reinterpret_cast<uintptr_t>(memory));
        if (range == locked.end() || range->second.ours != ours) {
            return unknown;
        }
        unlock(range);
        return SUCCESS;
    });
}

INLAY_API int cuMemFreeHost(void* memory) {
    return give_back_locked(memory, true, INVALID_VALUE);
}

INLAY_API int cuMemHostUnregister(void* memory) {
    return give_back_locked(memory, false, HOST_MEMORY_NOT_REGISTERED);
}

INLAY_API int cuMemHostRegister_v2(void* memory, size_t bytes, unsigned flags) {
    return call_in_context([&] {
        const uintptr_t at = reinterpret_cast<uintptr_t>(memory);
        if (memory == nullptr || bytes == 0 || flags > 15) {
            return INVALID_VALUE;
        }
        if (overlaps(locked, at, bytes)) {
            return HOST_MEMORY_ALREADY_REGISTERED;
        }
        locked[at] = {bytes, current.get(), false};
        return SUCCESS;
    });
}

INLAY_API int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void* stream) {
    return call_in_context([&] {
        return on_stream(stream, [&](Stream& found) { return to_device(pointer(to), from, bytes, found); });
    });
}

INLAY_API int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void* stream) {
    return call_in_context([&] {
        return on_stream(stream, [&](Stream& found) { return to_host(to, pointer(from), bytes, found); });
    });
}

INLAY_API int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void* stream) {
    return call_in_context([&] {
        return on_stream(stream, [&](Stream& found) {
            if (bytes == 0) {
                return SUCCESS;
            }
            if (!on_device(pointer(to), bytes) || !on_device(pointer(from), bytes)) {
                return INVALID_VALUE;
            }
            return submit(found, copied(pointer(to), pointer(from), bytes));
        });
    });
}

INLAY_API int cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) {
    return call_in_context([&] {
        const Result result = to_device(pointer(to), from, bytes, *current->legacy);
        if (result == SUCCESS && page_locked(from, bytes)) {
            run(*current->legacy);
        }
        return result;
    });
}

INLAY_API int cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes) {
    return call_in_context([&] {
        const Result result = to_host(to, pointer(from), bytes, *current->legacy);
        if (result == SUCCESS) {
            run(*current->legacy);
        }
        return result;
    });
}
