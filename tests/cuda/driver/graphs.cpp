// Capture of streams, and graphs of what was captured: the calls in their order, which is one that all of them may run in.
#include "driver.h"

namespace inlay_driver {

struct Graph {
    std::shared_ptr<Context> context;
    std::vector<Act> acts;
};

struct Executable {
    std::shared_ptr<Context> context;
    std::vector<Act> acts;
    std::shared_ptr<Mark> latest;  // launch, before whose end the next does not begin
};

static Handles<Graph> graphs;
static Handles<Executable> executables;
// Of a thread, which cuThreadExchangeStreamCaptureMode changes.
static thread_local int thread_mode = GLOBAL;

void drop_graphs(const Context& context) {
    const size_t before = graphs.size() + executables.size();
    graphs.remove_if([&](const Graph& each) { return each.context.get() == &context; });
    executables.remove_if([&](const Executable& each) { return each.context.get() == &context; });
    lost += context.fault == SUCCESS ? before - graphs.size() - executables.size() : 0;
}

// What tests count: 0 graphs, 1 executable ones.
size_t graphs_held(int kind) {
    return kind == 0 ? graphs.size() : executables.size();
}

static std::set<std::shared_ptr<Capture>> under_way() {
    std::set<std::shared_ptr<Capture>> all;
    for (const auto& each : streams.all()) {
        if (each.second->capture != nullptr) {
            all.insert(each.second->capture);
        }
    }
    return all;
}

Result potentially_unsafe() {
    Result result = SUCCESS;
    if (thread_mode == RELAXED) {
        return result;
    }
    for (const auto& each : under_way()) {
        const bool own = each->thread == std::this_thread::get_id();
        if (own ? each->mode != RELAXED : each->mode == GLOBAL && thread_mode == GLOBAL) {
            each->invalid = true;
            result = CAPTURE_UNSUPPORTED;
        }
    }
    return result;
}

Result refused_in_capture(Stream& stream) {
    if (stream.capture == nullptr) {
        return stream.context->legacy.get() == &stream ? refused_beside_capture(*stream.context, CAPTURE_IMPLICIT) : SUCCESS;
    }
    const bool invalid = stream.capture->invalid;
    stream.capture->invalid = true;
    return invalid ? CAPTURE_INVALIDATED : CAPTURE_UNSUPPORTED;
}

Result refused_beside_capture(Context& context, Result why) {
    Result result = SUCCESS;
    for (const auto& each : streams.all()) {
        // The legacy stream waits for blocking streams alone, a whole context for all.
        const bool concerned = each.second->blocking || why != CAPTURE_IMPLICIT;
        if (each.second->context.get() == &context && each.second->capture != nullptr && concerned) {
            each.second->capture->invalid = true;
            result = why;
        }
    }
    return result;
}

static Result end(Stream& stream, void** graph) {
    *graph = nullptr;
    auto capture = stream.capture;
    if (capture == nullptr) {
        return ILLEGAL_STATE;
    }
    if (capture->origin.get() != &stream) {
        capture->invalid = true;
        return CAPTURE_UNMATCHED;
    }
    if (capture->mode != RELAXED && capture->thread != std::this_thread::get_id()) {
        return CAPTURE_WRONG_THREAD;
    }
    bool unjoined = false;
    for (const auto& each : capture->joined) {
        unjoined = unjoined || (each.first != &stream && !each.second);
    }
    for (const auto& each : streams.all()) {
        if (each.second->capture == capture) {
            each.second->capture = nullptr;
        }
    }
    if (capture->invalid || unjoined) {
        return capture->invalid ? CAPTURE_INVALIDATED : CAPTURE_UNJOINED;
    }
    auto made = std::make_shared<Graph>();
    *made = {current, capture->acts};
    *graph = graphs.add(made);
    return SUCCESS;
}

static int instantiate(void** executable, void* handle) {
    return call_in_context([&] {
        auto graph = graphs.find(handle);
        if (graph == nullptr || executable == nullptr) {
            return INVALID_VALUE;
        }
        const Result refused = potentially_unsafe();
        if (refused != SUCCESS) {
            return refused;
        }
        auto made = std::make_shared<Executable>();
        *made = {graph->context, graph->acts, nullptr};
        *executable = executables.add(made);
        return SUCCESS;
    });
}

}  // namespace inlay_driver

