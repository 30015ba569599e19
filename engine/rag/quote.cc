#include "engine/rag/quote.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <unordered_map>
#include <utility>

#include "engine/model/text_features.h"

namespace baton {
namespace {

// How much of the question's weighted words each sentence holds. A word that stands in several of
// them, or in the heading, is what they are all about: its weight is divided among them.
std::vector<float> Shares(std::string_view question, std::string_view passage,
                          const std::vector<Sentence>& sentences) {
  struct Wanted {
    float weight = 0;
    int sentences = 0;       // of the passage that hold the word
    int last_sentence = -1;  // in which it was found: a word repeated counts once
  };
  std::unordered_map<std::string, Wanted> wanted;  // by stem
  for (TextWord& word : SplitWords(question)) wanted[std::move(word.stem)].weight = word.weight;

  std::vector<std::vector<const Wanted*>> found(sentences.size());
  for (size_t i = 0; i < sentences.size(); ++i) {
    for (const TextWord& word : SplitWords(Slice(passage, sentences[i].range))) {
      const auto it = wanted.find(word.stem);
      if (it == wanted.end() || it->second.last_sentence == static_cast<int>(i)) continue;
      it->second.last_sentence = static_cast<int>(i);
      ++it->second.sentences;
      found[i].push_back(&it->second);
    }
  }
  std::vector<float> shares(sentences.size());
  for (size_t i = 0; i < sentences.size(); ++i) {
    for (const Wanted* word : found[i]) {
      shares[i] += word->weight / static_cast<float>(word->sentences);
    }
  }
  return shares;
}

}  // namespace

std::vector<TextRange> BestSentences(std::string_view question, std::string_view passage,
                                     size_t count) {
  const std::vector<Sentence> sentences = SplitSentences(passage);
  const std::vector<float> shares = Shares(question, passage, sentences);
  std::vector<size_t> order;
  for (size_t i = 0; i < sentences.size(); ++i) {
    // A heading names the matter but says nothing of it.
    if (!sentences[i].heading) order.push_back(i);
  }
  if (order.empty() && !sentences.empty()) order.push_back(0);
  if (order.empty() || count == 0) return {};
  const auto better = [&shares](size_t a, size_t b) { return shares[a] > shares[b]; };
  const size_t best = *std::min_element(order.begin(), order.end(), better);
  // Of equals those that stand nearest to the best one: they speak of the same.
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const auto distance = [best](size_t i) { return i > best ? i - best : best - i; };
    if (shares[a] != shares[b]) return better(a, b);
    return std::pair(distance(a), a) < std::pair(distance(b), b);
  });
  order.resize(std::min(order.size(), count));
  std::sort(order.begin(), order.end());
  std::vector<TextRange> ranges;
  for (const size_t i : order) ranges.push_back(sentences[i].range);
  return ranges;
}

std::string Focus(std::string_view question, std::string_view passage, size_t count) {
  std::string text;
  for (const TextRange range : BestSentences(question, passage, count)) {
    if (!text.empty()) text += ' ';
    text += Slice(passage, range);
  }
  return text.empty() ? std::string(passage) : text;
}

TextRange FindQuote(std::string_view question, std::string_view passage) {
  const std::vector<TextRange> best = BestSentences(question, passage, 1);
  return best.empty() ? TextRange{0, static_cast<int64_t>(passage.size())} : best[0];
}

}  // namespace baton
