#include "engine/model/gguf.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

static_assert(std::endian::native == std::endian::little, "values are read as the file holds them");

constexpr uint64_t kDefaultAlignmentBytes = 32;
constexpr uint64_t kMinAlignmentBytes = 8;  // so that f32 data may be read in place
// A tensor's weights and bytes stay below this, so that sums of extents cannot overflow.
constexpr uint64_t kMaxTensorWeights = uint64_t{1} << 48;

struct GgmlType {
  uint32_t number;
  std::string_view name;
  uint64_t block_weights;
  uint64_t block_bytes;
};

constexpr GgmlType kGgmlTypes[] = {
    {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},      {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 36},      {10, "Q2_K", 256, 84},
    {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74},  {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},  {22, "IQ2_S", 256, 82},
    {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
    {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},
    {29, "IQ1_M", 256, 56},   {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},
};

const GgmlType* FindGgmlType(uint32_t number) {
  for (const GgmlType& type : kGgmlTypes) {
    if (type.number == number) {
      return &type;
    }
  }
  return nullptr;
}

std::string_view TypeName(GgufValueType type) {
  constexpr std::string_view kNames[] = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                         "int32",  "float32", "bool",   "string", "array",
                                         "uint64", "int64",   "float64"};
  return kNames[static_cast<uint32_t>(type)];
}

// Bytes of one value of a fixed-size type; 0 for strings and arrays.
uint64_t ScalarBytes(GgufValueType type) {
  switch (type) {
    case GgufValueType::kUint8:
    case GgufValueType::kInt8:
    case GgufValueType::kBool:
      return 1;
    case GgufValueType::kUint16:
    case GgufValueType::kInt16:
      return 2;
    case GgufValueType::kUint32:
    case GgufValueType::kInt32:
    case GgufValueType::kFloat32:
      return 4;
    case GgufValueType::kUint64:
    case GgufValueType::kInt64:
    case GgufValueType::kFloat64:
      return 8;
    case GgufValueType::kString:
    case GgufValueType::kArray:
      return 0;
  }
  return 0;
}

template <class T>
T Load(std::span<const std::byte> bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

template <class T>
std::vector<T> LoadArray(std::span<const std::byte> bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) {
    std::memcpy(values.data(), bytes.data(), bytes.size());
  }
  return values;
}

std::string Quoted(std::string_view name) { return StrCat("'", Escaped(name), "'"); }

