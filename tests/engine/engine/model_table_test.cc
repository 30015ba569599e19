#include "engine/model_table.h"

#include <catch2/catch.hpp>

#include "tests/support/gguf_writer.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr KvLayout kKv = {.layers = 1, .kv_heads = 1, .head_dim = 8, .block_tokens = 8};

std::shared_ptr<const LanguageModel> Tiny(const std::string& name) {
  const TempFile file(RandomModelBytes({}));
  auto model = LoadLanguageModel(name, file.path());
  REQUIRE_OK(model);
  return *model;
}

TEST_CASE("a model is found while it is ready, and by its state is said why it is not") {
  Metrics metrics;
  ModelTable table(1000, metrics);
  REQUIRE_STATUS(table.FindLanguage(""), absl::StatusCode::kFailedPrecondition,
                 "no language model is configured");
  REQUIRE_OK(table.Begin("a", "a.gguf"));
  table.SetDetail("a", "reading");
  REQUIRE_STATUS(table.Begin("a", "b.gguf"), absl::StatusCode::kAlreadyExists, "\"a\"");
  REQUIRE_STATUS(table.FindLanguage("a"), absl::StatusCode::kUnavailable, "being loaded: reading");
  REQUIRE_STATUS(table.BeginUnload("a"), absl::StatusCode::kFailedPrecondition, "being loaded");
  table.SetReady("a", Tiny("a"), kKv);
  CHECK((*table.FindLanguage("a"))->name() == "a");
  CHECK((*table.FindLanguage(""))->name() == "a");
  REQUIRE_STATUS(table.FindLanguage("b"), absl::StatusCode::kNotFound, "loaded: a");
  REQUIRE_STATUS(table.FindEmbedder("a"), absl::StatusCode::kNotFound, "loaded: none");
  CHECK(table.List().at(0).state == ModelState::kReady);
  CHECK(table.List().at(0).kind == ModelKind::kLanguage);

  REQUIRE_OK(table.BeginUnload("a"));
  REQUIRE_STATUS(table.FindLanguage("a"), absl::StatusCode::kUnavailable, "being unloaded");
  REQUIRE_STATUS(table.FindLanguage(""), absl::StatusCode::kFailedPrecondition, "no language");
  REQUIRE_STATUS(table.BeginUnload("a"), absl::StatusCode::kFailedPrecondition, "being unloaded");
  CHECK(table.Take("a").language->name() == "a");
  CHECK(table.Take("a").language == nullptr);
  table.Remove("a");
  CHECK(table.List().empty());
  REQUIRE_STATUS(table.BeginUnload("a"), absl::StatusCode::kNotFound, "\"a\" is not loaded");

  REQUIRE_OK(table.Begin("lexical", ""));
  table.SetReady("lexical", std::make_shared<const EmbedderPart>(
                                EmbedderPart{.embedder = MakeLexicalEmbedder(16)}));
  REQUIRE_STATUS(table.BeginUnload("lexical"), absl::StatusCode::kFailedPrecondition, "built in");
}

TEST_CASE("what models take stays within the budget") {
  Metrics metrics;
  ModelTable table(1000, metrics);
  REQUIRE_OK(table.Begin("a", "a.gguf"));
  REQUIRE_OK(table.Reserve("a", 600));
  REQUIRE_OK(table.Begin("b", "b.gguf"));
  REQUIRE_STATUS(table.Reserve("b", 401), absl::StatusCode::kResourceExhausted,
                 "takes 401 bytes, but of memory.models_bytes_max, 1000, 400 are free");
  REQUIRE_OK(table.Reserve("b", 400));
  CHECK(table.BytesFree() == 0);
  CHECK(metrics.Gauge(MetricId::kModelsBytes).Value() == 1000);
  table.SetFailed("b", "no");
  CHECK(table.BytesFree() == 400);
  table.SetReady("a", Tiny("a"), kKv);
  CHECK(metrics.Gauge(MetricId::kModelBytes, {"a"}).Value() == 600);
  REQUIRE_OK(table.BeginUnload("a"));
  CHECK(table.BytesFree() == 400);  // not before it has gone
  table.Remove("a");
  CHECK(table.BytesFree() == 1000);
  CHECK(metrics.Gauge(MetricId::kModelsBytes).Value() == 0);
}

TEST_CASE("of the models that failed the last ones are listed, and keep no name") {
  Metrics metrics;
  ModelTable table(1000, metrics);
  for (int i = 0; i < 40; ++i) {
    REQUIRE_OK(table.Begin("m" + std::to_string(i), "x"));
    table.SetFailed("m" + std::to_string(i), "reason " + std::to_string(i));
  }
  const std::vector<ModelReport> all = table.List();
  REQUIRE(all.size() == 16);
  CHECK(all.back().name == "m39");
  CHECK(all.back().detail == "reason 39");
  REQUIRE_STATUS(table.FindLanguage("m39"), absl::StatusCode::kNotFound, "reason 39");
  REQUIRE_OK(table.Begin("m39", "y"));
  CHECK(table.List().size() == 16);
  CHECK(table.Describe("m39").state == ModelState::kLoading);
}

}  // namespace
}  // namespace baton
