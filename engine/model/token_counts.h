#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/base/ids.h"

namespace baton {

// How often tokens are in a text; those that are in it side by side, for who goes through all of
// them at each step. Not thread safe.
class TokenCounts {
 public:
  struct Entry {
    TokenId token;
    int32_t count;  // 1 or more
  };

  void Add(TokenId token);
  void Remove(TokenId token);                                  // which is in it
  std::span<const Entry> entries() const { return entries_; }  // each token once, in no order

 private:
  std::vector<Entry> entries_;
  std::unordered_map<TokenId, size_t> places_;  // in entries_
};

}  // namespace baton
