#include "engine/model/spm_tokenizer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <queue>
#include <system_error>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/chat_encoder.h"
#include "engine/model/gguf.h"
#include "engine/model/utf8.h"
#include "engine/model/vocabulary.h"

namespace baton {
namespace {

constexpr std::string_view kScoresKey = "tokenizer.ggml.scores";
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581, stands for a space in pieces
constexpr TokenId kNoToken = -1;
constexpr int kNoByte = -1;

// The byte that a byte token's text, such as "<0x0A>", names; kNoByte: it names none.
int ByteOf(std::string_view text) {
  int byte = kNoByte;
  if (text.size() == 6 && text.starts_with("<0x") && text.ends_with('>')) {
    const auto [end, error] = std::from_chars(text.data() + 3, text.data() + 5, byte, 16);
    if (error != std::errc() || end != text.data() + 5 || byte < 0) {
      return kNoByte;
    }
  }
  return byte;
}

// A piece of the text while pieces are being merged: a doubly linked list over a vector. Indices
// are 32-bit to keep a long prompt's working memory small; requests are limited far below 2 GiB.
struct Symbol {
  std::string_view text;  // empty: merged into its left neighbour
  int32_t previous = -1;
  int32_t next = -1;
  TokenId token = kNoToken;  // where its text is one
  bool frozen = false;       // a user-defined token: never merged
};

struct Merge {
  float score;
  int32_t left;
  int32_t right;
  uint32_t bytes;  // of both symbols then: tells a merge that has been overtaken
  TokenId token;
};

struct WorseMerge {
  bool operator()(const Merge& a, const Merge& b) const {
    return a.score < b.score || (a.score == b.score && a.left > b.left);
  }
};

class SpmTokenizer final : public Tokenizer {
 public:
  struct Habits {
    bool add_space_prefix;
    bool strips_behind_markup;
  };

  SpmTokenizer(Vocabulary words, std::vector<float> scores, const Habits& habits)
      : words_(std::move(words)),
        scores_(std::move(scores)),
        user_tokens_(words_),
        chat_encoder_(words_, habits.strips_behind_markup),
        add_space_prefix_(habits.add_space_prefix) {
    byte_tokens_.fill(kNoToken);
    for (TokenId token = 0; token < words_.size(); ++token) {
      piece_bytes_max_ = std::max(piece_bytes_max_, words_.Text(token).size());
      if (words_.Type(token) == TokenType::kByte && ByteOf(words_.Text(token)) != kNoByte) {
        byte_tokens_[static_cast<size_t>(ByteOf(words_.Text(token)))] = token;
      }
    }
  }

  // Every byte must have some token.
  absl::Status Check(const GgufFile& file) const {
    const bool all_bytes =
        std::find(byte_tokens_.begin(), byte_tokens_.end(), kNoToken) == byte_tokens_.end();
    if (!all_bytes && !words_.unknown().has_value()) {
      return file.Error(absl::StatusCode::kInvalidArgument,
                        "the vocabulary has neither all 256 byte tokens nor an unknown token");
    }
    return absl::OkStatus();
  }

  std::vector<TokenId> Encode(std::string_view text) const override {
    std::vector<TokenId> tokens;
    Append(text, TokenSet(), tokens);
    return tokens;
  }

  // Each text between markup gets its added space, as a text of its own does.
  std::vector<TokenId> EncodeChat(const RenderedChat& chat) const override {
    return chat_encoder_.Encode(
        chat, [this](std::string_view text, const TokenSet& markup, std::vector<TokenId>& tokens) {
          Append(text, markup, tokens);
        });
  }

  std::string TokenBytes(TokenId token, bool first) const override {
    if (!words_.Contains(token) || words_.IsSpecial(token)) {
      return "";
    }
    if (words_.Type(token) == TokenType::kByte) {
      const int byte = ByteOf(words_.Text(token));
      return byte == kNoByte ? "" : std::string(1, static_cast<char>(byte));
    }
    std::string bytes(words_.Text(token));
    for (size_t at = 0; (at = bytes.find(kSpaceMark, at)) != bytes.npos; ++at) {
      bytes.replace(at, kSpaceMark.size(), 1, ' ');
    }
    if (first && add_space_prefix_ && bytes.starts_with(' ')) {
      bytes.erase(0, 1);
    }
    return bytes;
  }

  int32_t vocabulary() const override { return words_.size(); }
  std::optional<TokenId> bos() const override { return words_.bos(); }
  bool add_bos() const override {
    return words_.bos().has_value() && words_.add_bos().value_or(true);
  }
  std::optional<TokenId> eos() const override { return words_.eos(); }
  bool IsEndOfText(TokenId token) const override { return words_.IsEndOfText(token); }
  std::string_view Spelling(TokenId token) const override { return words_.Text(token); }

 private:
  // Appends the tokens of `text`, of which none is one of `markup`.
  void Append(std::string_view text, const TokenSet& markup, std::vector<TokenId>& tokens) const {
    if (text.empty()) {
      return;
    }
    std::string marked(add_space_prefix_ ? kSpaceMark : "");
    for (const char c : text) {
      c == ' ' ? marked.append(kSpaceMark) : marked.append(1, c);
    }
    std::vector<Symbol> symbols = Split(marked, markup);
    MergeAll(symbols, markup);
    for (int32_t i = 0; i != -1; i = symbols[static_cast<size_t>(i)].next) {
      AppendTokens(symbols[static_cast<size_t>(i)], tokens);
    }
  }

