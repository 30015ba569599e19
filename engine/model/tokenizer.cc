#include "engine/model/tokenizer.h"

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/bpe_tokenizer.h"
#include "engine/model/chat/chat_templates.h"
#include "engine/model/gguf.h"
#include "engine/model/spm_tokenizer.h"
#include "engine/model/utf8.h"
#include "engine/model/word_piece_tokenizer.h"

namespace baton {
namespace {

// Moves whole characters from `pending` to the result, invalid bytes as U+FFFD; an unfinished
// character at the end stays.
std::string TakeWhole(std::string& pending) {
  std::string whole;
  std::string_view left = pending;
  while (!left.empty()) {
    const size_t bytes = Utf8CharBytes(left);
    if (bytes != 0) {
      whole.append(left.substr(0, bytes));
      left.remove_prefix(bytes);
    } else if (IsUtf8Prefix(left)) {
      break;
    } else {
      // One U+FFFD for a cut-off character's bytes, as Unicode recommends, or for one bad byte.
      size_t bad = 1;
      while (bad < left.size() && IsUtf8Prefix(left.substr(0, bad + 1))) {
        ++bad;
      }
      whole.append(kReplacementCharacter);
      left.remove_prefix(bad);
    }
  }
  pending.erase(0, pending.size() - left.size());
  return whole;
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> MakeTokenizer(const GgufFile& file) {
  ASSIGN_OR_RETURN(const std::string_view model, file.GetString("tokenizer.ggml.model"));
  if (model == "llama") {
    return MakeSpmTokenizer(file);
  }
  if (model == "gpt2") {
    return MakeBpeTokenizer(file);
  }
  if (model == "bert") {
    return MakeWordPieceTokenizer(file);
  }
  return file.Error(absl::StatusCode::kUnimplemented,
                    StrCat("key 'tokenizer.ggml.model' is '", Escaped(model),
                           "', only 'llama', 'gpt2' and 'bert' are supported"));
}

std::vector<TokenId> EncodePrompt(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<TokenId> tokens = tokenizer.Encode(text);
  if (tokenizer.add_bos()) {
    tokens.insert(tokens.begin(), *tokenizer.bos());
  }
  return tokens;
}

std::vector<TokenId> Tokenizer::EncodeChat(const RenderedChat& chat) const {
  return Encode(chat.text.bytes());
}

std::vector<TokenId> EncodeChatPrompt(const Tokenizer& tokenizer, const RenderedChat& chat) {
  std::vector<TokenId> tokens = tokenizer.EncodeChat(chat);
  if (tokenizer.add_bos() && (tokens.empty() || tokens.front() != *tokenizer.bos())) {
    tokens.insert(tokens.begin(), *tokenizer.bos());
  }
  return tokens;
}

std::string DecodeAll(const Tokenizer& tokenizer, const std::vector<TokenId>& tokens) {
  StreamDecoder decoder(tokenizer);
  std::string text;
  for (const TokenId token : tokens) {
    text += decoder.Push(token);
  }
  return text + decoder.Finish();
}

std::string StreamDecoder::Push(TokenId token) {
  const std::string bytes = tokenizer_.TokenBytes(token, first_);
  // A text's first token is the first that is not special: bos comes before it. An ordinary token
  // may be nothing but the added space, so special ones are told by their bytes elsewhere.
  if (!bytes.empty() || !tokenizer_.TokenBytes(token, false).empty()) {
    first_ = false;
  }
  pending_ += bytes;
  return TakeWhole(pending_);
}

std::string StreamDecoder::Finish() {
  std::string rest = TakeWhole(pending_);
  if (!pending_.empty()) {
    rest.append(kReplacementCharacter);
    pending_.clear();
  }
  return rest;
}

}  // namespace baton
