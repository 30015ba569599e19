#include "engine/model/bpe_tokenizer.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/chat_encoder.h"
#include "engine/model/gguf.h"
#include "engine/model/pretokenizer.h"
#include "engine/model/utf8.h"
#include "engine/model/vocabulary.h"

namespace baton {
namespace {

constexpr std::string_view kMergesKey = "tokenizer.ggml.merges";
constexpr TokenId kNoToken = -1;
constexpr int kNoByte = -1;

// GPT-2's alphabet: each byte is written as one printable character. Printable Latin-1 characters
// stand for themselves, the other bytes take the code points from 256 on, in order.
constexpr char32_t kAlphabetEnd = 256 + 68;

struct Alphabet {
  std::array<char32_t, 256> character_of{};  // by byte
  std::array<int, kAlphabetEnd> byte_of{};   // by code point; kNoByte: not in the alphabet
  constexpr Alphabet() {
    byte_of.fill(kNoByte);
    char32_t next = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      const char32_t character = printable ? static_cast<char32_t>(byte) : next++;
      character_of[static_cast<size_t>(byte)] = character;
      byte_of[character] = byte;
    }
  }
};
constexpr Alphabet kAlphabet;

std::string InAlphabet(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    AppendUtf8(kAlphabet.character_of[static_cast<uint8_t>(c)], text);
  }
  return text;
}

// The bytes that `text` writes; text outside the alphabet stands for itself.
std::string FromAlphabet(std::string_view text) {
  std::string bytes;
  for (std::string_view left = text; !left.empty();) {
    const size_t length = Utf8CharBytes(left);
    if (length == 0) {
      return std::string(text);
    }
    const char32_t character = DecodeUtf8(left.substr(0, length));
    if (character >= kAlphabetEnd || kAlphabet.byte_of[character] == kNoByte) {
      return std::string(text);
    }
    bytes.push_back(static_cast<char>(kAlphabet.byte_of[character]));
    left.remove_prefix(length);
  }
  return bytes;
}

struct MergeRule {
  int32_t rank;
  TokenId token;  // of both together
};
using MergeRules = absl::flat_hash_map<std::pair<TokenId, TokenId>, MergeRule>;

// A part of a word while parts are being merged: a doubly linked list over a vector.
struct Part {
  TokenId token;  // kNoToken: merged into its left neighbour
  int32_t previous;
  int32_t next;
};

struct Merge {
  MergeRule rule;
  int32_t left;
  int32_t right;
  TokenId left_token;  // then: tells a merge that has been overtaken
  TokenId right_token;
};

bool IsLaterMerge(const Merge& a, const Merge& b) {
  return a.rule.rank != b.rule.rank ? a.rule.rank > b.rule.rank : a.left > b.left;
}

// Merges one word after another, reusing its memory.
class WordMerger {
 public:
  // Nothing merges to a token of `markup`.
  WordMerger(const MergeRules& rules, const TokenSet& markup) : rules_(rules), markup_(markup) {}

