#include "engine/model/grammar/cache.h"

#include <algorithm>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/grammar/filter.h"
#include "engine/model/grammar/json_grammar.h"
#include "engine/model/grammar/json_schema.h"

namespace baton {
namespace {

using Kind = TextConstraint::Kind;

absl::Status Invalid(Kind kind, absl::string_view message) {
  return absl::InvalidArgumentError(StrCat(FieldOf(kind), ": ", message));
}

}  // namespace

GrammarCache::GrammarCache(const Tokenizer& tokenizer, const Limits& limits)
    : tokenizer_(tokenizer), limits_(limits) {}

size_t GrammarCache::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

absl::StatusOr<std::shared_ptr<const Grammar>> GrammarCache::Get(const TextConstraint& constraint) {
  if (constraint.kind == Kind::kNone) return nullptr;
  std::string key = StrCat(FieldOf(constraint.kind), ":", constraint.text);
  if (std::shared_ptr<const Grammar> kept = Find(key)) return kept;
  ASSIGN_OR_RETURN(std::shared_ptr<const Grammar> grammar, Compile(constraint));
  Keep(std::move(key), grammar);
  return grammar;
}

absl::StatusOr<std::shared_ptr<const Grammar>> GrammarCache::Compile(
    const TextConstraint& constraint) {
  std::call_once(vocabulary_once_,
                 [this] { vocabulary_ = std::make_shared<const GrammarVocabulary>(tokenizer_); });
  std::string gbnf = constraint.text;
  if (constraint.kind == Kind::kJsonSchema) {
    ASSIGN_OR_RETURN(gbnf, JsonSchemaToGbnf(constraint.text));
  } else if (constraint.kind == Kind::kJsonObject) {
    gbnf = JsonObjectGbnf();
  }
  auto grammar = Grammar::FromGbnf(gbnf, vocabulary_);
  if (!grammar.ok()) {
    return constraint.kind == Kind::kGrammar
               ? grammar.status()
               : Invalid(constraint.kind, StrCat("as a ", grammar.status().message()));
  }
  const GrammarFilter start(*grammar, {});
  if (!start.status().ok()) return Invalid(constraint.kind, start.status().message());
  if (start.complete()) return Invalid(constraint.kind, "it matches no text but the empty one");
  return grammar;
}

std::shared_ptr<const Grammar> GrammarCache::Find(std::string_view key) {
  const std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->grammar;
}

void GrammarCache::Keep(std::string key, std::shared_ptr<const Grammar> grammar) {
  const std::lock_guard lock(mutex_);
  if (by_key_.contains(key)) return;
  entries_.push_front({.key = std::move(key), .grammar = std::move(grammar)});
  by_key_[entries_.front().key] = entries_.begin();
  // All are counted anew: masks have been made since they came.
  size_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.key.size() + entry.grammar->bytes();
  while (entries_.size() > 1 && (entries_.size() > limits_.grammars || bytes > limits_.bytes)) {
    const Entry& last = entries_.back();
    bytes -= std::min(bytes, last.key.size() + last.grammar->bytes());
    by_key_.erase(last.key);
    entries_.pop_back();
  }
}

}  // namespace baton
