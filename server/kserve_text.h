#pragma once

#include <string>
#include <utility>

#include "engine/engine.h"
#include "server/openai_replies.h"
#include "server/translate_kserve.h"

namespace baton {

// Keeps all completions' texts until the last has ended.
class KserveTextSink final : public TokenSink {
 public:
  KserveTextSink(int32_t completions, Done<KserveText> done) : done_(std::move(done)) {
    text_.texts.resize(static_cast<size_t>(completions));
    text_.finish_reasons.resize(static_cast<size_t>(completions));
  }

  void OnPrompt(PromptChunk) override {}  // is not asked for
  void OnTokens(TokenChunk chunk) override {
    text_.texts[static_cast<size_t>(chunk.index)] += chunk.text;
  }
  void OnCompletion(GenerateResult result) override {
    text_.finish_reasons[static_cast<size_t>(result.index)] =
        std::string(FinishReasonOf(result.reason));
    text_.prompt_tokens = result.prompt_tokens;
    text_.completion_tokens += result.generated_tokens;
  }
  void OnFinished(absl::Status status) override {
    if (status.ok()) {
      done_(std::move(text_));
    } else {
      done_(std::move(status));
    }
  }

 private:
  KserveText text_;
  Done<KserveText> done_;
};

}  // namespace baton
