#pragma once

#include <cstdint>
#include <istream>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Files of vectors as points. Nothing here talks to the daemon.
namespace baton::ctl {

// One row of a file.
struct FilePoint {
  using Value = std::variant<std::string, int64_t, double, bool>;

  uint64_t id = 0;
  std::string uuid;                      // of JSONL, instead of it; as it stands there
  std::vector<float> vector;             // every value finite
  std::map<std::string, Value> payload;  // of JSONL only
};

enum class VectorFormat { kFvecs, kBvecs, kNpy, kFbin, kU8bin, kI8bin, kJsonl };

// By the end of a file's name: fvecs, bvecs, npy, fbin, u8bin, i8bin, jsonl. INVALID_ARGUMENT names
// those where it is none of them.
absl::StatusOr<VectorFormat> FormatOf(absl::string_view path);

// Reads the rows of a file one by one. Errors are INVALID_ARGUMENT or DATA_LOSS and name what is
// wrong, in which row and at which byte; the caller adds the file's name. One thread.
//
//   fvecs, bvecs   each row: int32 dimension, then f32 or u8 values (TEXMEX)
//   npy            NumPy's, of 2 dimensions in C order, f4, f2, u1 or i1, little-endian
//   fbin, u8bin, i8bin   u32 rows, u32 dimension, then f32, u8 or i8 values (big-ann-benchmarks)
//   jsonl          each line {"id": whole number or UUID, "vector": [numbers], "payload":
//   {scalars}};
//                  payload may be left out, blank lines are passed by
//
// Ids of all but JSONL are the row's number, from 0.
class VectorFile {
 public:
  // `stream` is at its front, holds `bytes` bytes, can seek, and outlives the reader.
  static absl::StatusOr<std::unique_ptr<VectorFile>> Open(VectorFormat format, std::istream& stream,
                                                          int64_t bytes);
  virtual ~VectorFile() = default;

  // Leaves out the next `rows` rows. OUT_OF_RANGE where there are not so many.
  virtual absl::Status Skip(int64_t rows) = 0;
  // False at the end.
  virtual absl::StatusOr<bool> Next(FilePoint* point) = 0;

  // How far it is, for a progress bar.
  int64_t bytes_read() const { return bytes_read_; }

 protected:
  int64_t bytes_read_ = 0;
};

}  // namespace baton::ctl