  // The token of a piece of text. Special and byte tokens are never text.
  TokenId TokenOf(std::string_view text, const TokenSet& markup) const {
    const auto token = words_.Find(text);
    if (!token.has_value() || words_.IsSpecial(*token) || words_.Type(*token) == TokenType::kByte ||
        markup.contains(*token)) {
      return kNoToken;
    }
    return *token;
  }

  // User-defined tokens, characters, and single bytes where the text is not UTF-8.
  std::vector<Symbol> Split(std::string_view text, const TokenSet& markup) const {
    std::vector<Symbol> symbols;
    while (!text.empty()) {
      Symbol symbol;
      const auto user_token = user_tokens_.LongestPrefix(text, &markup);
      if (user_token.has_value()) {
        symbol.text = text.substr(0, words_.Text(*user_token).size());
        symbol.token = *user_token;
        symbol.frozen = true;
      } else {
        symbol.text = text.substr(0, std::max<size_t>(Utf8CharBytes(text), 1));
        symbol.token = TokenOf(symbol.text, markup);
      }
      text.remove_prefix(symbol.text.size());
      const auto index = static_cast<int32_t>(symbols.size());
      symbol.previous = index - 1;
      symbol.next = text.empty() ? -1 : index + 1;
      symbols.push_back(symbol);
    }
    return symbols;
  }

  using MergeQueue = std::priority_queue<Merge, std::vector<Merge>, WorseMerge>;

  void Propose(const std::vector<Symbol>& symbols, int32_t left, int32_t right,
               const TokenSet& markup, MergeQueue& queue) const {
    if (left == -1 || right == -1) {
      return;
    }
    const Symbol& a = symbols[static_cast<size_t>(left)];
    const Symbol& b = symbols[static_cast<size_t>(right)];
    const size_t bytes = a.text.size() + b.text.size();
    if (a.frozen || b.frozen || bytes > piece_bytes_max_) {
      return;
    }
    // Neighbours are adjacent in the text, so that both together are one view.
    const TokenId token = TokenOf({a.text.data(), bytes}, markup);
    if (token != kNoToken) {
      queue.push(
          {scores_[static_cast<size_t>(token)], left, right, static_cast<uint32_t>(bytes), token});
    }
  }

  void MergeAll(std::vector<Symbol>& symbols, const TokenSet& markup) const {
    MergeQueue queue;
    for (int32_t i = 1; i < static_cast<int32_t>(symbols.size()); ++i) {
      Propose(symbols, i - 1, i, markup, queue);
    }
    while (!queue.empty()) {
      const Merge merge = queue.top();
      queue.pop();
      Symbol& left = symbols[static_cast<size_t>(merge.left)];
      Symbol& right = symbols[static_cast<size_t>(merge.right)];
      if (left.text.empty() || right.text.empty() ||
          left.text.size() + right.text.size() != merge.bytes) {
        continue;
      }
      left.text = {left.text.data(), merge.bytes};
      left.token = merge.token;
      left.next = right.next;
      right.text = {};
      if (left.next != -1) {
        symbols[static_cast<size_t>(left.next)].previous = merge.left;
      }
      Propose(symbols, left.previous, merge.left, markup, queue);
      Propose(symbols, merge.left, left.next, markup, queue);
    }
  }

  void AppendTokens(const Symbol& symbol, std::vector<TokenId>& tokens) const {
    if (symbol.token != kNoToken) {
      tokens.push_back(symbol.token);
      return;
    }
    // A character without a piece: its bytes, or one unknown token where some byte has no token.
    const size_t start = tokens.size();
    for (const char c : symbol.text) {
      const TokenId token = byte_tokens_[static_cast<uint8_t>(c)];
      if (token == kNoToken) {
        tokens.resize(start);
        tokens.push_back(*words_.unknown());
        return;
      }
      tokens.push_back(token);
    }
  }

  const Vocabulary words_;
  const std::vector<float> scores_;  // [vocabulary]
  const TokenMatcher user_tokens_;
  const ChatEncoder chat_encoder_;
  const bool add_space_prefix_;
  std::array<TokenId, 256> byte_tokens_;
  size_t piece_bytes_max_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> MakeSpmTokenizer(const GgufFile& file) {
  ASSIGN_OR_RETURN(Vocabulary words, Vocabulary::Read(file));
  ASSIGN_OR_RETURN(std::vector<float> scores, file.GetFloats(kScoresKey));
  if (scores.size() != static_cast<size_t>(words.size())) {
    return file.Error(absl::StatusCode::kInvalidArgument,
                      StrCat("key '", kScoresKey, "' has ", scores.size(),
                             " elements, the vocabulary has ", words.size()));
  }
  for (size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(scores[i])) {
      return file.Error(
          absl::StatusCode::kInvalidArgument,
          StrCat("key '", kScoresKey, "': the score of token ", i, " is not a number"));
    }
  }
  ASSIGN_OR_RETURN(const bool add_space_prefix,
                   file.GetBoolOr("tokenizer.ggml.add_space_prefix", true));
  // Files do not say it of single tokens.
  ASSIGN_OR_RETURN(const std::string_view architecture,
                   file.GetStringOr("general.architecture", ""));
  const SpmTokenizer::Habits habits = {.add_space_prefix = add_space_prefix,
                                       .strips_behind_markup = architecture == "phi3"};
  auto tokenizer =
      std::make_unique<const SpmTokenizer>(std::move(words), std::move(scores), habits);
  RETURN_IF_ERROR(tokenizer->Check(file));
  return tokenizer;
}

}  // namespace baton
