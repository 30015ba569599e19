#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace baton {

// What a file may ask for at most. Real models stay far below each; the limits bound the memory
// and time that a hostile file can cost before it is refused.
inline constexpr uint64_t kGgufMaxKeys = 1 << 16;
inline constexpr uint64_t kGgufMaxTensors = 1 << 16;
inline constexpr uint64_t kGgufMaxKeyBytes = (1 << 16) - 1;  // the format's own limit
inline constexpr uint64_t kGgufMaxTensorNameBytes = 64;      // the format's own limit
inline constexpr uint64_t kGgufMaxStringBytes = 1 << 26;     // 64 MiB
inline constexpr uint64_t kGgufMaxArrayElements = 1 << 24;   // 16 Mi; vocabularies reach 256 Ki
inline constexpr uint32_t kGgufMaxDims = 4;                  // the format's own limit
inline constexpr uint64_t kGgufMaxAlignmentBytes = 1 << 20;
inline constexpr int64_t kGgufMaxShards = 1024;

enum class GgufValueType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

struct GgufTensor {
  std::string_view name;
  uint32_t type = 0;          // ggml's number; GgmlTypeName() names it
  std::vector<int64_t> dims;  // innermost first, each >= 1
  std::span<const std::byte> data;
};

// Name of a ggml tensor type, or "type N" for a number that this reader does not know.
std::string GgmlTypeName(uint32_t type);

// A GGUF file (versions 2 and 3, little endian), mapped read-only. Opening checks the whole
// structure: every count, length, offset and extent lies inside the file and its limits, names are
// unique, tensors do not overlap. Immutable and thread safe; everything handed out points into the
// mapping and lives as long as this object. The file must not be shortened while it is mapped.
//
// A model may be split over several files, NAME-00001-of-00003.gguf and so on. Opening the first
// opens them all: its keys are the model's, and the tensors of every file are as if they were in
// it.
//
// Errors: INVALID_ARGUMENT where the file breaks the format, NOT_FOUND for a missing file, key or
// tensor, UNIMPLEMENTED for versions and tensor types that are not known. Every message starts with
// the path and names the key or tensor.
class GgufFile {
 public:
  static absl::StatusOr<std::unique_ptr<const GgufFile>> Open(const std::string& path);
  // The same from a copy of `bytes`, which must be a whole model; `path` only appears in messages.
  static absl::StatusOr<std::unique_ptr<const GgufFile>> FromMemory(
      std::string path, std::span<const std::byte> bytes);

  ~GgufFile();
  GgufFile(const GgufFile&) = delete;
  GgufFile& operator=(const GgufFile&) = delete;

  const std::string& path() const { return path_; }
  uint32_t version() const { return version_; }

  // Type of a key's value; nullopt: no such key.
  std::optional<GgufValueType> Type(std::string_view key) const;

  // One value. A present key of another type is INVALID_ARGUMENT. Integers of any width are taken
  // as long as the value fits; floats of both widths.
  absl::StatusOr<std::string_view> GetString(std::string_view key) const;
  absl::StatusOr<int64_t> GetInt(std::string_view key) const;
  absl::StatusOr<double> GetFloat(std::string_view key) const;
  absl::StatusOr<bool> GetBool(std::string_view key) const;
  absl::StatusOr<std::vector<std::string_view>> GetStrings(std::string_view key) const;
  absl::StatusOr<std::vector<int32_t>> GetInts(std::string_view key) const;  // (u)int32 elements
  absl::StatusOr<std::vector<float>> GetFloats(std::string_view key) const;  // float32 elements

  // The same with a value for an absent key.
  absl::StatusOr<std::string_view> GetStringOr(std::string_view key, std::string_view absent) const;
  absl::StatusOr<int64_t> GetIntOr(std::string_view key, int64_t absent) const;
  absl::StatusOr<double> GetFloatOr(std::string_view key, double absent) const;
  absl::StatusOr<bool> GetBoolOr(std::string_view key, bool absent) const;

  const std::vector<GgufTensor>& tensors() const { return tensors_; }  // in the files' order
  const GgufTensor* FindTensor(std::string_view name) const;           // null: no such tensor

  // An error about this file: "path: message".
  absl::Status Error(absl::StatusCode code, std::string_view message) const;

 private:
  class Parser;
  struct Value {
    GgufValueType type = GgufValueType::kUint8;
    GgufValueType element = GgufValueType::kUint8;  // of an array
    uint64_t count = 0;                             // of an array
    std::span<const std::byte> bytes;               // the value itself, lengths of strings included
  };

  GgufFile() = default;
  // This one file, whatever it is a part of.
  static absl::StatusOr<std::unique_ptr<GgufFile>> OpenPart(const std::string& path);
  // Where this is the first of several files: opens the others and takes their tensors in.
  absl::Status OpenShards();
  absl::Status CheckShard(const GgufFile& first, int64_t index, int64_t count) const;
  absl::StatusOr<Value> Find(std::string_view key, std::string_view wanted) const;
  absl::StatusOr<Value> FindArray(std::string_view key, std::string_view wanted) const;
  absl::Status WrongType(std::string_view key, const Value& value, std::string_view wanted) const;

  std::string path_;
  uint32_t version_ = 0;
  std::span<const std::byte> bytes_;   // the whole file
  void* mapping_ = nullptr;            // of Open
  std::unique_ptr<std::byte[]> copy_;  // of FromMemory
  std::map<std::string_view, Value> values_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string_view, size_t> tensor_index_;
  std::vector<std::unique_ptr<const GgufFile>> shards_;  // the other files of the model
};

}  // namespace baton
