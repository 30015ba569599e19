#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace baton {

// What tokenizer.ggml.pre names: how a byte-level BPE model splits text before merging.
struct PretokenizerRules {
  std::vector<std::string_view> patterns;  // applied in order, each to the pieces so far
  bool whole_words = false;                // a word that is a token is not merged from its bytes
  bool add_bos = false;                    // where the file does not say
};

// nullopt: not a known name.
std::optional<PretokenizerRules> FindPretokenizer(std::string_view name);

// Splits text by a model's own regular expressions. Immutable and thread safe.
class Pretokenizer {
 public:
  // patterns: of PretokenizerRules.
  explicit Pretokenizer(const std::vector<std::string_view>& patterns);
  ~Pretokenizer();
  Pretokenizer(const Pretokenizer&) = delete;
  Pretokenizer& operator=(const Pretokenizer&) = delete;

  // Consecutive pieces that together are `text`. Any bytes are accepted: a run of bytes that is not
  // UTF-8 is a piece of its own. Bounded in memory and time: where a pattern reaches its limits,
  // the rest of that piece stays whole.
  std::vector<std::string_view> Split(std::string_view text) const;

 private:
  struct Pattern;
  std::vector<std::unique_ptr<Pattern>> patterns_;
};

}  // namespace baton
