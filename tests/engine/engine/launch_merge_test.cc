#include "engine/launch_merge.h"

#include <catch2/catch.hpp>

namespace baton {
namespace {

TEST_CASE("searches of one view with the same parameters are of one kind") {
  const SearchBatch batch{.queries = {{1}}, .params = {.k = 3}};
  CHECK(LaunchKind(batch) == LaunchKind(SearchBatch{.queries = {{2}, {3}}, .params = {.k = 3}}));
  const auto differs = [&](auto change) {
    SearchBatch other = batch;
    change(other.params);
    return LaunchKind(other) != LaunchKind(batch);
  };
  CHECK(differs([](SearchParams& p) { p.k = 4; }));
  CHECK(differs([](SearchParams& p) { p.exact = true; }));
  CHECK(differs([](SearchParams& p) { p.ef = 65; }));
  CHECK(differs([](SearchParams& p) { p.recall_target = 0.9; }));
  CHECK(differs([](SearchParams& p) { p.with_payload = false; }));
  CHECK(differs([](SearchParams& p) { p.with_vectors = true; }));
  CHECK(differs([](SearchParams& p) { p.nprobe = 1; }));
  CHECK(differs([](SearchParams& p) { p.filter = std::make_shared<Filter>(); }));
  CHECK(differs([](SearchParams& p) { p.score_threshold = 0.5f; }));
  CHECK(differs([](SearchParams& p) { p.offset = 1; }));
  CHECK(differs([](SearchParams& p) { p.allow_partial = true; }));
}

TEST_CASE("a cross-encoder's batch goes alone") {
  CHECK_FALSE(LaunchKind(EmbedBatch{.texts = {"a"}}).empty());
  CHECK(LaunchKind(EmbedBatch{.texts = {"a"}, .query = "q"}).empty());
}

TEST_CASE("answers come apart as the batches went together") {
  SearchBatch all{.queries = {{1}}, .deadline_us = 5};
  Append(SearchBatch{.queries = {{2}, {3}}, .deadline_us = 9}, all);
  Append(SearchBatch{.queries = {}, .deadline_us = 1}, all);
  CHECK(all.queries == std::vector<std::vector<float>>{{1}, {2}, {3}});
  CHECK(all.deadline_us == 9);
  SearchBatchResult found{.unsearched_points = 7, .times = {.queue_us = 1, .run_us = 2}};
  for (uint64_t id = 1; id <= 3; ++id) found.neighbors.push_back({{.id = PointId(id)}});
  const auto parts = Split(std::move(found), {1, 2, 0});
  REQUIRE(parts.size() == 3);
  REQUIRE(parts[1].neighbors.size() == 2);
  CHECK(parts[0].neighbors.at(0).at(0).id == PointId(1));
  CHECK(parts[1].neighbors.at(1).at(0).id == PointId(3));
  CHECK(parts[2].neighbors.empty());
  CHECK(parts[1].unsearched_points == 7);
  CHECK(parts[1].times.run_us == 2);

  EmbedBatch texts{.texts = {"a", "b"}};
  Append(EmbedBatch{.texts = {}}, texts);
  CHECK_FALSE(texts.deterministic);
  Append(EmbedBatch{.texts = {"c"}, .deterministic = true}, texts);
  CHECK(texts.deterministic);
  CHECK(texts.texts == std::vector<std::string>{"a", "b", "c"});
  EmbedBatchResult embedded{
      .embeddings = {{1}, {2}, {3}}, .inputs = {{}, {}, {}}, .texts = {"a", "b", "c"}};
  const auto own = Split(std::move(embedded), {2, 1});
  CHECK(own[0].texts == std::vector<std::string>{"a", "b"});
  CHECK(own[1].embeddings == std::vector<std::vector<float>>{{3}});
  CHECK(own[1].inputs.size() == 1);

  const auto failed = Split(SearchBatchResult{.status = absl::InternalError("x")}, {1, 1});
  CHECK(failed[1].status == absl::InternalError("x"));
  CHECK(failed[1].neighbors.empty());
}

}  // namespace
}  // namespace baton
