// Any bytes as a file of vectors: refused with a status, or read to vectors of finite values, no
// more of them than there are bytes. The first byte chooses the format.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>

#include "server/batonctl/vector_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton::ctl;
  if (size == 0) {
    return 0;
  }
  const std::string content(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::istringstream stream(content);
  const auto file = VectorFile::Open(static_cast<VectorFormat>(data[0] % 7), stream,
                                     static_cast<int64_t>(content.size()));
  if (!file.ok()) {
    return 0;
  }
  if (!(*file)->Skip(data[0] / 128).ok()) {
    return 0;
  }
  FilePoint point;
  for (size_t rows = 0;; ++rows) {
    const auto next = (*file)->Next(&point);
    if (!next.ok() || !*next) {
      return 0;
    }
    if (rows > content.size() || point.vector.empty()) {
      std::abort();
    }
    for (const float value : point.vector) {
      if (!std::isfinite(value)) {
        std::abort();
      }
    }
  }
}