std::string_view AsText(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::string GgmlTypeName(uint32_t type) {
  const GgmlType* known = FindGgmlType(type);
  return known != nullptr ? std::string(known->name) : StrCat("type ", type);
}

// Reads the file front to back; every read is checked against what is left.
class GgufFile::Parser {
 public:
  explicit Parser(GgufFile& file) : file_(file), left_(file.bytes_) {}

  absl::Status Parse() {
    RETURN_IF_ERROR(ParseHeader());
    for (uint64_t i = 0; i < key_count_; ++i) {
      RETURN_IF_ERROR(ParseKey(i));
    }
    RETURN_IF_ERROR(ReadAlignment());
    std::vector<uint64_t> offsets;
    for (uint64_t i = 0; i < tensor_count_; ++i) {
      RETURN_IF_ERROR(ParseTensorInfo(i, offsets));
    }
    return PlaceTensors(offsets);
  }

 private:
  absl::Status Bad(std::string_view message) const {
    return file_.Error(absl::StatusCode::kInvalidArgument, message);
  }
  absl::Status Truncated(std::string_view what) const {
    return Bad(StrCat("the file ends inside ", what, " (", file_.bytes_.size(), " bytes)"));
  }

  absl::StatusOr<std::span<const std::byte>> Take(uint64_t bytes, std::string_view what) {
    if (bytes > left_.size()) {
      return Truncated(what);
    }
    const auto taken = left_.first(bytes);
    left_ = left_.subspan(bytes);
    return taken;
  }
  template <class T>
  absl::StatusOr<T> Read(std::string_view what) {
    ASSIGN_OR_RETURN(const auto bytes, Take(sizeof(T), what));
    return Load<T>(bytes);
  }
  absl::StatusOr<std::string_view> ReadString(uint64_t bytes_max, std::string_view what) {
    ASSIGN_OR_RETURN(const uint64_t length, Read<uint64_t>(what));
    if (length > bytes_max) {
      return Bad(
          StrCat(what, ": a length of ", length, " bytes, at most ", bytes_max, " are allowed"));
    }
    ASSIGN_OR_RETURN(const auto bytes, Take(length, what));
    return AsText(bytes);
  }

  absl::Status ParseHeader() {
    ASSIGN_OR_RETURN(const auto magic, Take(4, "the header"));
    if (AsText(magic) != "GGUF") {
      return Bad(StrCat("not a GGUF file (it starts with ", Quoted(AsText(magic)), ")"));
    }
    ASSIGN_OR_RETURN(const uint32_t version, Read<uint32_t>("the header"));
    if (version != 2 && version != 3) {
      const bool swapped = version == 2u << 24 || version == 3u << 24;
      return file_.Error(
          absl::StatusCode::kUnimplemented,
          swapped ? "big-endian GGUF files are not supported"
                  : StrCat("GGUF version ", version, " is not supported, only 2 and 3 are"));
    }
    file_.version_ = version;
    ASSIGN_OR_RETURN(tensor_count_, Read<uint64_t>("the header"));
    ASSIGN_OR_RETURN(key_count_, Read<uint64_t>("the header"));
    if (tensor_count_ > kGgufMaxTensors) {
      return Bad(StrCat(tensor_count_, " tensors, at most ", kGgufMaxTensors, " are allowed"));
    }
    if (key_count_ > kGgufMaxKeys) {
      return Bad(StrCat(key_count_, " keys, at most ", kGgufMaxKeys, " are allowed"));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<GgufValueType> ReadType(std::string_view what) {
    ASSIGN_OR_RETURN(const uint32_t type, Read<uint32_t>(what));
    if (type > static_cast<uint32_t>(GgufValueType::kFloat64)) {
      return Bad(StrCat(what, ": unknown value type ", type));
    }
    return static_cast<GgufValueType>(type);
  }

  absl::Status ParseKey(uint64_t index) {
    ASSIGN_OR_RETURN(const std::string_view key,
                     ReadString(kGgufMaxKeyBytes, StrCat("the name of key ", index)));
    const std::string what = StrCat("key ", Quoted(key));
    Value value;
    ASSIGN_OR_RETURN(value.type, ReadType(what));
    const auto start = left_;
    if (value.type == GgufValueType::kString) {
      RETURN_IF_ERROR(ReadString(kGgufMaxStringBytes, what).status());
    } else if (value.type == GgufValueType::kArray) {
      RETURN_IF_ERROR(ParseArray(what, value));
      // An array's bytes are its elements; start after its element type and count.
      const auto elements = start.subspan(sizeof(uint32_t) + sizeof(uint64_t));
      value.bytes = elements.first(elements.size() - left_.size());
    } else {
      ASSIGN_OR_RETURN(const auto bytes, Take(ScalarBytes(value.type), what));
      if (value.type == GgufValueType::kBool && Load<uint8_t>(bytes) > 1) {
        return Bad(StrCat(what, ": a bool of value ", Load<uint8_t>(bytes)));
      }
    }
    if (value.type != GgufValueType::kArray) {
      value.bytes = start.first(start.size() - left_.size());
    }
    if (!file_.values_.emplace(key, value).second) {
      return Bad(StrCat(what, " appears twice"));
    }
    return absl::OkStatus();
  }

  absl::Status ParseArray(const std::string& what, Value& value) {
    ASSIGN_OR_RETURN(value.element, ReadType(what));
    ASSIGN_OR_RETURN(value.count, Read<uint64_t>(what));
    if (value.element == GgufValueType::kArray) {
      return file_.Error(absl::StatusCode::kUnimplemented,
                         StrCat(what, ": arrays of arrays are not supported"));
    }
    if (value.count > kGgufMaxArrayElements) {
      return Bad(StrCat(what, ": ", value.count, " elements, at most ", kGgufMaxArrayElements,
                        " are allowed"));
    }
    if (value.element != GgufValueType::kString) {
      return Take(value.count * ScalarBytes(value.element), what).status();
    }
    for (uint64_t i = 0; i < value.count; ++i) {
      RETURN_IF_ERROR(ReadString(kGgufMaxStringBytes, what).status());
    }
    return absl::OkStatus();
  }

  absl::Status ReadAlignment() {
    ASSIGN_OR_RETURN(const int64_t alignment,
                     file_.GetIntOr("general.alignment", kDefaultAlignmentBytes));
    alignment_ = static_cast<uint64_t>(alignment);
    if (alignment < static_cast<int64_t>(kMinAlignmentBytes) ||
        alignment_ > kGgufMaxAlignmentBytes || !std::has_single_bit(alignment_)) {
      return Bad(StrCat("general.alignment is ", alignment, ", a power of two from ",
                        kMinAlignmentBytes, " to ", kGgufMaxAlignmentBytes, " is needed"));
    }
    return absl::OkStatus();
  }

  absl::Status ParseTensorInfo(uint64_t index, std::vector<uint64_t>& offsets) {
    ASSIGN_OR_RETURN(const std::string_view name,
                     ReadString(kGgufMaxTensorNameBytes, StrCat("the name of tensor ", index)));
    const std::string what = StrCat("tensor ", Quoted(name));
    GgufTensor tensor;
    tensor.name = name;
    ASSIGN_OR_RETURN(const uint32_t dims, Read<uint32_t>(what));
    if (dims == 0 || dims > kGgufMaxDims) {
      return Bad(StrCat(what, ": ", dims, " dimensions, 1 to ", kGgufMaxDims, " are allowed"));
    }
    uint64_t weights = 1;
    for (uint32_t d = 0; d < dims; ++d) {
      ASSIGN_OR_RETURN(const uint64_t size, Read<uint64_t>(what));
      if (size == 0 || size > kMaxTensorWeights / weights) {
        return Bad(StrCat(what, ": dimension ", d, " is ", size, ", which is empty or too large"));
      }
      weights *= size;
      tensor.dims.push_back(static_cast<int64_t>(size));
    }
    ASSIGN_OR_RETURN(tensor.type, Read<uint32_t>(what));
    const GgmlType* type = FindGgmlType(tensor.type);
    if (type == nullptr) {
      return file_.Error(absl::StatusCode::kUnimplemented,
                         StrCat(what, ": unknown tensor type ", tensor.type));
    }
    if (static_cast<uint64_t>(tensor.dims[0]) % type->block_weights != 0) {
      return Bad(StrCat(what, ": rows of ", tensor.dims[0], " weights are not whole blocks of ",
                        type->block_weights, " (", type->name, ")"));
    }
    ASSIGN_OR_RETURN(const uint64_t offset, Read<uint64_t>(what));
    if (offset % alignment_ != 0) {
      return Bad(
          StrCat(what, ": offset ", offset, " is not a multiple of the alignment ", alignment_));
    }
    if (!file_.tensor_index_.emplace(name, file_.tensors_.size()).second) {
      return Bad(StrCat(what, " appears twice"));
    }
    file_.tensors_.push_back(std::move(tensor));
    offsets.push_back(offset);
    return absl::OkStatus();
  }

  // Data starts at the next multiple of the alignment after the directory.
  absl::Status PlaceTensors(const std::vector<uint64_t>& offsets) {
    if (offsets.empty()) {
      return absl::OkStatus();
    }
    const uint64_t directory_end = file_.bytes_.size() - left_.size();
    const uint64_t data_start = (directory_end + alignment_ - 1) / alignment_ * alignment_;
    if (data_start > file_.bytes_.size()) {
      return Truncated("the padding before the tensors' data");
    }
    const auto data = file_.bytes_.subspan(data_start);
    for (size_t i = 0; i < offsets.size(); ++i) {
      GgufTensor& tensor = file_.tensors_[i];
      const GgmlType& type = *FindGgmlType(tensor.type);
      uint64_t weights = 1;
      for (const int64_t size : tensor.dims) {
        weights *= static_cast<uint64_t>(size);
      }
      const uint64_t bytes = weights / type.block_weights * type.block_bytes;
      if (offsets[i] > data.size() || bytes > data.size() - offsets[i]) {
        return Bad(StrCat("tensor ", Quoted(tensor.name), ": its ", bytes, " bytes at offset ",
                          offsets[i], " leave the ", data.size(), " bytes of data"));
      }
      tensor.data = data.subspan(offsets[i], bytes);
    }
    return CheckOverlap();
  }

  absl::Status CheckOverlap() const {
    std::vector<const GgufTensor*> sorted;
    for (const GgufTensor& tensor : file_.tensors_) {
      sorted.push_back(&tensor);
    }
    std::sort(sorted.begin(), sorted.end(), [](const GgufTensor* a, const GgufTensor* b) {
      return a->data.data() < b->data.data();
    });
    for (size_t i = 1; i < sorted.size(); ++i) {
      const GgufTensor& before = *sorted[i - 1];
      if (before.data.data() + before.data.size() > sorted[i]->data.data()) {
        return Bad(
            StrCat("tensors ", Quoted(before.name), " and ", Quoted(sorted[i]->name), " overlap"));
      }
    }
    return absl::OkStatus();
  }

  GgufFile& file_;
  std::span<const std::byte> left_;
  uint64_t tensor_count_ = 0;
  uint64_t key_count_ = 0;
  uint64_t alignment_ = kDefaultAlignmentBytes;
};

absl::StatusOr<std::unique_ptr<const GgufFile>> GgufFile::Open(const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<GgufFile> file, OpenPart(path));
  RETURN_IF_ERROR(file->OpenShards());
  return file;
}

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::OpenPart(const std::string& path) {
  std::unique_ptr<GgufFile> file(new GgufFile());
  file->path_ = path;
  // O_NONBLOCK: opening a FIFO must not hang.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const int error = errno;
    return absl::ErrnoToStatus(error, StrCat(path, ": cannot be opened"));
  }
  struct stat info;
  const bool known = fstat(fd, &info) == 0;
  if (!known || !S_ISREG(info.st_mode) || info.st_size == 0) {
    close(fd);
    return file->Error(absl::StatusCode::kInvalidArgument,
                       known && S_ISREG(info.st_mode) ? "the file is empty" : "not a regular file");
  }
  const auto size = static_cast<size_t>(info.st_size);
  void* mapping = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  const int error = errno;
  close(fd);
  if (mapping == MAP_FAILED) {
    return absl::ErrnoToStatus(error, StrCat(path, ": cannot be mapped"));
  }
  file->mapping_ = mapping;
  file->bytes_ = {static_cast<const std::byte*>(mapping), size};
  RETURN_IF_ERROR(Parser(*file).Parse());
  return file;
}

absl::StatusOr<std::unique_ptr<const GgufFile>> GgufFile::FromMemory(
    std::string path, std::span<const std::byte> bytes) {
  std::unique_ptr<GgufFile> file(new GgufFile());
  file->path_ = std::move(path);
  // operator new aligns to 16 bytes, so tensors keep at least the smallest alignment allowed.
  file->copy_ = std::make_unique<std::byte[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), file->copy_.get());
  file->bytes_ = {file->copy_.get(), bytes.size()};
  RETURN_IF_ERROR(Parser(*file).Parse());
  ASSIGN_OR_RETURN(const int64_t shards, file->GetIntOr("split.count", 1));
  if (shards > 1) {
    return file->Error(
        absl::StatusCode::kUnimplemented,
        StrCat("one of ", shards, " files of a model; only whole models are read from memory"));
  }
  return file;
}

