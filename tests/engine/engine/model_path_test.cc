#include "engine/model_path.h"

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace baton {
namespace {

TEST_CASE("a path leads to a file within the directory, or is refused") {
  const TempDir dir;
  std::filesystem::create_directories(dir.File("models/sub"));
  const std::string models = dir.File("models");
  dir.Write("models/a.gguf", "a");
  dir.Write("models/sub/b.gguf", "b");
  dir.Write("secret.gguf", "s");
  std::filesystem::create_symlink("a.gguf", models + "/inside");
  std::filesystem::create_symlink("../secret.gguf", models + "/outside");
  std::filesystem::create_symlink("..", models + "/up");
  std::filesystem::create_symlink("nothing", models + "/dangling");
  std::filesystem::create_directory(dir.File("models-too"));
  dir.Write("models-too/c.gguf", "c");
  const std::string real = std::filesystem::canonical(models).string();

  for (const std::string& directory : {models, models + "/", models + "/sub/.."}) {
    CAPTURE(directory);
    CHECK(*ResolveModelPath(directory, "a.gguf") == real + "/a.gguf");
    CHECK(*ResolveModelPath(directory, "./sub//b.gguf") == real + "/sub/b.gguf");
    CHECK(*ResolveModelPath(directory, "inside") == real + "/a.gguf");
    CHECK(*ResolveModelPath(directory, models + "/sub/b.gguf") == real + "/sub/b.gguf");
  }
  using Code = absl::StatusCode;
  REQUIRE_STATUS(ResolveModelPath(models, "../secret.gguf"), Code::kInvalidArgument, "\"..\"");
  REQUIRE_STATUS(ResolveModelPath(models, "sub/../a.gguf"), Code::kInvalidArgument, "\"..\"");
  REQUIRE_STATUS(ResolveModelPath(models, "outside"), Code::kPermissionDenied, "outside");
  REQUIRE_STATUS(ResolveModelPath(models, "up/secret.gguf"), Code::kPermissionDenied,
                 "repository.directory");
  REQUIRE_STATUS(ResolveModelPath(models, dir.File("secret.gguf")), Code::kPermissionDenied,
                 "secret");
  REQUIRE_STATUS(ResolveModelPath(models, dir.File("models-too/c.gguf")), Code::kPermissionDenied,
                 "models-too");
  REQUIRE_STATUS(ResolveModelPath(models, "/etc/passwd"), Code::kPermissionDenied, "passwd");
  REQUIRE_STATUS(ResolveModelPath(models, models), Code::kPermissionDenied, "models");
  REQUIRE_STATUS(ResolveModelPath(models, "dangling"), Code::kNotFound, "dangling");
  REQUIRE_STATUS(ResolveModelPath(models, "none.gguf"), Code::kNotFound, "none.gguf");
  REQUIRE_STATUS(ResolveModelPath(models, "sub"), Code::kInvalidArgument, "not a file");
  REQUIRE_STATUS(ResolveModelPath(models, "."), Code::kPermissionDenied, "\".\"");
  REQUIRE_STATUS(ResolveModelPath(models, "a.gguf/b"), Code::kInvalidArgument, "a.gguf/b");
  REQUIRE_STATUS(ResolveModelPath(models, ""), Code::kInvalidArgument, "is 0");
  REQUIRE_STATUS(ResolveModelPath(models, std::string(5000, 'a')), Code::kInvalidArgument, "5000");
  REQUIRE_STATUS(ResolveModelPath(models, std::string("a.gguf\0b", 8)), Code::kInvalidArgument,
                 "NUL");
  REQUIRE_STATUS(ResolveModelPath("", "a.gguf"), Code::kFailedPrecondition,
                 "repository.directory is not set");
  REQUIRE_STATUS(ResolveModelPath(dir.File("gone"), "a.gguf"), Code::kFailedPrecondition, "gone");
}

}  // namespace
}  // namespace baton
