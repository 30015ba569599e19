#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "engine/model/grammar/grammar.h"
#include "engine/request/generate_request.h"

namespace baton {

class Tokenizer;

// The grammars that requests ask of one model, each compiled once while it is kept; those used last
// are. Thread safe: two threads may compile the same one, and one is kept.
class GrammarCache {
 public:
  struct Limits {
    size_t grammars = 64;
    size_t bytes = size_t{256} << 20;  // of grammars, masks and texts; one is always kept
  };

  // The tokenizer outlives it.
  explicit GrammarCache(const Tokenizer& tokenizer) : GrammarCache(tokenizer, Limits()) {}
  GrammarCache(const Tokenizer& tokenizer, const Limits& limits);

  // The grammar of what a text must look like; null: of none. Takes up to a second, and a few
  // 100 ms more the first time, for the vocabulary.
  // INVALID_ARGUMENT names the request's field and what is wrong with it and where; or that it
  // matches no text, none but the empty one, or none that the model's tokens begin.
  absl::StatusOr<std::shared_ptr<const Grammar>> Get(const TextConstraint& constraint);
  // The same, and it is not kept: for what will hardly be asked again.
  absl::StatusOr<std::shared_ptr<const Grammar>> Compile(const TextConstraint& constraint);

  size_t size() const;

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const Grammar> grammar;
  };

  std::shared_ptr<const Grammar> Find(std::string_view key);
  void Keep(std::string key, std::shared_ptr<const Grammar> grammar);

  const Tokenizer& tokenizer_;
  const Limits limits_;
  std::once_flag vocabulary_once_;
  std::shared_ptr<const GrammarVocabulary> vocabulary_;  // once made, const

  mutable std::mutex mutex_;  // of all below
  std::list<Entry> entries_;  // the one used last first
  absl::flat_hash_map<std::string_view, std::list<Entry>::iterator> by_key_;
};

}  // namespace baton
