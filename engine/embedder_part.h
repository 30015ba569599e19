#pragma once

#include <memory>
#include <string>

#include "engine/model/embedder.h"

namespace baton {

// An embedder, and what goes before the texts it embeds: some models were trained with words that
// tell questions from passages.
struct EmbedderPart {
  std::shared_ptr<const Embedder> embedder;
  std::string question_prefix = {};  // of Ask
  std::string passage_prefix = {};   // of Ingest
};

}  // namespace baton