  // Appends the tokens that the bytes' tokens of one word merge to.
  void AppendMerged(const std::vector<TokenId>& byte_tokens, std::vector<TokenId>& out) {
    const auto count = static_cast<int32_t>(byte_tokens.size());
    parts_.clear();
    queue_.clear();
    for (int32_t i = 0; i < count; ++i) {
      parts_.push_back({byte_tokens[static_cast<size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
    }
    for (int32_t i = 1; i < count; ++i) {
      Propose(i - 1, i);
    }
    while (!queue_.empty()) {
      std::pop_heap(queue_.begin(), queue_.end(), IsLaterMerge);
      const Merge merge = queue_.back();
      queue_.pop_back();
      Part& left = At(merge.left);
      Part& right = At(merge.right);
      if (left.token != merge.left_token || right.token != merge.right_token ||
          left.next != merge.right) {
        continue;
      }
      left.token = merge.rule.token;
      left.next = right.next;
      right.token = kNoToken;
      if (left.next != -1) {
        At(left.next).previous = merge.left;
      }
      Propose(left.previous, merge.left);
      Propose(merge.left, left.next);
    }
    for (int32_t i = count > 0 ? 0 : -1; i != -1; i = At(i).next) {
      out.push_back(At(i).token);
    }
  }

 private:
  Part& At(int32_t index) { return parts_[static_cast<size_t>(index)]; }

  void Propose(int32_t left, int32_t right) {
    if (left == -1 || right == -1) {
      return;
    }
    const TokenId left_token = At(left).token;
    const TokenId right_token = At(right).token;
    const auto it = rules_.find({left_token, right_token});
    if (it != rules_.end() && !markup_.contains(it->second.token)) {
      queue_.push_back({it->second, left, right, left_token, right_token});
      std::push_heap(queue_.begin(), queue_.end(), IsLaterMerge);
    }
  }

  const MergeRules& rules_;
  const TokenSet& markup_;
  std::vector<Part> parts_;
  std::vector<Merge> queue_;
};

class BpeTokenizer final : public Tokenizer {
 public:
  BpeTokenizer(Vocabulary words, const PretokenizerRules& rules)
      : words_(std::move(words)),
        user_tokens_(words_),
        chat_encoder_(words_, /*strips=*/false),
        pretokenizer_(rules.patterns),
        whole_words_(rules.whole_words),
        add_bos_(words_.bos().has_value() && words_.add_bos().value_or(rules.add_bos)) {}

  // Resolves bytes and merges to token ids.
  absl::Status Init(const GgufFile& file) {
    for (int byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      const auto token = words_.Find(InAlphabet({&c, 1}));
      if (!token.has_value() && !words_.unknown().has_value()) {
        return file.Error(
            absl::StatusCode::kInvalidArgument,
            StrCat("the vocabulary has no token for byte ", byte, " and no unknown token"));
      }
      byte_tokens_[static_cast<size_t>(byte)] = token.has_value() ? *token : *words_.unknown();
    }
    ASSIGN_OR_RETURN(const auto merges, file.GetStrings(kMergesKey));
    merges_.reserve(merges.size());
    for (size_t rank = 0; rank < merges.size(); ++rank) {
      const std::string_view merge = merges[rank];
      // A part is never empty, so a space at the very start belongs to the left one.
      const size_t space = merge.find(' ', 1);
      const auto left = words_.Find(merge.substr(0, space));
      const auto right = space == merge.npos ? std::nullopt : words_.Find(merge.substr(space + 1));
      const auto both = right.has_value()
                            ? words_.Find(StrCat(merge.substr(0, space), merge.substr(space + 1)))
                            : std::nullopt;
      if (!left.has_value() || !both.has_value()) {
        return file.Error(absl::StatusCode::kInvalidArgument,
                          StrCat("key '", kMergesKey, "': merge ", rank, " '", Escaped(merge),
                                 "' is not of two tokens that make a third"));
      }
      // No text merges to a token that stands for none.
      if (words_.IsSpecial(*both)) continue;
      merges_.try_emplace({*left, *right}, MergeRule{static_cast<int32_t>(rank), *both});
    }
    return absl::OkStatus();
  }

  std::vector<TokenId> Encode(std::string_view text) const override {
    std::vector<TokenId> tokens;
    Append(text, TokenSet(), tokens);
    return tokens;
  }

  std::vector<TokenId> EncodeChat(const RenderedChat& chat) const override {
    return chat_encoder_.Encode(
        chat, [this](std::string_view text, const TokenSet& markup, std::vector<TokenId>& tokens) {
          Append(text, markup, tokens);
        });
  }

  std::string TokenBytes(TokenId token, bool /*first*/) const override {
    if (!words_.Contains(token) || words_.IsSpecial(token)) {
      return "";
    }
    if (words_.Type(token) == TokenType::kUserDefined) {
      return std::string(words_.Text(token));
    }
    return FromAlphabet(words_.Text(token));
  }

  int32_t vocabulary() const override { return words_.size(); }
  std::optional<TokenId> bos() const override { return words_.bos(); }
  bool add_bos() const override { return add_bos_; }
  std::optional<TokenId> eos() const override { return words_.eos(); }
  bool IsEndOfText(TokenId token) const override { return words_.IsEndOfText(token); }
  std::string_view Spelling(TokenId token) const override { return words_.Text(token); }

 private:
  // Appends the tokens of `text`, of which none is one of `markup`.
  void Append(std::string_view text, const TokenSet& markup, std::vector<TokenId>& tokens) const {
    WordMerger merger(merges_, markup);
    size_t start = 0;  // of the text since the last user-defined token
    size_t at = 0;
    while (at < text.size() && !user_tokens_.empty()) {
      const auto user_token = user_tokens_.LongestPrefix(text.substr(at), &markup);
      if (user_token.has_value()) {
        EncodeOrdinary(text.substr(start, at - start), merger, tokens);
        tokens.push_back(*user_token);
        at += words_.Text(*user_token).size();
        start = at;
      } else {
        ++at;
      }
    }
    EncodeOrdinary(text.substr(start), merger, tokens);
  }

  void EncodeOrdinary(std::string_view text, WordMerger& merger,
                      std::vector<TokenId>& tokens) const {
    std::vector<TokenId> byte_tokens;
    for (const std::string_view word : pretokenizer_.Split(text)) {
      if (whole_words_) {
        const auto token = words_.Find(InAlphabet(word));
        if (token.has_value() && words_.Type(*token) == TokenType::kNormal) {
          tokens.push_back(*token);
          continue;
        }
      }
      byte_tokens.clear();
      for (const char c : word) {
        byte_tokens.push_back(byte_tokens_[static_cast<uint8_t>(c)]);
      }
      merger.AppendMerged(byte_tokens, tokens);
    }
  }

  const Vocabulary words_;
  const TokenMatcher user_tokens_;
  const ChatEncoder chat_encoder_;
  const Pretokenizer pretokenizer_;
  const bool whole_words_;
  const bool add_bos_;
  std::array<TokenId, 256> byte_tokens_{};
  MergeRules merges_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> MakeBpeTokenizer(const GgufFile& file) {
  ASSIGN_OR_RETURN(const std::string_view pre, file.GetStringOr("tokenizer.ggml.pre", "default"));
  const auto rules = FindPretokenizer(pre);
  if (!rules.has_value()) {
    return file.Error(absl::StatusCode::kUnimplemented,
                      StrCat("key 'tokenizer.ggml.pre' is '", Escaped(pre),
                             "', which is not a known pre-tokenizer"));
  }
  ASSIGN_OR_RETURN(Vocabulary words, Vocabulary::Read(file));
  auto tokenizer = std::make_unique<BpeTokenizer>(std::move(words), *rules);
  RETURN_IF_ERROR(tokenizer->Init(file));
  return tokenizer;
}

}  // namespace baton
