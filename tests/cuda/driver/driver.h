// libcuda.so.1 on the CPU: NVIDIA's driver API, as far as Inlay calls it, over the kernels that tests/cuda/build.sh compiles.
//
// It holds callers to what NVIDIA documents, and where that leaves a choice makes the one that shows a mistake. What a stream is given is
// done as late as may be: when somebody waits for it, or asks whether it has come. Only the stream that is waited for goes on, with what
// it must wait for itself. Handles are numbers that never come again. Device memory can be touched by nobody while the driver is not at
// work, and no address of it is given out twice, so that what was given back too early is missed.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#define INLAY_API extern "C" __attribute__((visibility("default")))

namespace inlay_driver {

// Of cuda.h, with the texts in device.cpp.
enum Result : int {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    NO_BINARY_FOR_GPU = 209,
    INVALID_PTX = 218,
    UNSUPPORTED_PTX_VERSION = 222,
    INVALID_SOURCE = 300,
    INVALID_HANDLE = 400,
    ILLEGAL_STATE = 401,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_OUT_OF_RESOURCES = 701,
    CONTEXT_IS_DESTROYED = 709,
    HOST_MEMORY_ALREADY_REGISTERED = 712,
    HOST_MEMORY_NOT_REGISTERED = 713,
    MISALIGNED_ADDRESS = 716,
    LAUNCH_FAILED = 719,
    NOT_SUPPORTED = 801,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    CAPTURE_MERGE = 902,
    CAPTURE_UNMATCHED = 903,
    CAPTURE_UNJOINED = 904,
    CAPTURE_ISOLATION = 905,
    CAPTURE_IMPLICIT = 906,
    CAPTURED_EVENT = 907,
    CAPTURE_WRONG_THREAD = 908,
};

// What the machine is said to have; tests change it (control.cpp).
struct Machine {
    int version = 13000;
    int devices = 2;
    int major = 9, minor = 0;
    // Whether devices read and write the host's pageable memory by themselves, as Grace Hopper's do.
    bool pageable = false;
    // Bytes of the host's memory that may be page-locked.
    size_t lockable = size_t{1} << 30;
};
extern Machine machine;

// One call at a time, and all work of all devices within calls.
extern std::recursive_mutex lock;

// Objects by handles.
template <typename T>
class Handles {
public:
    void* add(std::shared_ptr<T> object);
    std::shared_ptr<T> find(const void* handle) const {
        auto found = objects.find(handle);
        return found == objects.end() ? nullptr : found->second;
    }
    bool remove(const void* handle) { return objects.erase(handle) > 0; }
    size_t size() const { return objects.size(); }
    const std::map<const void*, std::shared_ptr<T>>& all() const { return objects; }
    template <typename F>
    void remove_if(F gone) {
        for (auto each = objects.begin(); each != objects.end();) {
            each = gone(*each->second) ? objects.erase(each) : std::next(each);
        }
    }

private:
    std::map<const void*, std::shared_ptr<T>> objects;
};
void* next_handle();
template <typename T>
void* Handles<T>::add(std::shared_ptr<T> object) {
    void* handle = next_handle();
    objects[handle] = std::move(object);
    return handle;
}

// ---- contexts ----

struct Stream;

struct Context {
    int device;
    int retained = 0;
    bool destroyed = false;
    Result fault = SUCCESS;  // of work; every call has it from then on
    std::shared_ptr<Stream> legacy;
};
extern Handles<Context> contexts;
extern thread_local std::shared_ptr<Context> current;

// A call that needs no context, and one that needs the thread's.
int call(const std::function<Result()>& body);
int call_in_context(const std::function<Result()>& body);

// ---- streams and what they do ----

typedef std::function<Result()> Act;

struct Capture;

// What cuEventRecord leaves in a stream, or in a capture.
struct Mark {
    std::shared_ptr<Stream> stream;
    uint64_t order = 0;
    bool reached = false;
    std::shared_ptr<Capture> capture;
};

struct Work {
    uint64_t order;
    Act act;
    std::shared_ptr<Mark> waits, marks;
};

struct Stream : std::enable_shared_from_this<Stream> {
    std::shared_ptr<Context> context;
    bool blocking = true;  // waits for the legacy stream's work, and that for its
    std::deque<Work> work;
    std::shared_ptr<Capture> capture;
};
extern Handles<Stream> streams;

struct Event {
    std::shared_ptr<Context> context;
    unsigned flags;
    std::shared_ptr<Mark> latest;
};
extern Handles<Event> events;

// The stream of a handle in the thread's context; null where it is none.
std::shared_ptr<Stream> stream_of(const void* handle);
// Gives a stream something to do, or its capture.
Result submit(Stream& stream, Act act);
std::shared_ptr<Mark> mark(Stream& stream);
void await(Stream& stream, const std::shared_ptr<Mark>& mark);
// Does what the stream was given up to this order.
void run(Stream& stream, uint64_t order = UINT64_MAX);
void run_all(Context& context);
// Everything that is queued anywhere in the context.
size_t pending(const Context& context);

// ---- capture (graphs.cpp) ----

struct Capture {
    std::thread::id thread;
    int mode;
    bool invalid = false;
    std::shared_ptr<Stream> origin;
    // Of streams that joined, whether what they captured last is waited for.
    std::map<Stream*, bool> joined;
    std::vector<Act> acts;
};
enum CaptureMode { GLOBAL = 0, THREAD_LOCAL = 1, RELAXED = 2 };

// For calls that are not part of what is captured but could be thought to be: refused while it matters, which ends the capture.
Result potentially_unsafe();
// For calls that wait for this stream.
Result refused_in_capture(Stream& stream);
// For calls on a context's legacy stream, or on all of its streams.
Result refused_beside_capture(Context& context, Result why);

// ---- memory ----

bool on_device(const void* at, size_t bytes);
bool page_locked(const void* at, size_t bytes);
// Lets kernels and copies at device memory while it lives.
struct Reach {
    Reach();
    ~Reach();
};
void forget_memory(const Context& context);

// ---- modules ----

struct Entry {
    std::vector<unsigned char> sizes;  // of its arguments; empty and not known for a cubin
    bool sizes_known;
    size_t shared;  // static
    unsigned most_threads;
};

struct Module {
    std::shared_ptr<Context> context;
    std::map<std::string, Entry> entries;
    bool unloaded = false;
};
extern Handles<Module> modules;

struct Function {
    std::shared_ptr<Module> module;
    std::string name;
    Entry entry;
    std::vector<unsigned char> sizes, pointers;
    size_t most_dynamic;
};
extern Handles<Function> functions;

// Reads PTX or a cubin.
Result read_image(const void* image, std::map<std::string, Entry>& entries);
size_t most_shared();
const size_t PLAIN_SHARED = 48 << 10;

// Says on the standard error stream, and keeps for tests, what a code cannot tell.
void complain(const std::string& text);

// What tests count: allocated (0) and page-locked (1) memory, graphs (0) and executable ones (1), and what was still there when its context
// was destroyed.
size_t ranges(int kind);
size_t graphs_held(int kind);
extern size_t lost;
void drop_graphs(const Context& context);
void drop_contexts();

}  // namespace inlay_driver
