#include "config/text_file.h"

#include <cerrno>
#include <cstdio>
#include <memory>

#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr size_t kFileBytesMax = 1 << 20;

}  // namespace

absl::StatusOr<std::string> ReadTextFile(const std::string& path, std::string_view what) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             &std::fclose);
  if (file == nullptr) {
    return absl::ErrnoToStatus(errno, StrCat("cannot read the ", what, " ", path));
  }
  std::string text(kFileBytesMax + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get()) != 0) {
    return absl::ErrnoToStatus(errno, StrCat("cannot read the ", what, " ", path));
  }
  if (text.size() > kFileBytesMax) {
    return absl::InvalidArgumentError(
        StrCat(path, " is longer than ", kFileBytesMax, " bytes: not a ", what, " of batond"));
  }
  return text;
}

}  // namespace baton