GgufFile::~GgufFile() {
  if (mapping_ != nullptr) {
    munmap(mapping_, bytes_.size());
  }
}

absl::Status GgufFile::Error(absl::StatusCode code, std::string_view message) const {
  return absl::Status(code, StrCat(path_, ": ", message));
}

absl::Status GgufFile::WrongType(std::string_view key, const Value& value,
                                 std::string_view wanted) const {
  return Error(
      absl::StatusCode::kInvalidArgument,
      StrCat("key ", Quoted(key), " is of type ", TypeName(value.type),
             value.type == GgufValueType::kArray ? StrCat(" of ", TypeName(value.element)) : "",
             ", wanted ", wanted));
}

absl::StatusOr<GgufFile::Value> GgufFile::Find(std::string_view key,
                                               std::string_view wanted) const {
  const auto it = values_.find(key);
  if (it == values_.end()) {
    return Error(absl::StatusCode::kNotFound,
                 StrCat("key ", Quoted(key), " (", wanted, ") is missing"));
  }
  return it->second;
}

absl::StatusOr<GgufFile::Value> GgufFile::FindArray(std::string_view key,
                                                    std::string_view wanted) const {
  ASSIGN_OR_RETURN(const Value value, Find(key, wanted));
  if (value.type != GgufValueType::kArray) {
    return WrongType(key, value, wanted);
  }
  return value;
}

