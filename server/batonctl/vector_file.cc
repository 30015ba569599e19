#include "server/batonctl/vector_file.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace baton::ctl {
namespace {

static_assert(std::endian::native == std::endian::little, "files are read as they lie");

constexpr int64_t kVectorDimensionMax = 65'536;
// A vector of that many numbers, and a payload of 1 MiB with every character escaped.
constexpr size_t kLineBytesMax = 8 << 20;
constexpr size_t kNpyHeaderBytesMax = 64 << 10;

absl::Status Damaged(const std::string& what) { return absl::DataLossError(what); }

enum class ValueType { kF32, kF16, kU8, kI8 };

int64_t BytesOf(ValueType type) {
  switch (type) {
    case ValueType::kF32:
      return 4;
    case ValueType::kF16:
      return 2;
    case ValueType::kU8:
    case ValueType::kI8:
      return 1;
  }
  return 0;
}

// IEEE 754 binary16.
float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = half >> 10 & 31;
  const uint32_t fraction = half & 1023;
  if (exponent == 0) {
    const float value = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -value : value;
  }
  const uint32_t wide = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

void Convert(ValueType type, const char* from, std::vector<float>& to) {
  switch (type) {
    case ValueType::kF32:
      std::memcpy(to.data(), from, to.size() * sizeof(float));
      return;
    case ValueType::kF16:
      for (size_t i = 0; i < to.size(); ++i) {
        uint16_t half = 0;
        std::memcpy(&half, from + 2 * i, sizeof(half));
        to[i] = HalfToFloat(half);
      }
      return;
    case ValueType::kU8:
      for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<uint8_t>(from[i]);
      return;
    case ValueType::kI8:
      for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<int8_t>(from[i]);
      return;
  }
}

absl::Status CheckDimension(int64_t dimension, absl::string_view where) {
  if (dimension >= 1 && dimension <= kVectorDimensionMax) {
    return absl::OkStatus();
  }
  return Damaged(absl::StrCat("the dimension ", where, " must be 1 to ", kVectorDimensionMax,
                              ", but is ", dimension));
}

// Rows of one size.
struct Layout {
  int64_t begin = 0;      // of the first row
  int64_t row_front = 0;  // bytes in front of each row's values: its dimension
  int64_t rows = 0;
  int64_t dimension = 0;
  ValueType type = ValueType::kF32;

  int64_t row_bytes() const { return row_front + dimension * BytesOf(type); }
};

class RowsFile final : public VectorFile {
 public:
  RowsFile(std::istream& stream, const Layout& layout)
      : stream_(stream), layout_(layout), bytes_(static_cast<size_t>(layout.row_bytes())) {
    stream_.seekg(layout.begin);
    bytes_read_ = layout.begin;
  }

  absl::Status Skip(int64_t rows) override {
    if (rows > layout_.rows - row_) {
      return absl::OutOfRangeError(
          absl::StrCat("it has ", layout_.rows, " rows, ", row_ + rows, " are to be skipped"));
    }
    row_ += rows;
    bytes_read_ += rows * layout_.row_bytes();
    stream_.seekg(bytes_read_);
    return absl::OkStatus();
  }

  absl::StatusOr<bool> Next(FilePoint* point) override {
    if (row_ == layout_.rows) {
      return false;
    }
    if (!stream_.read(bytes_.data(), std::ssize(bytes_))) {
      return Damaged(absl::StrCat("row ", row_, " at byte ", bytes_read_, " cannot be read"));
    }
    if (layout_.row_front > 0) {
      int32_t dimension = 0;
      std::memcpy(&dimension, bytes_.data(), sizeof(dimension));
      if (dimension != layout_.dimension) {
        return Damaged(absl::StrCat("row ", row_, " at byte ", bytes_read_, " has dimension ",
                                    dimension, ", the first row has ", layout_.dimension));
      }
    }
    point->id = static_cast<uint64_t>(row_);
    point->payload.clear();
    point->vector.resize(static_cast<size_t>(layout_.dimension));
    Convert(layout_.type, bytes_.data() + layout_.row_front, point->vector);
    for (size_t i = 0; i < point->vector.size(); ++i) {
      if (!std::isfinite(point->vector[i])) {
        return Damaged(absl::StrCat("value ", i, " of row ", row_, " at byte ", bytes_read_,
                                    " is not finite"));
      }
    }
    ++row_;
    bytes_read_ += layout_.row_bytes();
    return true;
  }

