#include "stacks.h"

#include <cstdint>

#if defined(__x86_64__)
// swapcontext would make a system call for the signal mask every time; these are the registers that a called function must keep.
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

namespace inlay_host {

void switch_to(Context& from, Context& to) {
    inlay_switch(&from.stack_pointer, to.stack_pointer);
}

void prepare(Context& context, unsigned char* stack, size_t bytes, void (*entry)()) {
    // The stack pointer is a multiple of 16 before a call, so 8 off at a function's first instruction.
    void** top = reinterpret_cast<void**>((reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t(15));
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(entry);
    for (int saved = 0; saved < 6; saved++) {
        *--top = nullptr;
    }
    context.stack_pointer = top;
}

}  // namespace inlay_host
#else
namespace inlay_host {

void switch_to(Context& from, Context& to) {
    swapcontext(&from.machine, &to.machine);
}

void prepare(Context& context, unsigned char* stack, size_t bytes, void (*entry)()) {
    getcontext(&context.machine);
    context.machine.uc_stack.ss_sp = stack;
    context.machine.uc_stack.ss_size = bytes;
    context.machine.uc_link = nullptr;
    makecontext(&context.machine, entry, 0);
}

}  // namespace inlay_host
#endif
