// Streams, events, and when work is done: see driver.h.
#include "driver.h"

#include <algorithm>

namespace inlay_driver {

Handles<Stream> streams;
Handles<Event> events;

// Of all work, in the order of the calls.
static uint64_t asked;
// What one stream may have before it goes on by itself.
static const size_t LONG_QUEUE = 512;
// Destroyed with work to do, which they do yet.
static std::vector<std::shared_ptr<Stream>> leaving;

// CU_STREAM_LEGACY; CU_STREAM_PER_THREAD is 2.
static const void* const LEGACY = reinterpret_cast<void*>(1);

std::shared_ptr<Stream> stream_of(const void* handle) {
    if (handle == nullptr || handle == LEGACY) {
        return current->legacy;
    }
    auto found = streams.find(handle);
    return found != nullptr && found->context == current ? found : nullptr;
}

static bool legacy(const Stream& stream) {
    return stream.context->legacy.get() == &stream;
}

static void run_blocking(Context& context, uint64_t order) {
    std::vector<std::shared_ptr<Stream>> all(leaving);
    for (const auto& each : streams.all()) {
        all.push_back(each.second);
    }
    for (const auto& each : all) {
        if (each->context.get() == &context && each->blocking) {
            run(*each, order);
        }
    }
}

void run(Stream& stream, uint64_t order) {
    if (stream.work.empty() || stream.work.front().order > order) {
        return;
    }
    Reach reach;
    std::shared_ptr<Context> context = stream.context;
    while (!stream.work.empty() && stream.work.front().order <= order) {
        const uint64_t before = stream.work.front().order - 1;
        if (legacy(stream)) {
            run_blocking(*context, before);
        } else if (stream.blocking) {
            run(*context->legacy, before);
        }
        const auto waits = stream.work.front().waits;
        if (waits != nullptr && !waits->reached) {
            run(*waits->stream, waits->order);
        }
        const Work next = std::move(stream.work.front());
        stream.work.pop_front();
        if (next.act != nullptr && context->fault == SUCCESS) {
            context->fault = next.act();
        }
        if (next.marks != nullptr) {
            next.marks->reached = true;
        }
    }
}

void run_all(Context& context) {
    for (const auto& each : streams.all()) {
        if (each.second->context.get() == &context) {
            run(*each.second);
        }
    }
    for (const auto& each : leaving) {
        if (each->context.get() == &context) {
            run(*each);
        }
    }
    run(*context.legacy);
    leaving.erase(std::remove_if(leaving.begin(), leaving.end(), [](const auto& each) { return each->work.empty(); }), leaving.end());
}

size_t pending(const Context& context) {
    size_t found = context.legacy->work.size();
    for (const auto& each : streams.all()) {
        found += each.second->context.get() == &context ? each.second->work.size() : 0;
    }
    for (const auto& each : leaving) {
        found += each->context.get() == &context ? each->work.size() : 0;
    }
    return found;
}

static void give(Stream& stream, Act act, std::shared_ptr<Mark> waits, std::shared_ptr<Mark> marks) {
    stream.work.push_back({++asked, std::move(act), std::move(waits), std::move(marks)});
    if (stream.work.size() > LONG_QUEUE) {
        run(stream, stream.work[LONG_QUEUE / 2].order);
    }
}

static Result refused_on(Stream& stream) {
    if (stream.capture != nullptr) {
        return stream.capture->invalid ? CAPTURE_INVALIDATED : SUCCESS;
    }
    return legacy(stream) ? refused_beside_capture(*stream.context, CAPTURE_IMPLICIT) : SUCCESS;
}

Result submit(Stream& stream, Act act) {
    const Result refused = refused_on(stream);
    if (refused != SUCCESS) {
        return refused;
    }
    if (stream.capture != nullptr) {
        stream.capture->acts.push_back(std::move(act));
        stream.capture->joined[&stream] = false;
    } else {
        give(stream, std::move(act), nullptr, nullptr);
    }
    return SUCCESS;
}

std::shared_ptr<Mark> mark(Stream& stream) {
    auto made = std::make_shared<Mark>();
    made->stream = stream.shared_from_this();
    if (stream.capture != nullptr) {
        made->capture = stream.capture;
        made->order = stream.capture->acts.size();
    } else {
        give(stream, nullptr, nullptr, made);
        made->order = asked;
        made->reached = stream.work.empty();
    }
    return made;
}

void await(Stream& stream, const std::shared_ptr<Mark>& mark) {
    give(stream, nullptr, mark, nullptr);
}

static Result wait_in_capture(Stream& stream, const std::shared_ptr<Mark>& mark) {
    if (mark->capture == nullptr) {
        stream.capture->invalid = true;
        return CAPTURE_ISOLATION;
    }
    if (mark->capture != stream.capture) {
        if (stream.capture != nullptr) {
            stream.capture->invalid = mark->capture->invalid = true;
            return CAPTURE_MERGE;
        }
        if (legacy(stream)) {
            mark->capture->invalid = true;
            return CAPTURE_IMPLICIT;
        }
        stream.capture = mark->capture;
    }
    stream.capture->joined[mark->stream.get()] = true;
    stream.capture->joined[&stream] = false;
    return SUCCESS;
}

// For an event whose latest record is in a capture, of which nobody can ask or wait for it.
static Result captured(const Event& event) {
    if (event.latest == nullptr || event.latest->capture == nullptr) {
        return SUCCESS;
    }
    event.latest->capture->invalid = true;
    return CAPTURED_EVENT;
}

}  // namespace inlay_driver

