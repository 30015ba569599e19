#include "engine/model/gguf.h"

#include <cstring>
#include <functional>
#include <string>

#include "catch2/catch.hpp"
#include "tests/support/gguf_writer.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

using absl::StatusCode;

absl::StatusOr<std::unique_ptr<const GgufFile>> Read(const std::string& bytes) {
  return GgufFile::FromMemory("test.gguf", std::as_bytes(std::span(bytes)));
}

GgufWriter SmallFile() {
  GgufWriter writer;
  writer.AddString("text", "a value");
  writer.AddUint32("u32", 4'000'000'000u);
  writer.AddUint64("u64", 1ull << 40);
  writer.AddInt32("i32", -5);
  writer.AddFloat("f32", 0.5f);
  writer.AddDouble("f64", 0.25);
  writer.AddBool("yes", true);
  writer.AddStrings("strings", {"one", "", "three"});
  writer.AddInts("ints", {1, -2, 3});
  writer.AddFloats("floats", {1.5f, -2.5f});
  writer.AddTensor("vector", {3}, TensorType::kF32, {1, 2, 3});
  writer.AddTensor("matrix", {32, 2}, TensorType::kQ8_0, std::vector<float>(64, 1.0f));
  writer.AddTensor("half", {2, 2}, TensorType::kF16, {1, 2, 3, 4});
  return writer;
}

template <class T>
void Patch(std::string& bytes, size_t at, T value) {
  REQUIRE(at + sizeof(T) <= bytes.size());
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

// Where the bytes after `name` start; `name` must occur once as a name.
size_t After(const std::string& bytes, const std::string& name) {
  const size_t at = bytes.find(name);
  REQUIRE(at != bytes.npos);
  return at + name.size();
}

// Reads whatever the file offers.
void Use(const GgufFile& file) {
  for (const char* key : {"text", "u32", "u64", "i32", "f32", "f64", "yes", "strings", "ints",
                          "floats", "general.alignment"}) {
    (void)file.GetString(key).ok();
    (void)file.GetInt(key).ok();
    (void)file.GetFloat(key).ok();
    (void)file.GetBool(key).ok();
    (void)file.GetStrings(key).ok();
    (void)file.GetInts(key).ok();
    (void)file.GetFloats(key).ok();
  }
  unsigned sum = 0;
  for (const GgufTensor& tensor : file.tensors()) {
    for (const std::byte byte : tensor.data) {
      sum += static_cast<unsigned>(byte);
    }
    REQUIRE(file.FindTensor(tensor.name) == &tensor);
  }
  (void)sum;
}

TEST_CASE("keys and tensors read back", "[gguf]") {
  const auto opened = Read(SmallFile().Bytes());
  REQUIRE_OK(opened);
  const GgufFile& file = **opened;
  CHECK(file.version() == 3);
  CHECK(*file.GetString("text") == "a value");
  CHECK(*file.GetInt("u32") == 4'000'000'000);
  CHECK(*file.GetInt("u64") == int64_t{1} << 40);
  CHECK(*file.GetInt("i32") == -5);
  CHECK(*file.GetFloat("f32") == 0.5);
  CHECK(*file.GetFloat("f64") == 0.25);
  CHECK(*file.GetBool("yes"));
  CHECK(*file.GetStrings("strings") == std::vector<std::string_view>{"one", "", "three"});
  CHECK(*file.GetInts("ints") == std::vector<int32_t>{1, -2, 3});
  CHECK(*file.GetFloats("floats") == std::vector<float>{1.5f, -2.5f});
  CHECK(file.Type("floats") == GgufValueType::kArray);
  CHECK(file.Type("none") == std::nullopt);
  CHECK(*file.GetIntOr("none", 7) == 7);
  CHECK(*file.GetStringOr("none", "x") == "x");

  REQUIRE(file.tensors().size() == 3);
  const GgufTensor* matrix = file.FindTensor("matrix");
  REQUIRE(matrix != nullptr);
  CHECK(matrix->dims == std::vector<int64_t>{32, 2});
  CHECK(GgmlTypeName(matrix->type) == "Q8_0");
  CHECK(matrix->data.size() == 68);
  const GgufTensor* vector = file.FindTensor("vector");
  float values[3];
  std::memcpy(values, vector->data.data(), sizeof(values));
  CHECK(values[2] == 3.0f);
  CHECK(file.FindTensor("none") == nullptr);
}

TEST_CASE("a wrong or missing key is named", "[gguf]") {
  const auto file = Read(SmallFile().Bytes());
  REQUIRE_OK(file);
  REQUIRE_STATUS((*file)->GetInt("none"), StatusCode::kNotFound, "test.gguf: key 'none'");
  REQUIRE_STATUS((*file)->GetInt("text"), StatusCode::kInvalidArgument,
                 "key 'text' is of type string, wanted an integer");
  REQUIRE_STATUS((*file)->GetString("ints"), StatusCode::kInvalidArgument, "array of int32");
  REQUIRE_STATUS((*file)->GetStrings("floats"), StatusCode::kInvalidArgument, "array of float32");
  REQUIRE_STATUS((*file)->GetFloatOr("u32", 1), StatusCode::kInvalidArgument, "wanted a float");
}

TEST_CASE("a file on disk is mapped", "[gguf]") {
  const TempFile file(SmallFile().Bytes());
  const auto opened = GgufFile::Open(file.path());
  REQUIRE_OK(opened);
  Use(**opened);
  REQUIRE_STATUS(GgufFile::Open(file.path() + ".none"), StatusCode::kNotFound, ".none");
  REQUIRE_STATUS(GgufFile::Open("/"), StatusCode::kInvalidArgument, "not a regular file");
  const TempFile empty("");
  REQUIRE_STATUS(GgufFile::Open(empty.path()), StatusCode::kInvalidArgument, "empty");
}

TEST_CASE("version 2 is read as well", "[gguf]") {
  std::string bytes = SmallFile().Bytes();
  Patch<uint32_t>(bytes, 4, 2);
  const auto file = Read(bytes);
  REQUIRE_OK(file);
  CHECK((*file)->version() == 2);
}

TEST_CASE("a file cut anywhere is refused", "[gguf]") {
  const std::string bytes = SmallFile().Bytes();
  for (size_t length = 0; length < bytes.size(); ++length) {
    CAPTURE(length);
    const auto file = Read(bytes.substr(0, length));
    REQUIRE_FALSE(file.ok());
    REQUIRE(file.status().code() == StatusCode::kInvalidArgument);
  }
}

TEST_CASE("a file with any byte changed is refused or read safely", "[gguf]") {
  const std::string bytes = SmallFile().Bytes();
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const int change : {0x01, 0x80, 0xFF, 0x20}) {
      CAPTURE(at, change);
      std::string changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ change);
      if (const auto file = Read(changed); file.ok()) {
        Use(**file);
      }
    }
  }
}

