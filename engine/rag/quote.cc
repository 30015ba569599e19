#include "engine/rag/quote.h"

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/model/text_features.h"

namespace baton {

TextRange FindQuote(std::string_view question, std::string_view passage) {
  struct Wanted {
    float weight = 0;
    int sentences = 0;       // of the passage that hold the word
    int last_sentence = -1;  // in which it was found: a word repeated counts once
  };
  std::unordered_map<std::string, Wanted> wanted;  // by stem
  for (TextWord& word : SplitWords(question)) wanted[std::move(word.stem)].weight = word.weight;

  const std::vector<Sentence> sentences = SplitSentences(passage);
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

  TextRange best = {0, static_cast<int64_t>(passage.size())};
  float best_share = -1;
  bool best_is_heading = true;
  for (size_t i = 0; i < sentences.size(); ++i) {
    // A heading names the matter but says nothing of it.
    if (sentences[i].heading && !best_is_heading) continue;
    float share = 0;
    // What stands in many sentences, or in the heading, is what they are all about.
    for (const Wanted* word : found[i]) share += word->weight / static_cast<float>(word->sentences);
    if (share > best_share || (best_is_heading && !sentences[i].heading)) {
      best = sentences[i].range;
      best_share = share;
      best_is_heading = sentences[i].heading;
    }
  }
  return best;
}

}  // namespace baton