std::optional<GgufValueType> GgufFile::Type(std::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? std::nullopt : std::optional(it->second.type);
}

absl::StatusOr<std::string_view> GgufFile::GetString(std::string_view key) const {
  ASSIGN_OR_RETURN(const Value value, Find(key, "a string"));
  if (value.type != GgufValueType::kString) {
    return WrongType(key, value, "a string");
  }
  return AsText(value.bytes.subspan(sizeof(uint64_t)));
}

absl::StatusOr<int64_t> GgufFile::GetInt(std::string_view key) const {
  ASSIGN_OR_RETURN(const Value value, Find(key, "an integer"));
  switch (value.type) {
    case GgufValueType::kUint8:
      return Load<uint8_t>(value.bytes);
    case GgufValueType::kInt8:
      return Load<int8_t>(value.bytes);
    case GgufValueType::kUint16:
      return Load<uint16_t>(value.bytes);
    case GgufValueType::kInt16:
      return Load<int16_t>(value.bytes);
    case GgufValueType::kUint32:
      return Load<uint32_t>(value.bytes);
    case GgufValueType::kInt32:
      return Load<int32_t>(value.bytes);
    case GgufValueType::kInt64:
      return Load<int64_t>(value.bytes);
    case GgufValueType::kUint64: {
      const auto number = Load<uint64_t>(value.bytes);
      if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return Error(absl::StatusCode::kInvalidArgument,
                     StrCat("key ", Quoted(key), " is ", number, ", which is too large"));
      }
      return static_cast<int64_t>(number);
    }
    default:
      return WrongType(key, value, "an integer");
  }
}