TEST_CASE("a file with any 8 bytes set to an extreme is refused or read safely", "[gguf]") {
  const std::string bytes = SmallFile().Bytes();
  for (size_t at = 0; at + 8 <= bytes.size(); ++at) {
    for (const uint64_t value : {uint64_t{0}, ~uint64_t{0}, ~uint64_t{0} >> 1, uint64_t{1} << 32,
                                 uint64_t{1} << 24, uint64_t{0xFFFFFFFF}}) {
      CAPTURE(at, value);
      std::string changed = bytes;
      Patch(changed, at, value);
      if (const auto file = Read(changed); file.ok()) {
        Use(**file);
      }
    }
  }
}

TEST_CASE("each lie has its own message", "[gguf]") {
  struct Lie {
    const char* what;
    std::function<std::string()> bytes;
    StatusCode code;
    const char* message;
  };
  const auto patched = [](auto patch) {
    return [patch] {
      std::string bytes = SmallFile().Bytes();
      patch(bytes);
      return bytes;
    };
  };
  const auto with = [](auto add) {
    return [add] {
      GgufWriter writer = SmallFile();
      add(writer);
      return writer.Bytes();
    };
  };
  // A tensor's entry: name, u32 dims, u64 each, u32 type, u64 offset.
  const Lie lies[] = {
      {"magic", patched([](std::string& b) { b[0] = 'X'; }), StatusCode::kInvalidArgument,
       "not a GGUF file"},
      {"version", patched([](std::string& b) { Patch<uint32_t>(b, 4, 9); }),
       StatusCode::kUnimplemented, "version 9"},
      {"endianness", patched([](std::string& b) { Patch<uint32_t>(b, 4, 3u << 24); }),
       StatusCode::kUnimplemented, "big-endian"},
      {"tensor count", patched([](std::string& b) { Patch<uint64_t>(b, 8, 1ull << 60); }),
       StatusCode::kInvalidArgument, "1152921504606846976 tensors, at most 65536"},
      {"key count", patched([](std::string& b) { Patch<uint64_t>(b, 16, 1ull << 60); }),
       StatusCode::kInvalidArgument, "keys, at most 65536"},
      {"key length", patched([](std::string& b) { Patch<uint64_t>(b, 24, 1ull << 63); }),
       StatusCode::kInvalidArgument, "the name of key 0: a length of 9223372036854775808"},
      {"value type", patched([](std::string& b) { Patch<uint32_t>(b, After(b, "u32"), 13); }),
       StatusCode::kInvalidArgument, "key 'u32': unknown value type 13"},
      {"string length",
       patched([](std::string& b) { Patch<uint64_t>(b, After(b, "text") + 4, ~0ull); }),
       StatusCode::kInvalidArgument, "key 'text': a length of 18446744073709551615"},
      {"string beyond the file",
       patched([](std::string& b) { Patch<uint64_t>(b, After(b, "text") + 4, 1 << 20); }),
       StatusCode::kInvalidArgument, "the file ends inside key 'text'"},
      {"array of arrays",
       patched([](std::string& b) { Patch<uint32_t>(b, After(b, "ints") + 4, 9); }),
       StatusCode::kUnimplemented, "key 'ints': arrays of arrays"},
      {"array count",
       patched([](std::string& b) { Patch<uint64_t>(b, After(b, "ints") + 8, 1ull << 61); }),
       StatusCode::kInvalidArgument, "elements, at most 16777216"},
      {"array beyond the file",
       patched([](std::string& b) { Patch<uint64_t>(b, After(b, "ints") + 8, 1 << 20); }),
       StatusCode::kInvalidArgument, "the file ends inside key 'ints'"},
      {"bool", patched([](std::string& b) { b[After(b, "yes") + 4] = 2; }),
       StatusCode::kInvalidArgument, "key 'yes': a bool of value 2"},
      {"key twice", with([](GgufWriter& w) { w.AddUint32("text", 1); }),
       StatusCode::kInvalidArgument, "key 'text' appears twice"},
      {"alignment", with([](GgufWriter& w) { w.AddUint32("general.alignment", 24); }),
       StatusCode::kInvalidArgument, "general.alignment is 24"},
      {"alignment type", with([](GgufWriter& w) { w.AddString("general.alignment", "32"); }),
       StatusCode::kInvalidArgument, "'general.alignment' is of type string"},
      {"small alignment", with([](GgufWriter& w) { w.AddUint32("general.alignment", 2); }),
       StatusCode::kInvalidArgument, "general.alignment is 2"},
      {"tensor twice",
       with([](GgufWriter& w) { w.AddTensor("vector", {1}, TensorType::kF32, {1}); }),
       StatusCode::kInvalidArgument, "tensor 'vector' appears twice"},
      {"long tensor name",
       with([](GgufWriter& w) { w.AddTensor(std::string(65, 'n'), {1}, TensorType::kF32, {1}); }),
       StatusCode::kInvalidArgument, "a length of 65 bytes, at most 64"},
      {"no dimensions", with([](GgufWriter& w) { w.AddRawTensor("t", {}, 0, "1234"); }),
       StatusCode::kInvalidArgument, "tensor 't': 0 dimensions"},
      {"five dimensions", with([](GgufWriter& w) {
         w.AddRawTensor("t", {1, 1, 1, 1, 1}, 0, "1234");
       }),
       StatusCode::kInvalidArgument, "tensor 't': 5 dimensions"},
      {"empty dimension", with([](GgufWriter& w) {
         w.AddRawTensor("t", {4, 0}, 0, "");
       }),
       StatusCode::kInvalidArgument, "tensor 't': dimension 1 is 0"},
      {"dimensions overflow", with([](GgufWriter& w) {
         w.AddRawTensor("t", {1ll << 32, 1ll << 32}, 0, "");
       }),
       StatusCode::kInvalidArgument, "tensor 't': dimension 1 is 4294967296"},
      {"negative dimension", with([](GgufWriter& w) { w.AddRawTensor("t", {-1}, 0, ""); }),
       StatusCode::kInvalidArgument, "tensor 't': dimension 0 is 18446744073709551615"},
      {"unknown type", with([](GgufWriter& w) { w.AddRawTensor("t", {1}, 4, "1234"); }),
       StatusCode::kUnimplemented, "tensor 't': unknown tensor type 4"},
      {"broken blocks", with([](GgufWriter& w) { w.AddRawTensor("t", {33}, 8, ""); }),
       StatusCode::kInvalidArgument, "rows of 33 weights are not whole blocks of 32 (Q8_0)"},
      {"data beyond the file", with([](GgufWriter& w) { w.AddRawTensor("t", {2}, 0, "1234"); }),
       StatusCode::kInvalidArgument, "tensor 't': its 8 bytes at offset 160 leave"},
      {"offset beyond the file",
       patched([](std::string& b) { Patch<uint64_t>(b, After(b, "half") + 24, 1ull << 62); }),
       StatusCode::kInvalidArgument, "tensor 'half': its 8 bytes at offset 4611686018427387904"},
      {"ragged offset",
       patched([](std::string& b) { Patch<uint64_t>(b, After(b, "half") + 24, 8); }),
       StatusCode::kInvalidArgument, "offset 8 is not a multiple of the alignment 32"},
      {"overlap", patched([](std::string& b) { Patch<uint64_t>(b, After(b, "half") + 24, 64); }),
       StatusCode::kInvalidArgument, "tensors 'matrix' and 'half' overlap"},
  };
  for (const Lie& lie : lies) {
    CAPTURE(lie.what);
    REQUIRE_STATUS(Read(lie.bytes()), lie.code, lie.message);
  }
}