using namespace inlay_driver;

// ---- streams ----

INLAY_API int cuStreamCreate(void** stream, unsigned flags) {
    return call_in_context([&] {
        if (flags > 1 || stream == nullptr) {
            return INVALID_VALUE;
        }
        auto made = std::make_shared<Stream>();
        made->context = current;
        made->blocking = flags == 0;
        *stream = streams.add(made);
        return SUCCESS;
    });
}

INLAY_API int cuStreamDestroy_v2(void* handle) {
    return call_in_context([&] {
        auto stream = streams.find(handle);
        if (stream == nullptr || stream->context != current) {
            return INVALID_HANDLE;
        }
        if (stream->capture != nullptr) {
            stream->capture->invalid = true;
        }
        if (!stream->work.empty()) {
            leaving.push_back(stream);
        }
        streams.remove(handle);
        return SUCCESS;
    });
}

INLAY_API int cuStreamSynchronize(void* handle) {
    return call_in_context([&] {
        auto stream = stream_of(handle);
        if (stream == nullptr) {
            return INVALID_HANDLE;
        }
        const Result refused = refused_in_capture(*stream);
        if (refused == SUCCESS) {
            run(*stream);
            // The legacy stream has come when those that it would wait for have.
            if (legacy(*stream)) {
                run_blocking(*current, UINT64_MAX);
            }
        }
        return refused;
    });
}

INLAY_API int cuStreamQuery(void* handle) {
    return call_in_context([&] {
        auto stream = stream_of(handle);
        if (stream == nullptr) {
            return INVALID_HANDLE;
        }
        const Result refused = refused_in_capture(*stream);
        if (refused != SUCCESS) {
            return refused;
        }
        if (stream->work.empty()) {
            return SUCCESS;
        }
        // Each question brings it one step on.
        run(*stream, stream->work.front().order);
        return NOT_READY;
    });
}

INLAY_API int cuStreamGetFlags(void* handle, unsigned* flags) {
    return call_in_context([&] {
        auto stream = stream_of(handle);
        if (stream == nullptr) {
            return INVALID_HANDLE;
        }
        *flags = !stream->blocking;
        return SUCCESS;
    });
}

INLAY_API int cuStreamWaitEvent(void* handle, void* event, unsigned flags) {
    return call_in_context([&] {
        auto stream = stream_of(handle);
        auto found = events.find(event);
        if (stream == nullptr || found == nullptr) {
            return INVALID_HANDLE;
        }
        if (flags > 1) {
            return INVALID_VALUE;
        }
        const Result refused = refused_on(*stream);
        if (refused != SUCCESS || found->latest == nullptr) {
            return refused;
        }
        if (stream->capture != nullptr || found->latest->capture != nullptr) {
            return wait_in_capture(*stream, found->latest);
        }
        await(*stream, found->latest);
        return SUCCESS;
    });
}

// ---- events ----

INLAY_API int cuEventCreate(void** event, unsigned flags) {
    return call_in_context([&] {
        // CU_EVENT_INTERPROCESS (4) goes with CU_EVENT_DISABLE_TIMING (2) alone.
        if (flags > 7 || event == nullptr || (flags & 6) == 4) {
            return INVALID_VALUE;
        }
        auto made = std::make_shared<Event>();
        made->context = current;
        made->flags = flags;
        *event = events.add(made);
        return SUCCESS;
    });
}

INLAY_API int cuEventDestroy_v2(void* handle) {
    return call_in_context([&] {
        auto event = events.find(handle);
        if (event == nullptr || event->context != current) {
            return INVALID_HANDLE;
        }
        events.remove(handle);
        return SUCCESS;
    });
}

INLAY_API int cuEventRecord(void* handle, void* stream_handle) {
    return call_in_context([&] {
        auto event = events.find(handle);
        auto stream = stream_of(stream_handle);
        if (event == nullptr || stream == nullptr || event->context != stream->context) {
            return INVALID_HANDLE;
        }
        const Result refused = refused_on(*stream);
        if (refused == SUCCESS) {
            event->latest = mark(*stream);
        }
        return refused;
    });
}

INLAY_API int cuEventSynchronize(void* handle) {
    return call_in_context([&] {
        auto event = events.find(handle);
        if (event == nullptr) {
            return INVALID_HANDLE;
        }
        const Result refused = captured(*event);
        if (refused == SUCCESS && event->latest != nullptr) {
            run(*event->latest->stream, event->latest->order);
        }
        return refused;
    });
}

INLAY_API int cuEventQuery(void* handle) {
    return call_in_context([&] {
        auto event = events.find(handle);
        if (event == nullptr) {
            return INVALID_HANDLE;
        }
        const Result refused = captured(*event);
        if (refused != SUCCESS || event->latest == nullptr || event->latest->reached) {
            return refused;
        }
        run(*event->latest->stream, event->latest->stream->work.front().order);
        return NOT_READY;
    });
}
