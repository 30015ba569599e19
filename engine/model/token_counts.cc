#include "engine/model/token_counts.h"

namespace baton {

void TokenCounts::Add(TokenId token) {
  const auto [place, added] = places_.try_emplace(token, entries_.size());
  if (added) {
    entries_.push_back({.token = token, .count = 1});
  } else {
    ++entries_[place->second].count;
  }
}

void TokenCounts::Remove(TokenId token) {
  const auto found = places_.find(token);
  Entry& entry = entries_[found->second];
  if (--entry.count > 0) return;
  entry = entries_.back();  // takes its place
  places_[entry.token] = found->second;
  entries_.pop_back();
  places_.erase(token);
}

}  // namespace baton