TEST_CASE("every known tensor type's extent is computed", "[gguf]") {
  struct Known {
    uint32_t number;
    const char* name;
    size_t bytes;  // of 256 weights
  };
  for (const Known& known : {Known{2, "Q4_0", 144},
                             {12, "Q4_K", 144},
                             {14, "Q6_K", 210},
                             {30, "BF16", 512},
                             {39, "MXFP4", 136},
                             {23, "IQ4_XS", 136}}) {
    CAPTURE(known.name);
    GgufWriter writer;
    writer.AddRawTensor("t", {256}, known.number, std::string(known.bytes, '\0'));
    const auto file = Read(writer.Bytes());
    REQUIRE_OK(file);
    CHECK((*file)->FindTensor("t")->data.size() == known.bytes);
    CHECK(GgmlTypeName(known.number) == known.name);
  }
  CHECK(GgmlTypeName(1000) == "type 1000");
}

TEST_CASE("hostile names are escaped in messages", "[gguf]") {
  GgufWriter writer;
  writer.AddUint32("a\n\x1b[31m", 1);
  writer.AddUint32("a\n\x1b[31m", 1);
  const auto file = Read(writer.Bytes());
  REQUIRE_FALSE(file.ok());
  CHECK(file.status().message().find('\x1b') == absl::string_view::npos);
}

}  // namespace
}  // namespace baton