 private:
  std::istream& stream_;
  const Layout layout_;
  int64_t row_ = 0;
  std::vector<char> bytes_;  // of one row
};

// `what` says where the number of rows comes from.
absl::Status CheckSize(const Layout& layout, int64_t bytes, absl::string_view what) {
  // No overflow: less than 2^20 bytes a row; more rows than there are bytes are refused first.
  if (layout.rows <= bytes && layout.begin + layout.rows * layout.row_bytes() == bytes) {
    return absl::OkStatus();
  }
  const int64_t room = (bytes - layout.begin) / layout.row_bytes();
  return Damaged(absl::StrCat(what, " ", layout.rows, " rows of ", layout.row_bytes(),
                              " bytes from byte ", layout.begin, " on, but the file has ", bytes,
                              " bytes, room for ", room, " rows",
                              room < layout.rows ? ": it is cut off" : ": bytes follow them"));
}

absl::StatusOr<Layout> ReadVecsLayout(std::istream& stream, int64_t bytes, ValueType type) {
  Layout layout{.row_front = sizeof(int32_t), .type = type};
  if (bytes == 0) {
    layout.dimension = 1;
    return layout;
  }
  int32_t dimension = 0;
  if (!stream.read(reinterpret_cast<char*>(&dimension), sizeof(dimension))) {
    return Damaged(absl::StrCat("it has ", bytes, " bytes: not even the dimension of one row"));
  }
  if (absl::Status status = CheckDimension(dimension, "of row 0"); !status.ok()) {
    return status;
  }
  layout.dimension = dimension;
  layout.rows = bytes / layout.row_bytes();
  if (const int64_t rest = bytes % layout.row_bytes(); rest != 0) {
    return Damaged(absl::StrCat("row ", layout.rows, " at byte ", bytes - rest, " has ", rest,
                                " of its ", layout.row_bytes(), " bytes: the file is cut off"));
  }
  return layout;
}

absl::StatusOr<Layout> ReadBinLayout(std::istream& stream, int64_t bytes, ValueType type) {
  uint32_t header[2] = {};
  if (!stream.read(reinterpret_cast<char*>(header), sizeof(header))) {
    return Damaged(absl::StrCat("it has ", bytes, " bytes, its header takes 8"));
  }
  if (absl::Status status = CheckDimension(header[1], "in its header"); !status.ok()) {
    return status;
  }
  const Layout layout{
      .begin = sizeof(header), .rows = header[0], .dimension = header[1], .type = type};
  if (absl::Status status = CheckSize(layout, bytes, "its header says"); !status.ok()) {
    return status;
  }
  return layout;
}

// What the header of an .npy file says: a dictionary in Python's notation.
class NpyHeader {
 public:
  explicit NpyHeader(absl::string_view text) : rest_(text) {}

  absl::Status Parse() {
    if (!Take("{")) return Unexpected("{");
    while (!Take("}")) {
      std::string key;
      if (!TakeQuoted(&key)) return Unexpected("a key in quotes");
      if (!Take(":")) return Unexpected(":");
      bool ok = false;
      if (key == "descr") {
        ok = TakeQuoted(&descr_);
      } else if (key == "fortran_order") {
        fortran_order_ = Take("True");
        ok = fortran_order_ || Take("False");
      } else if (key == "shape") {
        ok = TakeShape();
      } else {
        return Damaged(absl::StrCat("its header has the unknown key ", key));
      }
      if (!ok) return Unexpected(absl::StrCat("a value of ", key));
      if (!Take(",") && !absl::StartsWith(Trimmed(), "}")) return Unexpected("} or ,");
    }
    return Trimmed().empty() ? absl::OkStatus() : Unexpected("nothing more");
  }

  absl::StatusOr<Layout> ToLayout(int64_t begin) const {
    const std::pair<absl::string_view, ValueType> types[] = {{"<f4", ValueType::kF32},
                                                             {"<f2", ValueType::kF16},
                                                             {"|u1", ValueType::kU8},
                                                             {"|i1", ValueType::kI8}};
    const auto* const type = std::find_if(std::begin(types), std::end(types),
                                          [this](const auto& t) { return t.first == descr_; });
    if (type == std::end(types)) {
      return absl::InvalidArgumentError(
          absl::StrCat("its values are of type \"", descr_, "\", read are <f4, <f2, |u1 and |i1"));
    }
    if (fortran_order_) {
      return absl::InvalidArgumentError(
          "it is in Fortran order; numpy.save(file, numpy.ascontiguousarray(array)) mends that");
    }
    if (shape_.size() != 2) {
      return absl::InvalidArgumentError(
          absl::StrCat("its array has ", shape_.size(), " dimensions, read are those with 2"));
    }
    if (absl::Status status = CheckDimension(shape_[1], "in its shape"); !status.ok()) {
      return status;
    }
    return Layout{.begin = begin, .rows = shape_[0], .dimension = shape_[1], .type = type->second};
  }