using namespace inlay_driver;

INLAY_API int cuStreamBeginCapture_v2(void* handle, int mode) {
    return call_in_context([&] {
        auto stream = stream_of(handle);
        if (stream == nullptr) {
            return INVALID_HANDLE;
        }
        if (mode < GLOBAL || mode > RELAXED) {
            return INVALID_VALUE;
        }
        if (stream == current->legacy) {
            return CAPTURE_UNSUPPORTED;
        }
        if (stream->capture != nullptr) {
            return ILLEGAL_STATE;
        }
        stream->capture = std::make_shared<Capture>();
        stream->capture->thread = std::this_thread::get_id();
        stream->capture->mode = mode;
        stream->capture->origin = stream;
        return SUCCESS;
    });
}

INLAY_API int cuStreamEndCapture(void* handle, void** graph) {
    return call_in_context([&] {
        auto stream = stream_of(handle);
        return stream == nullptr ? INVALID_HANDLE : graph == nullptr ? INVALID_VALUE : end(*stream, graph);
    });
}

INLAY_API int cuStreamIsCapturing(void* handle, int* status) {
    return call_in_context([&] {
        auto stream = stream_of(handle);
        if (stream == nullptr) {
            return INVALID_HANDLE;
        }
        *status = stream->capture == nullptr ? 0 : stream->capture->invalid ? 2 : 1;
        return SUCCESS;
    });
}

INLAY_API int cuThreadExchangeStreamCaptureMode(int* mode) {
    return call([&] {
        if (mode == nullptr || *mode < GLOBAL || *mode > RELAXED) {
            return INVALID_VALUE;
        }
        std::swap(*mode, thread_mode);
        return SUCCESS;
    });
}

INLAY_API int cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
    return instantiate(executable, graph);
}

INLAY_API int cuGraphInstantiate(void** executable, void* graph, void**, char*, size_t) {
    return instantiate(executable, graph);
}

INLAY_API int cuGraphInstantiate_v2(void** executable, void* graph, void**, char*, size_t) {
    return instantiate(executable, graph);
}

INLAY_API int cuGraphInstantiateWithParams(void** executable, void* graph, void* parameters) {
    return parameters == nullptr ? INVALID_VALUE : instantiate(executable, graph);
}

INLAY_API int cuGraphGetNodes(void* handle, void** nodes, size_t* count) {
    return call_in_context([&] {
        auto graph = graphs.find(handle);
        if (graph == nullptr || count == nullptr) {
            return INVALID_VALUE;
        }
        *count = graph->acts.size();
        // Their number is all that is told of them.
        return nodes == nullptr ? SUCCESS : NOT_SUPPORTED;
    });
}

INLAY_API int cuGraphUpload(void* executable, void* stream) {
    return call_in_context([&] {
        return executables.find(executable) == nullptr || stream_of(stream) == nullptr ? INVALID_VALUE : SUCCESS;
    });
}

INLAY_API int cuGraphLaunch(void* handle, void* stream_handle) {
    return call_in_context([&] {
        auto executable = executables.find(handle);
        auto stream = stream_of(stream_handle);
        if (executable == nullptr || stream == nullptr) {
            return INVALID_VALUE;
        }
        const bool waits = stream->capture == nullptr && executable->latest != nullptr;
        // Refused before anything is queued.
        const Result refused = submit(*stream, [] { return SUCCESS; });
        if (refused != SUCCESS) {
            return refused;
        }
        if (waits) {
            await(*stream, executable->latest);
        }
        for (const Act& each : executable->acts) {
            submit(*stream, each);
        }
        if (stream->capture == nullptr) {
            executable->latest = mark(*stream);
        }
        return SUCCESS;
    });
}

INLAY_API int cuGraphExecDestroy(void* executable) {
    return call_in_context([&] { return executables.remove(executable) ? SUCCESS : INVALID_VALUE; });
}

INLAY_API int cuGraphDestroy(void* graph) {
    return call_in_context([&] { return graphs.remove(graph) ? SUCCESS : INVALID_VALUE; });
}
