#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/model/matrix_view.h"

namespace baton {

class GgufFile;

// What loading a model of any architecture asks of its file: keys within bounds, and tensors of the
// wanted shape, a known type and finite values. Remembers what was taken. INVALID_ARGUMENT: the
// file contradicts itself; NOT_FOUND: a key is missing; UNIMPLEMENTED: well-formed, but not
// supported. Every message names the file and the key or tensor. Used by one thread.
class ModelReader {
 public:
  struct Bounds {
    int64_t min;
    int64_t max;
  };

  // `file` outlives it. `architecture` is what its keys start with.
  ModelReader(const GgufFile& file, std::string architecture)
      : file_(file), architecture_(std::move(architecture)) {}

  absl::Status Bad(std::string_view message) const;
  absl::Status Unsupported(std::string_view message) const;
  std::string Key(std::string_view suffix) const;

  // An integer key; required where `absent` has no value. UNIMPLEMENTED where the file gives each
  // layer its own.
  absl::StatusOr<int32_t> ReadInt(std::string_view suffix, std::optional<int64_t> absent,
                                  Bounds bounds) const;
  // A float key that must be finite and above zero; required where `absent` has no value.
  absl::StatusOr<float> ReadPositive(std::string_view suffix, std::optional<double> absent) const;

  absl::StatusOr<MatrixView> TakeMatrix(const std::string& name, int64_t rows, int64_t cols);
  // [size], f32
  absl::StatusOr<const float*> TakeVector(const std::string& name, int64_t size);
  // Null: the file does not have it.
  absl::StatusOr<const float*> TakeOptionalVector(const std::string& name, int64_t size);
  // The first `rows` of `matrix`, which goes on with those behind them: the parts of a tensor that
  // holds several matrices.
  static MatrixView TakeRows(MatrixView& matrix, int64_t rows);

  // UNIMPLEMENTED where the file has a tensor that was not taken: leaving it out, such as a bias,
  // would change the results. Names that end with one of `ignored` may stay.
  absl::Status CheckNothingUnused(std::initializer_list<std::string_view> ignored = {}) const;

  int64_t weight_bytes() const { return weight_bytes_; }  // of the tensors taken
  int64_t parameters() const { return parameters_; }      // in them

 private:
  // dims: outermost first.
  absl::StatusOr<MatrixView> Take(const std::string& name, const std::vector<int64_t>& dims);

  const GgufFile& file_;
  const std::string architecture_;
  std::set<std::string_view> taken_;
  int64_t weight_bytes_ = 0;
  int64_t parameters_ = 0;
};

}  // namespace baton
