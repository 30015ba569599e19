#pragma once

#include <cstddef>

namespace baton::cuda_host {

// A function on a stack of its own, which runs until it yields. x86-64, System V; the switch is
// our own, because ucontext calls the kernel on each. AddressSanitizer is told of every switch.
// Not thread safe: fibers of one thread.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next Resume enters `entry`. What ran here before and has not returned is dropped, its
  // destructors with it.
  void Start(void (*entry)(void*), void* argument);
  // Runs the fiber until it yields or returns. Not on a fiber.
  void Resume();
  // On this fiber: goes back to who resumed it.
  void Yield();
  bool done() const { return done_; }

 private:
  static void Enter();

  std::byte* mapping_ = nullptr;  // a page without access, then the stack
  std::byte* bottom_ = nullptr;
  void* stack_pointer_ = nullptr;
  void* resumer_stack_pointer_ = nullptr;
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  bool done_ = true;
  // For AddressSanitizer.
  void* fake_stack_ = nullptr;
  const void* resumer_bottom_ = nullptr;
  size_t resumer_bytes_ = 0;
};

}  // namespace baton::cuda_host
