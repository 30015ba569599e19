#include "engine/model/word_piece_tokenizer.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/bert_words.h"
#include "engine/model/gguf.h"
#include "engine/model/vocabulary.h"

namespace baton {
namespace {

constexpr std::string_view kWordMark = "\xE2\x96\x81";  // U+2581, before pieces that begin a word
// As BERT's own tokenizer; it also bounds the look-ups that a word can cost.
constexpr size_t kWordCharactersMax = 100;

bool IsContinuation(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

class WordPieceTokenizer final : public Tokenizer {
 public:
  struct Ids {
    TokenId unknown;
    TokenId cls;
    TokenId separator;
  };

  WordPieceTokenizer(Vocabulary words, const Ids& ids, const BertNormalisation& how)
      : words_(std::move(words)), user_tokens_(words_), ids_(ids), how_(how) {
    for (TokenId token = 0; token < words_.size(); ++token) {
      piece_bytes_max_ = std::max(piece_bytes_max_, words_.Text(token).size());
    }
  }

  std::vector<TokenId> Encode(std::string_view text) const override {
    std::vector<TokenId> tokens;
    size_t start = 0;  // of the text since the last user-defined token
    size_t at = 0;
    while (at < text.size() && !user_tokens_.empty()) {
      const auto user_token = user_tokens_.LongestPrefix(text.substr(at));
      if (user_token.has_value()) {
        EncodeOrdinary(text.substr(start, at - start), tokens);
        tokens.push_back(*user_token);
        at += words_.Text(*user_token).size();
        start = at;
      } else {
        ++at;
      }
    }
    EncodeOrdinary(text.substr(start), tokens);
    return tokens;
  }

  std::string TokenBytes(TokenId token, bool first) const override {
    if (!words_.Contains(token) || IsSpecial(token)) {
      return "";
    }
    const std::string_view piece = words_.Text(token);
    if (!piece.starts_with(kWordMark)) {
      return std::string(piece);
    }
    return StrCat(first ? "" : " ", piece.substr(kWordMark.size()));
  }

  int32_t vocabulary() const override { return words_.size(); }
  std::optional<TokenId> bos() const override { return ids_.cls; }
  bool add_bos() const override { return words_.add_bos().value_or(true); }
  std::optional<TokenId> separator() const override { return ids_.separator; }
  bool IsEndOfText(TokenId token) const override { return words_.IsEndOfText(token); }

 private:
  bool IsSpecial(TokenId token) const {
    return words_.IsSpecial(token) || token == ids_.unknown || token == ids_.cls ||
           token == ids_.separator;
  }

  void EncodeOrdinary(std::string_view text, std::vector<TokenId>& tokens) const {
    for (const std::string& word : SplitBertWords(text, how_)) {
      EncodeWord(word, tokens);
    }
  }

  void EncodeWord(const std::string& word, std::vector<TokenId>& tokens) const {
    const auto characters = static_cast<size_t>(
        std::count_if(word.begin(), word.end(), [](char c) { return !IsContinuation(c); }));
    const size_t first = tokens.size();
    const std::string marked = StrCat(kWordMark, word);
    size_t start = 0;
    while (start < marked.size() && characters <= kWordCharactersMax) {
      const size_t bytes =
          PushLongestPiece(std::string_view(marked).substr(start), start == 0, tokens);
      if (bytes == 0) {
        break;
      }
      start += bytes;
    }
    if (start < marked.size()) {
      tokens.resize(first);
      tokens.push_back(ids_.unknown);
    }
  }

  // Pushes the longest piece that `text` starts with and returns its bytes; 0: there is none.
  // `begins`: it starts with its word's mark, which alone is no piece. One further inside is a
  // character of the text: what it starts in the vocabulary begins words.
  size_t PushLongestPiece(std::string_view text, bool begins, std::vector<TokenId>& tokens) const {
    if (!begins && text.starts_with(kWordMark)) {
      return 0;
    }
    const size_t bytes_min = begins ? kWordMark.size() + 1 : 1;
    for (size_t bytes = std::min(text.size(), piece_bytes_max_); bytes >= bytes_min; --bytes) {
      if (bytes < text.size() && IsContinuation(text[bytes])) {
        continue;
      }
      const auto token = words_.Find(text.substr(0, bytes));
      if (token.has_value() && !IsSpecial(*token)) {
        tokens.push_back(*token);
        return bytes;
      }
    }
    return 0;
  }

  const Vocabulary words_;
  const TokenMatcher user_tokens_;
  const Ids ids_;
  const BertNormalisation how_;
  size_t piece_bytes_max_ = 0;
};

// The token that a key names, or else the one of BERT's own name for it.
absl::StatusOr<TokenId> SpecialToken(const GgufFile& file, const Vocabulary& words,
                                     std::optional<TokenId> named, std::string_view text) {
  const std::optional<TokenId> found = named.has_value() ? named : words.Find(text);
  if (!found.has_value()) {
    return file.Error(absl::StatusCode::kInvalidArgument,
                      StrCat("no key names the vocabulary's ", text, " and no token is called so"));
  }
  return *found;
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> MakeWordPieceTokenizer(const GgufFile& file) {
  ASSIGN_OR_RETURN(Vocabulary words, Vocabulary::Read(file));
  WordPieceTokenizer::Ids ids{};
  ASSIGN_OR_RETURN(ids.unknown, SpecialToken(file, words, words.unknown(), "[UNK]"));
  ASSIGN_OR_RETURN(
      ids.cls,
      SpecialToken(file, words, words.cls().has_value() ? words.cls() : words.bos(), "[CLS]"));
  ASSIGN_OR_RETURN(ids.separator, SpecialToken(file, words, words.separator(), "[SEP]"));
  BertNormalisation how;
  ASSIGN_OR_RETURN(how.lowercase, file.GetBoolOr("tokenizer.ggml.normalizer.lowercase", true));
  ASSIGN_OR_RETURN(how.strip_accents,
                   file.GetBoolOr("tokenizer.ggml.normalizer.strip_accents", how.lowercase));
  return std::make_unique<const WordPieceTokenizer>(std::move(words), ids, how);
}

}  // namespace baton