 private:
  absl::string_view Trimmed() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\n')) {
      rest_.remove_prefix(1);
    }
    return rest_;
  }
  bool Take(absl::string_view token) {
    Trimmed();
    return absl::ConsumePrefix(&rest_, token);
  }
  bool TakeQuoted(std::string* text) {
    Trimmed();
    if (rest_.empty() || (rest_[0] != '\'' && rest_[0] != '"')) return false;
    const size_t end = rest_.find(rest_[0], 1);
    if (end == absl::string_view::npos) return false;
    *text = std::string(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    return true;
  }
  bool TakeShape() {
    if (!Take("(")) return false;
    while (!Take(")")) {
      const size_t digits = std::min(Trimmed().find_first_not_of("0123456789"), rest_.size());
      int64_t size = 0;
      if (!absl::SimpleAtoi(rest_.substr(0, digits), &size)) return false;
      rest_.remove_prefix(digits);
      shape_.push_back(size);
      if (!Take(",") && !absl::StartsWith(Trimmed(), ")")) return false;
    }
    return true;
  }
  absl::Status Unexpected(absl::string_view wanted) const {
    return Damaged(absl::StrCat("its header has \"", rest_.substr(0, 20), "\" where ", wanted,
                                " is expected"));
  }

  absl::string_view rest_;
  std::string descr_;
  bool fortran_order_ = false;
  std::vector<int64_t> shape_;
};

absl::StatusOr<Layout> ReadNpyLayout(std::istream& stream, int64_t bytes) {
  constexpr absl::string_view kMagic("\x93NUMPY", 6);
  char front[8] = {};
  if (!stream.read(front, sizeof(front)) || !absl::StartsWith({front, sizeof(front)}, kMagic)) {
    return Damaged("it does not start as an .npy file does");
  }
  const int version = front[6];
  if (version < 1 || version > 3) {
    return absl::InvalidArgumentError(
        absl::StrCat("it is of .npy version ", version, ", read are 1 to 3"));
  }
  uint32_t header_bytes = 0;
  const int64_t length_bytes = version == 1 ? 2 : 4;
  if (!stream.read(reinterpret_cast<char*>(&header_bytes), length_bytes) ||
      header_bytes > kNpyHeaderBytesMax) {
    return Damaged(absl::StrCat("its header is said to have ", header_bytes, " bytes"));
  }
  std::string header(header_bytes, '\0');
  if (!stream.read(header.data(), std::ssize(header))) {
    return Damaged("it ends within its header");
  }
  NpyHeader parsed(header);
  if (absl::Status status = parsed.Parse(); !status.ok()) {
    return status;
  }
  absl::StatusOr<Layout> layout =
      parsed.ToLayout(static_cast<int64_t>(sizeof(front)) + length_bytes + header_bytes);
  if (!layout.ok()) {
    return layout;
  }
  if (absl::Status status = CheckSize(*layout, bytes, "its shape says"); !status.ok()) {
    return status;
  }
  return layout;
}

class JsonlFile final : public VectorFile {
 public:
  explicit JsonlFile(std::istream& stream) : stream_(stream) {}

