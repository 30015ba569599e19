#include "engine/model/grammar/token_trie.h"

#include <algorithm>

namespace baton {

TokenTrie::TokenTrie(std::vector<std::pair<std::string, TokenId>> tokens) {
  std::sort(tokens.begin(), tokens.end());
  nodes_.push_back({.behind = 0, .tokens = 0, .depth = 0, .byte = 0});
  std::vector<uint32_t> path = {kRoot};  // the nodes above the next one
  for (const auto& [bytes, token] : tokens) {
    size_t shared = 0;  // bytes with the path's nodes
    while (shared < bytes.size() && shared + 1 < path.size() &&
           nodes_[path[shared + 1]].byte == static_cast<uint8_t>(bytes[shared])) {
      ++shared;
    }
    const auto leave = [&](size_t depth) {
      for (; path.size() > depth + 1; path.pop_back()) {
        nodes_[path.back()].behind = static_cast<uint32_t>(nodes_.size());
      }
    };
    leave(shared);
    for (size_t i = shared; i < bytes.size(); ++i) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({.behind = 0,
                        .tokens = static_cast<uint32_t>(tokens_.size()),
                        .depth = static_cast<uint16_t>(i + 1),
                        .byte = static_cast<uint8_t>(bytes[i])});
    }
    tokens_.push_back(token);
  }
  const auto count = static_cast<uint32_t>(nodes_.size());
  for (const uint32_t node : path) {
    nodes_[node].behind = count;
  }
  nodes_.push_back(
      {.behind = count, .tokens = static_cast<uint32_t>(tokens_.size()), .depth = 0, .byte = 0});
}

}  // namespace baton
