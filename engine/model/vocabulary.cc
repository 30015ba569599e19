#include "engine/model/vocabulary.h"

#include <algorithm>
#include <cstring>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/gguf.h"

namespace baton {
namespace {

constexpr std::string_view kTokensKey = "tokenizer.ggml.tokens";
constexpr std::string_view kTypesKey = "tokenizer.ggml.token_type";
constexpr std::string_view kAddBosKey = "tokenizer.ggml.add_bos_token";
// Prefix matching of tokens costs up to this much per byte of text.
constexpr size_t kMatchedTokenBytesMax = 256;

// Special tokens that end a turn or a text in published models. Files name only one or two of
// theirs by key, although a model may produce any of them.
constexpr std::string_view kEndOfTextNames[] = {
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<EOT>",
    "<|EOT|>",
    "_<EOT>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot|>",
    "</s>",
    "<eos>",
    "[EOT]",
    "[EOS]",
    "<end_of_utterance>",
    "<|END_OF_TURN_TOKEN|>",
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
};

absl::StatusOr<std::optional<TokenId>> ReadTokenId(const GgufFile& file, std::string_view key,
                                                   size_t vocabulary) {
  if (!file.Type(key).has_value()) {
    return std::optional<TokenId>();
  }
  ASSIGN_OR_RETURN(const int64_t id, file.GetInt(key));
  // Converters write 2^32-1 or -1 for "none".
  if (id == -1 || id == 0xffffffff) {
    return std::optional<TokenId>();
  }
  if (id < 0 || static_cast<uint64_t>(id) >= vocabulary) {
    return file.Error(
        absl::StatusCode::kInvalidArgument,
        StrCat("key '", key, "' is ", id, ", outside the vocabulary of ", vocabulary, " tokens"));
  }
  return std::optional(static_cast<TokenId>(id));
}

}  // namespace

absl::StatusOr<Vocabulary> Vocabulary::Read(const GgufFile& file) {
  Vocabulary vocabulary;
  ASSIGN_OR_RETURN(const auto tokens, file.GetStrings(kTokensKey));
  if (tokens.empty()) {
    return file.Error(absl::StatusCode::kInvalidArgument,
                      StrCat("key '", kTokensKey, "' is empty"));
  }
  size_t bytes = 0;
  for (const std::string_view token : tokens) {
    bytes += token.size();
  }
  vocabulary.bytes_ = std::make_unique<char[]>(bytes);
  vocabulary.tokens_.reserve(tokens.size());
  vocabulary.by_text_.reserve(tokens.size());
  char* next = vocabulary.bytes_.get();
  for (size_t i = 0; i < tokens.size(); ++i) {
    next = std::copy(tokens[i].begin(), tokens[i].end(), next);
    const std::string_view own(next - tokens[i].size(), tokens[i].size());
    vocabulary.tokens_.push_back(own);
    vocabulary.by_text_.insert_or_assign(own, static_cast<TokenId>(i));
  }

  vocabulary.types_.assign(tokens.size(), TokenType::kNormal);
  if (file.Type(kTypesKey).has_value()) {
    ASSIGN_OR_RETURN(const auto types, file.GetInts(kTypesKey));
    if (types.size() != tokens.size()) {
      return file.Error(absl::StatusCode::kInvalidArgument,
                        StrCat("key '", kTypesKey, "' has ", types.size(), " elements, '",
                               kTokensKey, "' has ", tokens.size()));
    }
    for (size_t i = 0; i < types.size(); ++i) {
      if (types[i] < 0 || types[i] > static_cast<int32_t>(TokenType::kByte)) {
        return file.Error(
            absl::StatusCode::kInvalidArgument,
            StrCat("key '", kTypesKey, "': token ", i, " is of unknown type ", types[i]));
      }
      // 0 is "undefined", which every reader takes as an ordinary token.
      vocabulary.types_[i] = types[i] == 0 ? TokenType::kNormal : static_cast<TokenType>(types[i]);
    }
  }

  ASSIGN_OR_RETURN(vocabulary.bos_,
                   ReadTokenId(file, "tokenizer.ggml.bos_token_id", tokens.size()));
  ASSIGN_OR_RETURN(vocabulary.unknown_,
                   ReadTokenId(file, "tokenizer.ggml.unknown_token_id", tokens.size()));
  ASSIGN_OR_RETURN(vocabulary.cls_,
                   ReadTokenId(file, "tokenizer.ggml.cls_token_id", tokens.size()));
  // The format's own spelling.
  ASSIGN_OR_RETURN(vocabulary.separator_,
                   ReadTokenId(file, "tokenizer.ggml.seperator_token_id", tokens.size()));
  for (const std::string_view key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                     "tokenizer.ggml.eom_token_id"}) {
    ASSIGN_OR_RETURN(const auto id, ReadTokenId(file, key, tokens.size()));
    if (id.has_value()) {
      vocabulary.end_of_text_.push_back(*id);
    }
    if (key == "tokenizer.ggml.eos_token_id") {
      vocabulary.eos_ = id;
    }
  }
  for (const std::string_view name : kEndOfTextNames) {
    const auto id = vocabulary.Find(name);
    if (id.has_value() && vocabulary.Type(*id) != TokenType::kNormal) {
      vocabulary.end_of_text_.push_back(*id);
    }
  }
  if (!vocabulary.unknown_.has_value()) {
    const auto it =
        std::find(vocabulary.types_.begin(), vocabulary.types_.end(), TokenType::kUnknown);
    if (it != vocabulary.types_.end()) {
      vocabulary.unknown_ = static_cast<TokenId>(it - vocabulary.types_.begin());
    }
  }
  if (file.Type(kAddBosKey).has_value()) {
    ASSIGN_OR_RETURN(vocabulary.add_bos_, file.GetBool(kAddBosKey));
    if (*vocabulary.add_bos_ && !vocabulary.bos_.has_value()) {
      return file.Error(absl::StatusCode::kInvalidArgument,
                        StrCat("key '", kAddBosKey, "' is true, but the file names no bos"));
    }
  }
  return vocabulary;
}

