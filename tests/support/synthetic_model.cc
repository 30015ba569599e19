// synthetic_model SHAPE TYPE FILE: writes a GGUF file of a published model's shape with random
// weights. SHAPE: 8b, 1b or tiny; TYPE: bf16, f16, f32, q8_0, q4_0, q4_k or q6_k. Some rows of each
// matrix are random, and repeated: it takes as long as the disk does.

#include <cstdio>
#include <fstream>
#include <string_view>
#include <utility>

#include "tests/support/synthetic_shapes.h"

namespace baton {
namespace {

constexpr std::pair<std::string_view, TensorType> kTypes[] = {
    {"bf16", TensorType::kBF16}, {"f16", TensorType::kF16},   {"f32", TensorType::kF32},
    {"q8_0", TensorType::kQ8_0}, {"q4_0", TensorType::kQ4_0}, {"q4_k", TensorType::kQ4K},
    {"q6_k", TensorType::kQ6K}};

int Run(std::string_view shape_name, std::string_view type_name, const char* path) {
  std::optional<RandomModelOptions> shape = SyntheticShape(shape_name);
  std::optional<TensorType> type;
  for (const auto& [name, its] : kTypes) {
    if (name == type_name) type = its;
  }
  if (!shape || !type) {
    std::fprintf(stderr, "no shape or type is called %.*s, %.*s\n",
                 static_cast<int>(shape_name.size()), shape_name.data(),
                 static_cast<int>(type_name.size()), type_name.data());
    return 2;
  }
  shape->type = *type;
  GgufWriter writer;
  AddRandomModelKeys(*shape, writer);
  AddRandomModelTensors(*shape, writer);
  std::ofstream file(path, std::ios::binary);
  writer.Write(file);
  if (file.flush()) return 0;
  std::fprintf(stderr, "cannot write %s\n", path);
  return 1;
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s 8b|1b|tiny bf16|f16|f32|q8_0|q4_0|q4_k|q6_k FILE\n", argv[0]);
    return 2;
  }
  return baton::Run(argv[1], argv[2], argv[3]);
}
