#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "catch2/catch.hpp"
#include "engine/model/gguf.h"
#include "engine/model/language_model.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace baton {
namespace {

using absl::StatusCode;

void AddSplitKeys(GgufWriter& writer, uint32_t index, uint32_t count, int32_t tensors) {
  writer.AddUint32("split.no", index);
  writer.AddUint32("split.count", count);
  writer.AddInt32("split.tensors.count", tensors);
}

// Three files with tensors "a"; "b" and "c"; "d".
struct ThreeFiles {
  std::array<GgufWriter, 3> writers;
  std::array<const char*, 3> names = {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf",
                                      "m-00003-of-00003.gguf"};

  explicit ThreeFiles(int32_t tensors = 4) {
    for (uint32_t i = 0; i < 3; ++i) {
      AddSplitKeys(writers[i], i, 3, tensors);
    }
    writers[0].AddString("text", "of the first file");
    AddVector(0, "a", 1);
    AddVector(1, "b", 2);
    AddVector(1, "c", 3);
    AddVector(2, "d", 4);
  }
  void AddVector(size_t file, std::string_view name, float value) {
    writers[file].AddTensor(name, {2}, TensorType::kF32, {value, value});
  }
  // Path of the first.
  std::string Write(const TempDir& directory) const {
    for (size_t i = 0; i < 3; ++i) {
      directory.Write(names[i], writers[i].Bytes());
    }
    return directory.File(names[0]);
  }
};

TEST_CASE("the first file of several has the keys and every file's tensors", "[gguf_shards]") {
  const TempDir directory;
  const auto file = GgufFile::Open(ThreeFiles().Write(directory));
  REQUIRE_OK(file);
  CHECK((*file)->GetString("text").value() == "of the first file");
  std::string names;
  for (const GgufTensor& tensor : (*file)->tensors()) {
    names += tensor.name;
    float value = 0;
    std::memcpy(&value, tensor.data.data(), sizeof(value));
    CHECK(value == static_cast<float>(names.size()));
    CHECK((*file)->FindTensor(tensor.name) == &tensor);
  }
  CHECK(names == "abcd");
}

TEST_CASE("a model in two files is the model in one", "[gguf_shards]") {
  const RandomModelOptions options{.type = TensorType::kQ8_0};
  GgufWriter whole;
  AddRandomModelKeys(options, whole);
  AddRandomModelTensors(options, whole);
  const TempFile in_one(whole.Bytes());
  const auto model = LoadLanguageModel("m", in_one.path());
  REQUIRE_OK(model);
  const auto directory_of_whole = GgufFile::Open(in_one.path());
  REQUIRE_OK(directory_of_whole);

  // Every second tensor goes to the second file, which has no other keys.
  GgufWriter first = whole;
  GgufWriter second;
  const auto tensors = static_cast<int32_t>((*directory_of_whole)->tensors().size());
  AddSplitKeys(first, 0, 2, tensors);
  AddSplitKeys(second, 1, 2, tensors);
  for (int32_t i = 1; i < tensors; i += 2) {
    const GgufTensor& tensor = (*directory_of_whole)->tensors()[static_cast<size_t>(i)];
    second.AddRawTensor(
        tensor.name, tensor.dims, tensor.type,
        std::string(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size()));
    first.RemoveTensor(tensor.name);
  }
  const TempDir directory;
  directory.Write("split-00002-of-00002.gguf", second.Bytes());
  const auto split =
      LoadLanguageModel("m", directory.Write("split-00001-of-00002.gguf", first.Bytes()));
  REQUIRE_OK(split);
  CHECK((*split)->shape().parameters == (*model)->shape().parameters);
  CHECK((*split)->weight_bytes() == (*model)->weight_bytes());
}

TEST_CASE("files that do not belong together are refused", "[gguf_shards]") {
  struct Wrong {
    const char* what;
    std::function<void(ThreeFiles&)> change;
    StatusCode code;
    const char* message;
  };
  const Wrong cases[] = {
      {"other index",
       [](ThreeFiles& f) {
         f.writers[1] = GgufWriter();
         AddSplitKeys(f.writers[1], 2, 3, 4);
       },
       StatusCode::kInvalidArgument, "m-00002-of-00003.gguf: says that it is file 3 of 3, but"},
      {"other count",
       [](ThreeFiles& f) {
         f.writers[2] = GgufWriter();
         AddSplitKeys(f.writers[2], 2, 4, 4);
       },
       StatusCode::kInvalidArgument, "file 3 of 4"},
      {"no part of a model", [](ThreeFiles& f) { f.writers[1] = GgufWriter(); },
       StatusCode::kNotFound, "key 'split.no'"},
      {"one tensor twice", [](ThreeFiles& f) { f.AddVector(2, "b", 1); },
       StatusCode::kInvalidArgument, "tensor 'b' is in an earlier file"},
      {"too many tensors", [](ThreeFiles& f) { f.AddVector(2, "e", 1); },
       StatusCode::kInvalidArgument, "key 'split.tensors.count' is 4, but the 3 files have 5"},
      {"a missing file", [](ThreeFiles& f) { f.names[2] = "elsewhere.gguf"; },
       StatusCode::kNotFound, "m-00003-of-00003.gguf: cannot be opened"},
      {"another name", [](ThreeFiles& f) { f.names[0] = "m.gguf"; }, StatusCode::kInvalidArgument,
       "its name must end in '-00001-of-00003.gguf'"},
      {"not the first",
       [](ThreeFiles& f) {
         std::swap(f.names[0], f.names[1]);
         std::swap(f.writers[0], f.writers[1]);
       },
       StatusCode::kInvalidArgument, "file 2 of 3 of a model: name its first file"},
      {"too many files",
       [](ThreeFiles& f) {
         f.writers[0] = GgufWriter();
         AddSplitKeys(f.writers[0], 0, 1025, 4);
       },
       StatusCode::kInvalidArgument, "key 'split.count' is 1025, at most 1024"},
  };
  for (const Wrong& wrong : cases) {
    CAPTURE(wrong.what);
    ThreeFiles files;
    wrong.change(files);
    const TempDir directory;
    REQUIRE_STATUS(GgufFile::Open(files.Write(directory)), wrong.code, wrong.message);
  }
}

TEST_CASE("a part of a model cannot be read from memory", "[gguf_shards]") {
  GgufWriter writer;
  AddSplitKeys(writer, 0, 2, 0);
  const std::string bytes = writer.Bytes();
  REQUIRE_STATUS(GgufFile::FromMemory("part.gguf", std::as_bytes(std::span(bytes))),
                 StatusCode::kUnimplemented, "one of 2 files of a model; only whole");
}

}  // namespace
}  // namespace baton
