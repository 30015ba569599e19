#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/chat/jinja_template.h"
#include "engine/model/chat/marked_text.h"
#include "engine/request/chat_prompt.h"

namespace baton {

// A prompt as its template wrote it.
struct RenderedChat {
  MarkedText text;
  std::string template_source;
};

// The chat templates that a model's file brings, each read once. Immutable and thread safe.
class ChatTemplates {
 public:
  struct Source {
    std::string name;  // "default", "tool_use", ...
    std::string text;
  };
  // What templates see as bos_token and eos_token; empty: the model has none.
  struct SpecialTexts {
    std::string bos;
    std::string eos;
  };

  ChatTemplates() = default;
  // A template that cannot be read is an error of the requests that want it.
  ChatTemplates(std::vector<Source> sources, SpecialTexts special_texts);

  bool empty() const { return templates_.empty(); }
  // Whether a request without tools and without a template of its own has one that can be read.
  bool HasDefault() const;

  // The prompt of `chat`, which has been validated. `now_s`: seconds since 1970. Takes up to a
  // second: not for the engine's loop. INVALID_ARGUMENT: there is no template, or not the named
  // one; it cannot be read; it refuses the messages or fails on them; JSON that is none.
  absl::StatusOr<RenderedChat> Render(const ChatPrompt& chat, int64_t now_s) const;

 private:
  struct Named {
    std::string name;
    absl::StatusOr<chat::JinjaTemplate> parsed;
  };

  const Named* Find(std::string_view name) const;
  absl::StatusOr<const chat::JinjaTemplate*> Choose(const ChatPrompt& chat) const;

  std::vector<Named> templates_;
  SpecialTexts special_texts_;
};

}  // namespace baton
