#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "loadtest/scenario.h"
#include "loadtest/trace.h"

namespace baton::load {

// What one request is made of, before it has a wire's form.
struct Input {
  std::string text;           // ask: the question; generate, chat: the prompt
  std::vector<float> vector;  // search: one; search_bulk, upsert: `batch` of them, row by row
  int32_t max_tokens = 0;
};

// The inputs of one sort of request, read or drawn by a seed before the run.
class Workload {
 public:
  // INVALID_ARGUMENT names the file and the line. Where `trace` is not null the inputs are its
  // requests, in order. mix.dimension is set where vectors are drawn.
  static absl::StatusOr<Workload> Make(const RequestMix& mix, const std::vector<TraceEntry>* trace,
                                       uint64_t seed);

  // How many there are, at least 1.
  size_t size() const { return inputs_.size(); }
  const Input& at(size_t index) const { return inputs_[index]; }

 private:
  absl::Status ReadTexts(const RequestMix& mix);
  void DrawPrompts(const RequestMix& mix, std::mt19937_64& random);
  absl::Status MakeVectors(const RequestMix& mix, std::mt19937_64& random);

  std::vector<Input> inputs_;
};

// Each line is a JSON object with a non-empty string "question"; other keys are ignored. Empty
// lines are skipped.
absl::StatusOr<std::vector<std::string>> ReadQuestions(const std::string& path);
// One prompt a line; empty lines are skipped.
absl::StatusOr<std::vector<std::string>> ReadPrompts(const std::string& path);
// Vectors as in .fvecs files: each its dimension as a 32-bit integer, then its values, little
// endian. At most `floats_max` values are read. Row by row in `values`.
struct VectorRows {
  int32_t dimension = 0;
  std::vector<float> values;
};
absl::StatusOr<VectorRows> ReadFvecs(const std::string& path, size_t floats_max);

// `count` words of a seed; the same for the same seed.
std::string WordsOf(uint64_t seed, int32_t count);
// The prompt of a trace's request: blocks by their ids.
std::string PromptOf(const TraceEntry& entry, uint64_t seed);

}  // namespace baton::load
