#include "config/models.h"

#include <catch2/catch.hpp>
#include <vector>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

TEST_CASE("--model takes a file, or a name and a file") {
  CHECK(ParseModelFlag("a/tiny.gguf") == ModelOptions{"", "a/tiny.gguf"});
  CHECK(ParseModelFlag("t=a/tiny.gguf") == ModelOptions{"t", "a/tiny.gguf"});
  CHECK(ParseModelFlag("a/b=c.gguf") == ModelOptions{"", "a/b=c.gguf"});
  CHECK(ParseModelFlag("t=b=c.gguf") == ModelOptions{"t", "b=c.gguf"});
}

TEST_CASE("a model without a name gets its file's") {
  std::vector<ModelOptions> models;
  REQUIRE_OK(AddModel({"", "dir/tiny-1.5.gguf"}, models));
  REQUIRE_OK(AddModel({"", "plain"}, models));
  REQUIRE_OK(AddModel({"", "dir/big-00001-of-00012.gguf"}, models));
  CHECK(models == std::vector<ModelOptions>{{"tiny-1.5", "dir/tiny-1.5.gguf"},
                                            {"plain", "plain"},
                                            {"big", "dir/big-00001-of-00012.gguf"}});
  REQUIRE_STATUS(AddModel({"", "other/plain.gguf"}, models), absl::StatusCode::kInvalidArgument,
                 "\"plain\" is given twice");
  REQUIRE_STATUS(AddModel({"a/b", "x"}, models), absl::StatusCode::kInvalidArgument, "models.name");
  REQUIRE_STATUS(AddModel({"", "dir/"}, models), absl::StatusCode::kInvalidArgument, "models.name");
  REQUIRE_STATUS(AddModel({"a", ""}, models), absl::StatusCode::kInvalidArgument, "models.path");
}

TEST_CASE("the embedding model is named as the others, and unlike them") {
  Config config;
  config.models = {{"tiny", "tiny.gguf"}};
  config.embedder.path = "dir/minilm.gguf";
  REQUIRE_OK(EmbedderModel(config));
  CHECK(*EmbedderModel(config) == ModelOptions{"minilm", "dir/minilm.gguf"});
  config.embedder.name = "m";
  CHECK(*EmbedderModel(config) == ModelOptions{"m", "dir/minilm.gguf"});
  config.embedder.name = "tiny";
  REQUIRE_STATUS(EmbedderModel(config), absl::StatusCode::kInvalidArgument,
                 "embedder: models.name must differ between models, but \"tiny\" is given twice");
  config.embedder.name = "a b";
  REQUIRE_STATUS(EmbedderModel(config), absl::StatusCode::kInvalidArgument, "models.name");
}

}  // namespace
}  // namespace baton
