#include "tests/support/cuda_host/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/support/cuda_host/asan.h"

#ifndef __x86_64__
#error "the fibers' context switch is written for x86-64"
#endif

// void baton_cuda_host_switch(void** save, void* load): the callee-saved registers go to the stack,
// its pointer to *save, and the same comes back from `load`.
asm(R"(
.text
.p2align 4
.type baton_cuda_host_switch, @function
baton_cuda_host_switch:
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
.size baton_cuda_host_switch, .-baton_cuda_host_switch
)");
extern "C" void baton_cuda_host_switch(void** save, void* load);

namespace baton::cuda_host {
namespace {

constexpr size_t kPageBytes = 4096;
// A kernel's frames are small; under a sanitizer, at -O1, they are not.
constexpr size_t kStackBytes = kAsan ? 256 << 10 : 64 << 10;
constexpr size_t kMappingBytes = kPageBytes + kStackBytes;
constexpr int kSavedRegisters = 6;

Fiber* entering = nullptr;

}  // namespace

Fiber::Fiber() {
  void* const mapping = mmap(nullptr, kMappingBytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED || mprotect(mapping, kPageBytes, PROT_NONE) != 0) {
    std::perror("cuda_host: a fiber's stack");
    std::abort();
  }
  mapping_ = static_cast<std::byte*>(mapping);
  bottom_ = mapping_ + kPageBytes;
}

Fiber::~Fiber() {
  __asan_unpoison_memory_region(bottom_, kStackBytes);
  munmap(mapping_, kMappingBytes);
}

void Fiber::Start(void (*entry)(void*), void* argument) {
  __asan_unpoison_memory_region(bottom_, kStackBytes);  // of frames that were dropped
  entry_ = entry;
  argument_ = argument;
  done_ = false;
  fake_stack_ = nullptr;
  // The first switch pops zeros and returns to Enter, whose frame is aligned as if it were called.
  auto* const top = reinterpret_cast<uint64_t*>(bottom_ + kStackBytes);
  top[-1] = 0;
  top[-2] = reinterpret_cast<uint64_t>(&Fiber::Enter);
  for (int i = 0; i < kSavedRegisters; ++i) top[-3 - i] = 0;
  stack_pointer_ = top - 2 - kSavedRegisters;
}

void Fiber::Resume() {
  entering = this;
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, bottom_, kStackBytes);
  baton_cuda_host_switch(&resumer_stack_pointer_, stack_pointer_);
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
}

void Fiber::Yield() {
  __sanitizer_start_switch_fiber(&fake_stack_, resumer_bottom_, resumer_bytes_);
  baton_cuda_host_switch(&stack_pointer_, resumer_stack_pointer_);
  __sanitizer_finish_switch_fiber(fake_stack_, &resumer_bottom_, &resumer_bytes_);
}

void Fiber::Enter() {
  Fiber* const self = entering;
  __sanitizer_finish_switch_fiber(nullptr, &self->resumer_bottom_, &self->resumer_bytes_);
  self->entry_(self->argument_);
  self->done_ = true;
  __sanitizer_start_switch_fiber(nullptr, self->resumer_bottom_, self->resumer_bytes_);
  baton_cuda_host_switch(&self->stack_pointer_, self->resumer_stack_pointer_);
}

}  // namespace baton::cuda_host
