// A stack of its own for each thread of a block, and the switch from one to another.
#pragma once

#include <cstddef>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace inlay_host {

// Where a stack was left.
struct Context {
#if defined(__x86_64__)
    void* stack_pointer;
#else
    ucontext_t machine;
#endif
};

// Leaves the running stack in `from` and goes on in `to`.
void switch_to(Context& from, Context& to);

// A stack of `bytes` that begins in `entry`, which must not return.
void prepare(Context& context, unsigned char* stack, size_t bytes, void (*entry)());

}  // namespace inlay_host
