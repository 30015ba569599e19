#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>

namespace baton {

// A file or folder of the test data that is not part of the repository: under $BATON_SHARED_DATA,
// or ../shared/data beside the repository (tests run in its root). Where it is absent says so
// loudly; the caller then returns.
inline std::optional<std::filesystem::path> SharedData(const std::filesystem::path& relative) {
  const char* root = std::getenv("BATON_SHARED_DATA");
  const auto path = std::filesystem::path(root != nullptr ? root : "../shared/data") / relative;
  if (!std::filesystem::exists(path)) {
    std::cout << "SKIPPED: no test data at " << path.string() << "\n";
    return std::nullopt;
  }
  return path;
}

inline std::string ReadWholeFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace baton