absl::StatusOr<double> GgufFile::GetFloat(std::string_view key) const {
  ASSIGN_OR_RETURN(const Value value, Find(key, "a float"));
  if (value.type == GgufValueType::kFloat32) {
    return Load<float>(value.bytes);
  }
  if (value.type == GgufValueType::kFloat64) {
    return Load<double>(value.bytes);
  }
  return WrongType(key, value, "a float");
}

absl::StatusOr<bool> GgufFile::GetBool(std::string_view key) const {
  ASSIGN_OR_RETURN(const Value value, Find(key, "a bool"));
  if (value.type != GgufValueType::kBool) {
    return WrongType(key, value, "a bool");
  }
  return Load<uint8_t>(value.bytes) != 0;
}

absl::StatusOr<std::vector<std::string_view>> GgufFile::GetStrings(std::string_view key) const {
  ASSIGN_OR_RETURN(const Value value, FindArray(key, "an array of strings"));
  if (value.element != GgufValueType::kString) {
    return WrongType(key, value, "an array of strings");
  }
  std::vector<std::string_view> strings;
  strings.reserve(value.count);
  auto left = value.bytes;
  for (uint64_t i = 0; i < value.count; ++i) {  // the parser has checked every length
    const auto length = Load<uint64_t>(left);
    strings.push_back(AsText(left.subspan(sizeof(uint64_t), length)));
    left = left.subspan(sizeof(uint64_t) + length);
  }
  return strings;
}

absl::StatusOr<std::vector<int32_t>> GgufFile::GetInts(std::string_view key) const {
  ASSIGN_OR_RETURN(const Value value, FindArray(key, "an array of 32-bit integers"));
  if (value.element != GgufValueType::kInt32 && value.element != GgufValueType::kUint32) {
    return WrongType(key, value, "an array of 32-bit integers");
  }
  return LoadArray<int32_t>(value.bytes);
}

absl::StatusOr<std::vector<float>> GgufFile::GetFloats(std::string_view key) const {
  ASSIGN_OR_RETURN(const Value value, FindArray(key, "an array of float32"));
  if (value.element != GgufValueType::kFloat32) {
    return WrongType(key, value, "an array of float32");
  }
  return LoadArray<float>(value.bytes);
}

absl::StatusOr<std::string_view> GgufFile::GetStringOr(std::string_view key,
                                                       std::string_view absent) const {
  return Type(key).has_value() ? GetString(key) : absent;
}
absl::StatusOr<int64_t> GgufFile::GetIntOr(std::string_view key, int64_t absent) const {
  return Type(key).has_value() ? GetInt(key) : absent;
}
absl::StatusOr<double> GgufFile::GetFloatOr(std::string_view key, double absent) const {
  return Type(key).has_value() ? GetFloat(key) : absent;
}
absl::StatusOr<bool> GgufFile::GetBoolOr(std::string_view key, bool absent) const {
  return Type(key).has_value() ? GetBool(key) : absent;
}

const GgufTensor* GgufFile::FindTensor(std::string_view name) const {
  const auto it = tensor_index_.find(name);
  return it == tensor_index_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace baton
