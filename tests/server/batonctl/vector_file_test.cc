#include "server/batonctl/vector_file.h"  // header under test

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <sstream>

#include "tests/support/status_matchers.h"

namespace baton::ctl {
namespace {

template <class T>
std::string Bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

struct Read {
  absl::Status status;
  std::vector<FilePoint> points;
};

Read ReadAll(VectorFormat format, const std::string& content, int64_t skip = 0) {
  Read read;
  std::istringstream stream(content);
  auto file = VectorFile::Open(format, stream, std::ssize(content));
  read.status = file.status();
  if (read.status.ok()) read.status = (*file)->Skip(skip);
  while (read.status.ok()) {
    FilePoint point;
    const absl::StatusOr<bool> next = (*file)->Next(&point);
    read.status = next.status();
    if (!next.ok() || !*next) break;
    read.points.push_back(std::move(point));
  }
  if (read.status.ok()) REQUIRE((*file)->bytes_read() >= std::ssize(content));
  return read;
}

std::string Npy(const std::string& descr, const std::string& shape, const std::string& values,
                const std::string& order = "False") {
  std::string header =
      "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }";
  header.resize((header.size() + 10 + 63) / 64 * 64 - 10, ' ');
  header.back() = '\n';
  const auto size = static_cast<uint16_t>(header.size());
  return std::string("\x93NUMPY\x01\x00", 8) + Bytes<uint16_t>({size}) + header + values;
}

const std::string kFvecs =
    Bytes<int32_t>({2}) + Bytes<float>({1, 2.5}) + Bytes<int32_t>({2}) + Bytes<float>({-3, 4});
const std::string kFbin = Bytes<uint32_t>({2, 2}) + Bytes<float>({1, 2.5, -3, 4});

TEST_CASE("Rows of all formats are read as they were written") {
  const std::vector<std::vector<float>> floats = {{1, 2.5}, {-3, 4}};
  const std::vector<std::vector<float>> unsigned_bytes = {{1, 200}, {0, 255}};
  const std::vector<std::vector<float>> signed_bytes = {{1, -56}, {0, -1}};
  const std::string bytes = Bytes<uint8_t>({1, 200, 0, 255});
  const std::string halves = Bytes<uint16_t>({0x3c00, 0x4100, 0xc200, 0x4400});
  struct Case {
    VectorFormat format;
    std::string content;
    std::vector<std::vector<float>> vectors;
  };
  for (const Case& c : {
           Case{VectorFormat::kFvecs, kFvecs, floats},
           Case{VectorFormat::kBvecs,
                Bytes<int32_t>({2}) + bytes.substr(0, 2) + Bytes<int32_t>({2}) + bytes.substr(2),
                unsigned_bytes},
           Case{VectorFormat::kFbin, kFbin, floats},
           Case{VectorFormat::kU8bin, Bytes<uint32_t>({2, 2}) + bytes, unsigned_bytes},
           Case{VectorFormat::kI8bin, Bytes<uint32_t>({2, 2}) + bytes, signed_bytes},
           Case{VectorFormat::kNpy, Npy("<f4", "(2, 2)", kFbin.substr(8)), floats},
           Case{VectorFormat::kNpy, Npy("<f2", "(2, 2)", halves), floats},
           Case{VectorFormat::kNpy, Npy("|u1", "(2,2,)", bytes), unsigned_bytes},
           Case{VectorFormat::kNpy, Npy("|i1", "(2, 2)", bytes), signed_bytes},
           Case{VectorFormat::kJsonl,
                "{\"id\": 0, \"vector\": [1, 2.5]}\n \n{\"vector\":[-3,4e0],\"id\":1}", floats},
       }) {
    const Read read = ReadAll(c.format, c.content);
    CAPTURE(static_cast<int>(c.format), read.status.ToString());
    REQUIRE(read.points.size() == 2);
    for (size_t row = 0; row < 2; ++row) {
      REQUIRE(read.points[row].id == row);
      REQUIRE(read.points[row].vector == c.vectors[row]);
    }
    const Read last = ReadAll(c.format, c.content, 1);
    REQUIRE(last.points.size() == 1);
    REQUIRE(last.points[0].id == 1);
    REQUIRE(last.points[0].vector == c.vectors[1]);
    REQUIRE(ReadAll(c.format, c.content, 2).status.ok());
    REQUIRE_STATUS(ReadAll(c.format, c.content, 3).status, absl::StatusCode::kOutOfRange,
                   "it has 2 rows");
  }
}

TEST_CASE("Files without a row are read, too") {
  REQUIRE(ReadAll(VectorFormat::kFvecs, "").status.ok());
  REQUIRE(ReadAll(VectorFormat::kFbin, Bytes<uint32_t>({0, 8})).status.ok());
  REQUIRE(ReadAll(VectorFormat::kNpy, Npy("<f4", "(0, 8)", "")).status.ok());
  REQUIRE(ReadAll(VectorFormat::kJsonl, "\n").status.ok());
}

TEST_CASE("Half precision keeps small numbers and signs") {
  const Read read =
      ReadAll(VectorFormat::kNpy,
              Npy("<f2", "(1, 5)", Bytes<uint16_t>({0x0001, 0x8001, 0x0400, 0x7bff, 0x8000})));
  REQUIRE(read.points.size() == 1);
  REQUIRE(read.points[0].vector == std::vector<float>{0x1p-24f, -0x1p-24f, 0x1p-14f, 65504, -0.0f});
}

TEST_CASE("Ids of JSON lines are numbers or UUIDs") {
  const Read read = ReadAll(VectorFormat::kJsonl,
                            "{\"id\": \"f81d4fae-7dec-11d0-a765-00a0c91e6bf6\", \"vector\": [1]}\n"
                            "{\"id\": 5, \"vector\": [2]}\n");
  REQUIRE_OK(read.status);
  REQUIRE(read.points[0].uuid == "f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
  REQUIRE(read.points[0].id == 0);
  REQUIRE(read.points[1].uuid.empty());
  REQUIRE(read.points[1].id == 5);
}

TEST_CASE("Payloads of JSON lines keep their types") {
  const Read read = ReadAll(VectorFormat::kJsonl,
                            R"({"id": 18446744073709551615, "vector": [1],
"payload": {}})"
                            "\n");
  REQUIRE_STATUS(read.status, absl::StatusCode::kDataLoss, "line 1 is no JSON");
  const Read whole =
      ReadAll(VectorFormat::kJsonl, R"({"payload": {"t": "x", "i": -7, "n": 7.0, "b": true}, )"
                                    R"("id": 18446744073709551615, "vector": [1]})");
  REQUIRE_OK(whole.status);
  const auto& payload = whole.points.at(0).payload;
  REQUIRE(whole.points[0].id == UINT64_MAX);
  REQUIRE(std::get<std::string>(payload.at("t")) == "x");
  REQUIRE(std::get<int64_t>(payload.at("i")) == -7);
  REQUIRE(std::get<double>(payload.at("n")) == 7.0);
  REQUIRE(std::get<bool>(payload.at("b")));
}

TEST_CASE("What is wrong with a file is said with its place") {
  struct Case {
    VectorFormat format;
    std::string content;
    std::string message;
  };
  const std::string nan = Bytes<float>({1, NAN});
  for (const Case& c : {
           Case{VectorFormat::kFvecs, kFvecs.substr(0, 20),
                "row 1 at byte 12 has 8 of its 12 bytes: the file is cut off"},
           Case{VectorFormat::kFvecs, "abc", "it has 3 bytes"},
           Case{VectorFormat::kFvecs, Bytes<int32_t>({0, 0}), "must be 1 to 65536, but is 0"},
           Case{VectorFormat::kFvecs, Bytes<int32_t>({-1, 0}), "but is -1"},
           Case{VectorFormat::kFvecs,
                kFvecs.substr(0, 12) + Bytes<int32_t>({3}) + kFvecs.substr(16),
                "row 1 at byte 12 has dimension 3, the first row has 2"},
           Case{VectorFormat::kFvecs, Bytes<int32_t>({2}) + nan,
                "value 1 of row 0 at byte 0 is not finite"},
           Case{VectorFormat::kFbin, "abcdefg", "it has 7 bytes, its header takes 8"},
           Case{VectorFormat::kFbin, kFbin.substr(0, 20),
                "2 rows of 8 bytes from byte 8 on, but the file has 20 bytes, room for 1 rows: it "
                "is cut off"},
           Case{VectorFormat::kFbin, kFbin + "x", "bytes follow them"},
           Case{VectorFormat::kFbin, Bytes<uint32_t>({UINT32_MAX, 65536}), "it is cut off"},
           Case{VectorFormat::kI8bin, Bytes<uint32_t>({1, 65537}), "but is 65537"},
           Case{VectorFormat::kNpy, "PK\x03\x04....", "does not start as an .npy file does"},
           Case{VectorFormat::kNpy, std::string("\x93NUMPY\x04\x00\x01\x00", 10), "version 4"},
           Case{VectorFormat::kNpy, std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff", 12),
                "is said to have 4294967295 bytes"},
           Case{VectorFormat::kNpy, std::string("\x93NUMPY\x01\x00\xff\x00{", 11),
                "it ends within its header"},
           Case{VectorFormat::kNpy, Npy(">f4", "(1, 1)", "...."), "of type \">f4\""},
           Case{VectorFormat::kNpy, Npy("<f8", "(1, 1)", "........"), "of type \"<f8\""},
           Case{VectorFormat::kNpy, Npy("<f4", "(1, 1)", "....", "True"), "Fortran order"},
           Case{VectorFormat::kNpy, Npy("<f4", "(1, 1)", "....", "Maybe"),
                "has \"Maybe, 'shape': (1, \" where a value of fortran_order is expected"},
           Case{VectorFormat::kNpy, Npy("<f4", "(1,)", "...."), "has 1 dimensions"},
           Case{VectorFormat::kNpy, Npy("<f4", "(1, 1), 'x': (", "...."), "unknown key x"},
           Case{VectorFormat::kNpy, Npy("<f4", "(2, 1)", "...."), "its shape says 2 rows"},
           Case{VectorFormat::kJsonl, "[1]", "line 1 is no JSON object"},
           Case{VectorFormat::kJsonl, "\n{\"id\": 1}", "line 2 has no vector"},
           Case{VectorFormat::kJsonl, "{\"vector\": [1]}", "line 1 has no id"},
           Case{VectorFormat::kJsonl, "{\"id\": -1, \"vector\": [1]}",
                "neither a whole number from 0"},
           Case{VectorFormat::kJsonl, "{\"id\": 1, \"vector\": []}", "but is 0"},
           Case{VectorFormat::kJsonl, "{\"id\": 1, \"vector\": [1, 1e39]}",
                "value 1 is no finite number"},
           Case{VectorFormat::kJsonl, "{\"id\": 1, \"vector\": [1], \"payload\": {\"a\": [1]}}",
                "\"a\" is no text, number, true or false"},
           Case{VectorFormat::kJsonl,
                "{\"id\": 1, \"vector\": [1], \"payload\": {\"a\": 9223372036854775808}}",
                "above 2^63 - 1"},
           Case{VectorFormat::kJsonl, "{\"id\": 1, \"vector\": [1], \"score\": 1}", "another key"},
           Case{VectorFormat::kJsonl, std::string((8 << 20) + 1, ' '), "is longer than"},
       }) {
    CAPTURE(c.message);
    const Read read = ReadAll(c.format, c.content);
    CAPTURE(read.status.ToString());
    REQUIRE(!read.status.ok());
    REQUIRE(std::string(read.status.message()).find(c.message) != std::string::npos);
  }
}

TEST_CASE("The end of a name says the format") {
  REQUIRE(*FormatOf("a/b.u8bin") == VectorFormat::kU8bin);
  REQUIRE(*FormatOf("x.npy") == VectorFormat::kNpy);
  REQUIRE_STATUS(FormatOf("x.hdf5"), absl::StatusCode::kInvalidArgument, "end in .fvecs");
}

}  // namespace
}  // namespace baton::ctl