  absl::Status Skip(int64_t rows) override {
    for (int64_t row = 0; row < rows; ++row) {
      absl::StatusOr<bool> read = ReadLine();
      if (!read.ok()) {
        return read.status();
      }
      if (!*read) {
        return absl::OutOfRangeError(
            absl::StrCat("it has ", row, " rows, ", rows, " are to be skipped"));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<bool> Next(FilePoint* point) override {
    absl::StatusOr<bool> read = ReadLine();
    if (!read.ok() || !*read) {
      return read;
    }
    const nlohmann::json json = nlohmann::json::parse(line_, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) {
      return Wrong(json.is_discarded() ? "is no JSON" : "is no JSON object");
    }
    *point = {};
    bool has_id = false;
    bool has_vector = false;
    for (const auto& [key, value] : json.items()) {
      absl::Status status;
      if (key == "id") {
        has_id = true;
        status = SetId(value, point);
      } else if (key == "vector") {
        has_vector = true;
        status = SetVector(value, point);
      } else if (key == "payload") {
        status = SetPayload(value, point);
      } else {
        status = Wrong("has another key than id, vector and payload");
      }
      if (!status.ok()) {
        return status;
      }
    }
    if (!has_id) {
      return Wrong("has no id");
    }
    if (!has_vector) {
      return Wrong("has no vector");
    }
    return true;
  }

 private:
  // The next line that is not blank.
  absl::StatusOr<bool> ReadLine() {
    do {
      line_.clear();
      ++line_number_;
      std::streambuf& buffer = *stream_.rdbuf();
      int c = buffer.sbumpc();
      if (c == std::char_traits<char>::eof()) {
        return false;
      }
      for (; c != std::char_traits<char>::eof() && c != '\n'; c = buffer.sbumpc()) {
        if (line_.size() == kLineBytesMax) {
          return Wrong(absl::StrCat("is longer than ", kLineBytesMax, " bytes"));
        }
        line_.push_back(static_cast<char>(c));
      }
      bytes_read_ += std::ssize(line_) + 1;
    } while (line_.find_first_not_of(" \t\r") == std::string::npos);
    return true;
  }

  absl::Status Wrong(absl::string_view what) const {
    return Damaged(absl::StrCat("line ", line_number_, " ", what));
  }

  absl::Status SetId(const nlohmann::json& json, FilePoint* point) const {
    point->id = 0;
    point->uuid.clear();
    if (json.is_string()) {
      point->uuid = json.get<std::string>();
      if (!point->uuid.empty()) return absl::OkStatus();
    }
    if (!json.is_number_unsigned()) {
      return Wrong("has an id that is neither a whole number from 0 to 2^64 - 1 nor a UUID");
    }
    point->id = json.get<uint64_t>();
    return absl::OkStatus();
  }

  absl::Status SetVector(const nlohmann::json& json, FilePoint* point) const {
    if (!json.is_array()) {
      return Wrong("has a vector that is no array");
    }
    if (absl::Status status = CheckDimension(static_cast<int64_t>(json.size()),
                                             absl::StrCat("of the vector in line ", line_number_));
        !status.ok()) {
      return status;
    }
    point->vector.reserve(json.size());
    for (const nlohmann::json& value : json) {
      if (!value.is_number() || !std::isfinite(static_cast<float>(value.get<double>()))) {
        return Wrong(absl::StrCat("has a vector whose value ", point->vector.size(),
                                  " is no finite number"));
      }
      point->vector.push_back(static_cast<float>(value.get<double>()));
    }
    return absl::OkStatus();
  }

  absl::Status SetPayload(const nlohmann::json& json, FilePoint* point) const {
    if (!json.is_object()) {
      return Wrong("has a payload that is no object");
    }
    for (const auto& [key, value] : json.items()) {
      if (value.is_string()) {
        point->payload[key] = value.get<std::string>();
      } else if (value.is_boolean()) {
        point->payload[key] = value.get<bool>();
      } else if (value.is_number_unsigned() &&
                 value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
        return Wrong(absl::StrCat("has a payload whose \"", key, "\" is above 2^63 - 1"));
      } else if (value.is_number_integer()) {
        point->payload[key] = value.get<int64_t>();
      } else if (value.is_number_float()) {
        point->payload[key] = value.get<double>();
      } else {
        return Wrong(
            absl::StrCat("has a payload whose \"", key, "\" is no text, number, true or false"));
      }
    }
    return absl::OkStatus();
  }

  std::istream& stream_;
  int64_t line_number_ = 0;
  std::string line_;
};

}  // namespace

absl::StatusOr<VectorFormat> FormatOf(absl::string_view path) {
  const std::pair<absl::string_view, VectorFormat> formats[] = {
      {".fvecs", VectorFormat::kFvecs}, {".bvecs", VectorFormat::kBvecs},
      {".npy", VectorFormat::kNpy},     {".fbin", VectorFormat::kFbin},
      {".u8bin", VectorFormat::kU8bin}, {".i8bin", VectorFormat::kI8bin},
      {".jsonl", VectorFormat::kJsonl}};
  for (const auto& [ending, format] : formats) {
    if (absl::EndsWith(path, ending)) {
      return format;
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      path, ": files of vectors end in .fvecs, .bvecs, .npy, .fbin, .u8bin, .i8bin or .jsonl"));
}

absl::StatusOr<std::unique_ptr<VectorFile>> VectorFile::Open(VectorFormat format,
                                                             std::istream& stream, int64_t bytes) {
  const auto layout = [&]() -> absl::StatusOr<Layout> {
    switch (format) {
      case VectorFormat::kFvecs:
        return ReadVecsLayout(stream, bytes, ValueType::kF32);
      case VectorFormat::kBvecs:
        return ReadVecsLayout(stream, bytes, ValueType::kU8);
      case VectorFormat::kFbin:
        return ReadBinLayout(stream, bytes, ValueType::kF32);
      case VectorFormat::kU8bin:
        return ReadBinLayout(stream, bytes, ValueType::kU8);
      case VectorFormat::kI8bin:
        return ReadBinLayout(stream, bytes, ValueType::kI8);
      case VectorFormat::kNpy:
      case VectorFormat::kJsonl:
        break;
    }
    return ReadNpyLayout(stream, bytes);
  };
  if (format == VectorFormat::kJsonl) {
    return std::make_unique<JsonlFile>(stream);
  }
  absl::StatusOr<Layout> read = layout();
  if (!read.ok()) {
    return read.status();
  }
  stream.clear();
  return std::make_unique<RowsFile>(stream, *read);
}

}  // namespace baton::ctl
