#include "engine/model/embedder.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "engine/model/text_features.h"
#include "nlohmann/json.hpp"
#include "tests/support/shared_data.h"

namespace baton {
namespace {

std::vector<float> Embed(const LexicalEmbedder& embedder, std::string_view text) {
  std::vector<float> vector(static_cast<size_t>(embedder.dimension()), -7.0f);
  embedder.Embed(text, vector);
  return vector;
}
float Dot(const std::vector<float>& a, const std::vector<float>& b) {
  float dot = 0;
  for (size_t i = 0; i < a.size(); ++i) dot += a[i] * b[i];
  return dot;
}

std::string Stem(std::string_view word) {
  const auto words = SplitWords(word);
  REQUIRE(words.size() == 1);
  return words[0].stem;
}

TEST_CASE("words", "[lexical]") {
  const auto surfaces = [](std::string_view text) {
    std::vector<std::string> list;
    for (const TextWord& word : SplitWords(text)) list.push_back(word.surface);
    return list;
  };
  using Strings = std::vector<std::string>;
  CHECK(surfaces("The Quick, brown-fox!") == Strings{"the", "quick", "brown", "fox"});
  CHECK(surfaces("don't the keeper's keepers\u2019 o'clock 'quoted'") ==
        Strings{"dont", "the", "keeper", "keepers", "oclock", "quoted"});
  CHECK(surfaces("1,200 3.5 1.2.3. 4, 5") == Strings{"1200", "3.5", "1.2.3", "4", "5"});
  CHECK(surfaces("Caf\u00c9 \u00d8re Stra\u00dfe \u0141\u00f3d\u017a") ==
        Strings{"cafe", "ore", "strasse", "lodz"});
  CHECK(surfaces("\u041c\u041e\u0420\u0415 \u039d\u0397\u03a3\u039f\u03a3") ==
        Strings{"\u043c\u043e\u0440\u0435", "\u03bd\u03b7\u03c3\u03bf\u03c3"});
  CHECK(surfaces("\u706f\u53f0a") == Strings{"\u706f", "\u53f0", "a"});
  CHECK(surfaces("a\u00a0b\u2014c\u3002d") == Strings{"a", "b", "c", "d"});
  CHECK(surfaces("\xff\xfe ab\xc3").size() == 1);
  CHECK(surfaces(" .,'' -- ").empty());
}

TEST_CASE("stems of a word's forms are equal", "[lexical]") {
  const std::vector<std::vector<const char*>> kFamilies = {{"lamp", "lamps", "Lamp's"},
                                                           {"stop", "stops", "stopped", "stopping"},
                                                           {"make", "makes", "making"},
                                                           {"ferry", "ferries"},
                                                           {"box", "boxes"},
                                                           {"church", "churches"},
                                                           {"quick", "quickly"},
                                                           {"miss", "misses", "missed"},
                                                           {"discard", "discarded", "discarding"}};
  for (const auto& family : kFamilies) {
    for (const char* word : family) {
      CAPTURE(word);
      CHECK(Stem(word) == Stem(family[0]));
    }
  }
  CHECK(Stem("string") == "string");
  CHECK(Stem("glass") == "glass");
  CHECK(Stem("is") == "is");
}

TEST_CASE("rare words weigh more than common ones, and those more than fillers", "[lexical]") {
  const auto words = SplitWords("the people hydrometer");
  CHECK(words[0].weight < words[1].weight);
  CHECK(words[1].weight < words[2].weight);
}

TEST_CASE("vectors have length one, whatever the text", "[lexical]") {
  const uint64_t seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (const int32_t dimension : {1, 7, 64, 1024}) {
    const auto embedder = MakeLexicalEmbedder(dimension);
    CHECK(embedder->dimension() == dimension);
    CHECK(embedder->kind() == Embedder::Kind::kLexical);
    CHECK(embedder->name() == "lexical-" + std::to_string(dimension));
    for (int round = 0; round < 100; ++round) {
      std::string text(random() % 300, ' ');
      for (char& c : text) c = static_cast<char>(random() >> 56);
      const auto vector = Embed(*embedder, text);
      REQUIRE(Dot(vector, vector) == Approx(1).margin(1e-4));
    }
  }
}

TEST_CASE("texts without a word give one fixed vector", "[lexical]") {
  const auto embedder = MakeLexicalEmbedder(256);
  const auto blank = Embed(*embedder, "");
  CHECK(Dot(blank, blank) == 1.0f);
  CHECK(Embed(*embedder, " \n\t") == blank);
  CHECK(Embed(*embedder, "?! -- \xff") == blank);
  CHECK(Embed(*embedder, "a word") != blank);
}

TEST_CASE("texts match by words and word parts", "[lexical]") {
  const auto embedder = MakeLexicalEmbedder(1024);
  const auto light = Embed(*embedder, "The lighthouse keeper cleaned the lens of the lamp.");
  const auto near = Embed(*embedder, "Who keeps the lighthouse lamps clean?");
  const auto far = Embed(*embedder, "Barley bread is baked in a greased tin.");
  CHECK(Dot(light, near) > 0.3f);
  CHECK(std::abs(Dot(light, far)) < 0.12f);
  const auto misspelt = Embed(*embedder, "lighthuose keper");
  CHECK(Dot(light, misspelt) > Dot(far, misspelt) + 0.05f);
  CHECK(Embed(*embedder, "LIGHTHOUSE Keeper") == Embed(*embedder, "lighthouse   keeper!"));
}

TEST_CASE("the same vector on every machine", "[lexical]") {
  // Stored collections depend on it: a change here means that they must be embedded anew.
  const auto vector = Embed(*MakeLexicalEmbedder(16), "Harrow Point Light has 187 steps.");
  const std::vector<float> expected = {0.463177174f,  0.0841718316f, 0.0854096562f,  -0.47532329f,
                                       0.333283335f,  0.0269999728f, -0.0317191668f, 0.152251989f,
                                       0.0818509161f, 0.0434010997f, -0.534119785f,  -0.0818509161f,
                                       0.209423855f,  -0.120300733f, 0.0219713245f,  0.223117247f};
  CHECK(vector == expected);
}

std::vector<nlohmann::json> ReadLines(const std::filesystem::path& path) {
  std::vector<nlohmann::json> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

// The documents' indices, nearest first, at most ten.
std::vector<size_t> Search(const std::vector<std::vector<float>>& documents,
                           const std::vector<float>& query) {
  std::vector<std::pair<float, size_t>> ranked;
  for (size_t i = 0; i < documents.size(); ++i) ranked.emplace_back(-Dot(documents[i], query), i);
  std::partial_sort(ranked.begin(), ranked.begin() + 10, ranked.end());
  std::vector<size_t> best;
  for (int i = 0; i < 10; ++i) best.push_back(ranked[i].second);
  return best;
}

TEST_CASE("retrieval on XQuAD stays above its floor", "[lexical]") {
  const auto folder = SharedData("text");
  if (!folder.has_value()) return;
  struct Floor {
    int32_t dimension;
    double hit_at_1, hit_at_5, mrr_at_10;
  };
  const Floor floor = GENERATE(Floor{512, 0.83, 0.95, 0.88}, Floor{1024, 0.87, 0.965, 0.91},
                               Floor{2048, 0.88, 0.97, 0.92});
  const auto embedder = MakeLexicalEmbedder(floor.dimension);
  std::vector<std::vector<float>> documents;
  std::map<std::string, size_t> index_of;
  for (const auto& passage : ReadLines(*folder / "xquad-en.passages.jsonl")) {
    index_of[passage.at("id")] = documents.size();
    documents.push_back(Embed(*embedder, passage.at("text").get<std::string>()));
  }
  const auto questions = ReadLines(*folder / "xquad-en.questions.jsonl");
  double hit_at_1 = 0, hit_at_5 = 0, mrr_at_10 = 0;
  for (const auto& question : questions) {
    const size_t wanted = index_of.at(question.at("doc"));
    const auto best = Search(documents, Embed(*embedder, question.at("text").get<std::string>()));
    const auto rank = std::find(best.begin(), best.end(), wanted) - best.begin();
    hit_at_1 += rank == 0;
    hit_at_5 += rank < 5;
    mrr_at_10 += rank < 10 ? 1.0 / static_cast<double>(rank + 1) : 0;
  }
  const auto count = static_cast<double>(questions.size());
  std::cout << "XQuAD-en, dimension " << floor.dimension << ": hit@1 " << hit_at_1 / count
            << ", hit@5 " << hit_at_5 / count << ", MRR@10 " << mrr_at_10 / count << "\n";
  CHECK(hit_at_1 / count >= floor.hit_at_1);
  CHECK(hit_at_5 / count >= floor.hit_at_5);
  CHECK(mrr_at_10 / count >= floor.mrr_at_10);
}

}  // namespace
}  // namespace baton
