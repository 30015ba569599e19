#pragma once

#include "absl/functional/any_invocable.h"

namespace baton {

// Runs what hands answers to their clients, on threads of its own, so that the engine's loop does
// not: a gRPC write costs its caller 5 to 90 us.
class AnswerRunner {
 public:
  using Job = absl::AnyInvocable<void()>;

  virtual ~AnswerRunner() = default;

  // Never blocks, never refuses. Thread safe.
  virtual void Post(Job job) = 0;
};

}  // namespace baton
