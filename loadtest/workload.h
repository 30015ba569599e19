#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "loadtest/load_options.h"

namespace baton::load {

// The inputs requests are made of, read or drawn before the run so that sending costs little.
struct Workload {
  std::vector<std::string> texts;           // ask: questions; generate: prompts
  std::vector<std::vector<float>> vectors;  // search: unit length, directions uniform
};

// INVALID_ARGUMENT names the file and the line. For search, options.dimension is above 0.
absl::StatusOr<Workload> MakeWorkload(const LoadOptions& options);

// Each line is a JSON object with a non-empty string "question"; other keys are ignored. Empty
// lines are skipped.
absl::StatusOr<std::vector<std::string>> ReadQuestions(const std::string& path);

// One prompt a line; empty lines are skipped.
absl::StatusOr<std::vector<std::string>> ReadPrompts(const std::string& path);

}  // namespace baton::load