std::optional<TokenId> Vocabulary::Find(std::string_view text) const {
  const auto it = by_text_.find(text);
  return it == by_text_.end() ? std::nullopt : std::optional(it->second);
}

bool Vocabulary::IsEndOfText(TokenId token) const {
  return std::find(end_of_text_.begin(), end_of_text_.end(), token) != end_of_text_.end();
}

TokenMatcher::TokenMatcher(const Vocabulary& vocabulary)
    : TokenMatcher(vocabulary, [&vocabulary](TokenId token) {
        return vocabulary.Type(token) == TokenType::kUserDefined && !vocabulary.IsEndOfText(token);
      }) {}

TokenMatcher::TokenMatcher(const Vocabulary& vocabulary, Wanted wanted) {
  for (TokenId token = 0; token < vocabulary.size(); ++token) {
    const std::string_view text = vocabulary.Text(token);
    if (!text.empty() && text.size() <= kMatchedTokenBytesMax && wanted(token)) {
      sorted_.push_back({text, token});
      first_byte_[static_cast<uint8_t>(text[0])] = true;
    }
  }
  std::sort(sorted_.begin(), sorted_.end(), [](const Entry& a, const Entry& b) {
    return a.text != b.text ? a.text < b.text : a.token < b.token;
  });
}

std::optional<TokenId> TokenMatcher::LongestPrefix(std::string_view text,
                                                   const TokenSet* excluded) const {
  if (text.empty() || !first_byte_[static_cast<uint8_t>(text[0])]) {
    return std::nullopt;
  }
  // Narrows to the tokens that start with text[0..length), one byte at a time. A token equal to
  // that prefix sorts before all longer ones.
  std::optional<TokenId> longest;
  auto low = sorted_.begin();
  auto high = sorted_.end();
  for (size_t length = 1; length <= text.size() && low != high; ++length) {
    const auto byte = static_cast<uint8_t>(text[length - 1]);
    const auto at = [length](const Entry& entry) {
      return entry.text.size() < length ? -1 : int{static_cast<uint8_t>(entry.text[length - 1])};
    };
    low = std::partition_point(low, high, [&](const Entry& e) { return at(e) < byte; });
    high = std::partition_point(low, high, [&](const Entry& e) { return at(e) <= byte; });
    if (low != high && low->text.size() == length &&
        (excluded == nullptr || !excluded->contains(low->token))) {
      longest = low->token;
    }
  }
  return longest;
}

}  // namespace baton
