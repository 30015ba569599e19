// Models that are split over several files. The first file has the model's keys; each has
// split.no (from 0), split.count and split.tensors.count (of all files together), as written by
// llama.cpp's gguf-split, and the file names follow from the first one's.

#include <cstdio>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/gguf.h"

namespace baton {
namespace {

// "-00002-of-00003.gguf" of index 1 of 3.
std::string ShardEnding(int64_t index, int64_t count) {
  char ending[64];
  std::snprintf(ending, sizeof(ending), "-%05lld-of-%05lld.gguf", static_cast<long long>(index + 1),
                static_cast<long long>(count));
  return ending;
}

}  // namespace

absl::Status GgufFile::OpenShards() {
  ASSIGN_OR_RETURN(const int64_t count, GetIntOr("split.count", 1));
  if (count <= 1) {
    return absl::OkStatus();
  }
  if (count > kGgufMaxShards) {
    return Error(
        absl::StatusCode::kInvalidArgument,
        StrCat("key 'split.count' is ", count, ", at most ", kGgufMaxShards, " files are read"));
  }
  ASSIGN_OR_RETURN(const int64_t index, GetInt("split.no"));
  if (index != 0) {
    return Error(absl::StatusCode::kInvalidArgument,
                 StrCat("file ", index + 1, " of ", count, " of a model: name its first file, ...",
                        ShardEnding(0, count)));
  }
  const std::string ending = ShardEnding(0, count);
  if (!path_.ends_with(ending)) {
    return Error(absl::StatusCode::kInvalidArgument,
                 StrCat("the first of ", count, " files of a model; its name must end in '", ending,
                        "' for the others to be found"));
  }
  const std::string stem = path_.substr(0, path_.size() - ending.size());
  for (int64_t i = 1; i < count; ++i) {
    ASSIGN_OR_RETURN(std::unique_ptr<const GgufFile> shard, OpenPart(stem + ShardEnding(i, count)));
    RETURN_IF_ERROR(shard->CheckShard(*this, i, count));
    for (const GgufTensor& tensor : shard->tensors_) {
      if (!tensor_index_.emplace(tensor.name, tensors_.size()).second) {
        return shard->Error(
            absl::StatusCode::kInvalidArgument,
            StrCat("tensor '", Escaped(tensor.name), "' is in an earlier file, too"));
      }
      tensors_.push_back(tensor);
    }
    shards_.push_back(std::move(shard));
  }
  ASSIGN_OR_RETURN(const int64_t tensors, GetInt("split.tensors.count"));
  if (tensors != std::ssize(tensors_)) {
    return Error(absl::StatusCode::kInvalidArgument,
                 StrCat("key 'split.tensors.count' is ", tensors, ", but the ", count,
                        " files have ", tensors_.size()));
  }
  return absl::OkStatus();
}

absl::Status GgufFile::CheckShard(const GgufFile& first, int64_t index, int64_t count) const {
  ASSIGN_OR_RETURN(const int64_t own_index, GetInt("split.no"));
  ASSIGN_OR_RETURN(const int64_t own_count, GetInt("split.count"));
  if (own_index != index || own_count != count) {
    return Error(absl::StatusCode::kInvalidArgument,
                 StrCat("says that it is file ", own_index + 1, " of ", own_count, ", but ",
                        first.path_, " needs file ", index + 1, " of ", count, " here"));
  }
  return absl::OkStatus();
}

}  // namespace baton
