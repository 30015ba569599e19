#include "engine/model/model_reader.h"

#include <algorithm>
#include <cmath>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/gguf.h"
#include "engine/model/weight_scan.h"

namespace baton {
namespace {

std::string Shown(const std::vector<int64_t>& dims) {
  std::string text;
  for (const int64_t size : dims) {
    text += StrCat(text.empty() ? "" : ", ", size);
  }
  return StrCat("[", text, "]");
}

}  // namespace

absl::Status ModelReader::Bad(std::string_view message) const {
  return file_.Error(absl::StatusCode::kInvalidArgument, message);
}

absl::Status ModelReader::Unsupported(std::string_view message) const {
  return file_.Error(absl::StatusCode::kUnimplemented, message);
}

std::string ModelReader::Key(std::string_view suffix) const {
  return StrCat(architecture_, ".", suffix);
}

absl::StatusOr<int32_t> ModelReader::ReadInt(std::string_view suffix, std::optional<int64_t> absent,
                                             Bounds bounds) const {
  const std::string key = Key(suffix);
  if (file_.Type(key) == GgufValueType::kArray) {
    return Unsupported(StrCat("key '", key, "' differs by layer, which is not supported"));
  }
  ASSIGN_OR_RETURN(const int64_t value,
                   absent.has_value() ? file_.GetIntOr(key, *absent) : file_.GetInt(key));
  if (value < bounds.min || value > bounds.max) {
    return Bad(
        StrCat("key '", key, "' is ", value, ", allowed are ", bounds.min, " to ", bounds.max));
  }
  return static_cast<int32_t>(value);
}

absl::StatusOr<float> ModelReader::ReadPositive(std::string_view suffix,
                                                std::optional<double> absent) const {
  const std::string key = Key(suffix);
  ASSIGN_OR_RETURN(const double value,
                   absent.has_value() ? file_.GetFloatOr(key, *absent) : file_.GetFloat(key));
  const auto narrow = static_cast<float>(value);
  if (!std::isfinite(narrow) || !(narrow > 0)) {
    return Bad(StrCat("key '", key, "' is ", value, ", a positive number is needed"));
  }
  return narrow;
}

absl::StatusOr<MatrixView> ModelReader::Take(const std::string& name,
                                             const std::vector<int64_t>& dims) {
  const GgufTensor* tensor = file_.FindTensor(name);
  if (tensor == nullptr) {
    return Bad(StrCat("tensor '", name, "' is missing"));
  }
  const std::vector<int64_t> found(tensor->dims.rbegin(), tensor->dims.rend());
  if (found != dims) {
    return Bad(StrCat("tensor '", name, "' is of shape ", Shown(found), ", wanted ", Shown(dims)));
  }
  const std::optional<TensorType> type = TensorTypeOf(tensor->type);
  if (!type) {
    std::string known;
    for (const TensorType each : TensorTypes()) {
      known += StrCat(known.empty() ? "" : ", ", Name(each));
    }
    return Unsupported(StrCat("tensor '", name, "' is of type ", GgmlTypeName(tensor->type),
                              ", only these are supported: ", known));
  }
  const MatrixView view{.type = *type,
                        .data = tensor->data.data(),
                        .rows = dims.size() == 2 ? dims[0] : 1,
                        .cols = dims.back()};
  if (!AllFinite(*type, view.data, view.rows * view.cols)) {
    return Bad(StrCat("tensor '", name, "' holds a NaN or an infinity"));
  }
  taken_.insert(tensor->name);
  weight_bytes_ += static_cast<int64_t>(tensor->data.size());
  parameters_ += view.rows * view.cols;
  return view;
}

absl::StatusOr<MatrixView> ModelReader::TakeMatrix(const std::string& name, int64_t rows,
                                                   int64_t cols) {
  return Take(name, {rows, cols});
}

absl::StatusOr<const float*> ModelReader::TakeVector(const std::string& name, int64_t size) {
  ASSIGN_OR_RETURN(const MatrixView view, Take(name, {size}));
  if (view.type != TensorType::kF32) {
    return Unsupported(
        StrCat("tensor '", name, "' is of type ", Name(view.type), ", only F32 is supported here"));
  }
  return reinterpret_cast<const float*>(view.data);  // aligned: see GgufFile
}

absl::StatusOr<const float*> ModelReader::TakeOptionalVector(const std::string& name,
                                                             int64_t size) {
  if (file_.FindTensor(name) == nullptr) {
    return nullptr;
  }
  return TakeVector(name, size);
}

MatrixView ModelReader::TakeRows(MatrixView& matrix, int64_t rows) {
  MatrixView first = matrix;
  first.rows = rows;
  matrix.data += rows * RowBytes(matrix.type, matrix.cols);
  matrix.rows -= rows;
  return first;
}

absl::Status ModelReader::CheckNothingUnused(
    std::initializer_list<std::string_view> ignored) const {
  for (const GgufTensor& tensor : file_.tensors()) {
    const bool left_out = std::ranges::any_of(
        ignored, [&tensor](std::string_view suffix) { return tensor.name.ends_with(suffix); });
    if (!left_out && !taken_.contains(tensor.name)) {
      return Unsupported(StrCat("tensor '", Escaped(tensor.name), "' is not part of a plain ",
                                architecture_, " model"));
    }
  }
  return absl::OkStatus();
}

}  // namespace baton
