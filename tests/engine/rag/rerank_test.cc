#include "engine/rag/rerank.h"

#include <catch2/catch.hpp>
#include <random>

namespace baton {
namespace {

Passage Make(PointId id, float score, std::string text, std::string title = "") {
  return {.id = id, .title = std::move(title), .text = std::move(text), .score = score};
}

std::vector<PointId> Ids(const std::vector<Passage>& passages) {
  std::vector<PointId> ids;
  for (const Passage& passage : passages) ids.push_back(passage.id);
  return ids;
}

TEST_CASE("the one name that a question is about outweighs similarity") {
  std::vector<Passage> passages = {Make(1, 0.50f, "The tower of Velmor is 12 metres tall."),
                                   Make(2, 0.45f, "The tower of Kastin is 90 metres tall."),
                                   Make(3, 0.40f, "The tower of Dorbrin is 33 metres tall.")};
  Rerank("How tall is the tower of Dorbrin?", passages);
  CHECK(Ids(passages)[0] == 3);
  CHECK(passages[0].score > passages[1].score);
  CHECK(passages[0].score <= 1);
}

TEST_CASE("titles count, and equal passages keep the order of their ids") {
  std::vector<Passage> passages = {Make(9, 0.3f, "It opens at noon."),
                                   Make(4, 0.3f, "It opens at noon."),
                                   Make(7, 0.3f, "It opens at noon.", "The Drowned Bell")};
  Rerank("When does the Drowned Bell open?", passages);
  CHECK(Ids(passages) == std::vector<PointId>{7, 4, 9});
}

TEST_CASE("with nothing to go by similarity decides") {
  for (const std::string question : {"", "?!", "zyx wvu"}) {
    std::vector<Passage> passages = {Make(1, 0.1f, "a b c"), Make(2, 0.3f, ""),
                                     Make(3, -0.2f, "d")};
    Rerank(question, passages);
    CHECK(Ids(passages) == std::vector<PointId>{2, 1, 3});
  }
  std::vector<Passage> none;
  Rerank("Which?", none);
  CHECK(none.empty());
}

TEST_CASE("a question's every subject is found among passages that differ in one name only") {
  std::mt19937 random(std::random_device{}());
  std::vector<std::string> names;
  std::vector<Passage> passages;
  for (uint64_t id = 0; id < 32; ++id) {
    names.push_back("N" + std::to_string(100000 + 7 * id));
    passages.push_back(Make(id, static_cast<float>(random() % 1000) / 5000,
                            "The bridge of " + names.back() + " is closed on Mondays."));
  }
  for (uint64_t id = 0; id < 32; ++id) {
    auto found = passages;
    Rerank("When is the bridge of " + names[id] + " closed?", found);
    CHECK(found[0].id == id);
  }
}

}  // namespace
}  // namespace baton
