#include "engine/rag/rerank.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>
#include <utility>

#include "engine/model/text_features.h"

namespace baton {
namespace {

// Both by recall on three sets of texts (./dev bench retrieval); the optimum is flat. A word once
// in a passage counts 1 / (1 + kSaturation) of one that stands there often: Robertson's k1, small
// because passages are short.
constexpr double kSaturation = 0.2;
constexpr double kSimilarityShare = 2.0 / 3;

}  // namespace

void Rerank(std::string_view question, std::vector<Passage>& passages, bool has_similarities) {
  struct Wanted {
    size_t index = 0;
    double weight = 0;
  };
  std::unordered_map<std::string, Wanted> wanted;  // by stem
  for (TextWord& word : SplitWords(question)) {
    const Wanted next = {.index = wanted.size(), .weight = word.weight};
    wanted.try_emplace(std::move(word.stem), next);
  }

  std::vector<std::vector<int>> counts(passages.size(), std::vector<int>(wanted.size()));
  std::vector<double> holders(wanted.size());  // passages that hold the word
  for (size_t i = 0; i < passages.size(); ++i) {
    for (const std::string_view text : {passages[i].title, passages[i].text}) {
      for (const TextWord& word : SplitWords(text)) {
        const auto it = wanted.find(word.stem);
        if (it != wanted.end() && counts[i][it->second.index]++ == 0) ++holders[it->second.index];
      }
    }
  }

  std::vector<double> weights(wanted.size());
  double whole = 0;
  const auto number = static_cast<double>(passages.size());
  for (const auto& [stem, word] : wanted) {
    const double held = holders[word.index];
    weights[word.index] = word.weight * std::log(1 + (number - held + 0.5) / (held + 0.5));
    whole += weights[word.index];
  }
  for (size_t i = 0; i < passages.size(); ++i) {
    double covered = 0;
    for (size_t w = 0; w < weights.size(); ++w) {
      const double count = counts[i][w];
      if (count > 0) covered += weights[w] * count / (count + kSaturation);
    }
    const double coverage = whole > 0 ? covered / whole : 0;
    const double share = has_similarities ? kSimilarityShare : 0;
    passages[i].score =
        static_cast<float>(share * double{passages[i].score} + (1 - share) * coverage);
  }
  SortByScore(passages);
}

void SortByScore(std::vector<Passage>& passages) {
  std::sort(passages.begin(), passages.end(), [](const Passage& a, const Passage& b) {
    return a.score != b.score ? a.score > b.score : a.id < b.id;
  });
}

}  // namespace baton
