#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/ids.h"

namespace baton {

// The bytes of a vocabulary's tokens as a tree: tokens that start alike share a path. Nodes stand
// in the order of a walk down the tree, so that what lies below a node follows it. Immutable.
class TokenTrie {
 public:
  struct Node {
    uint32_t behind;  // the first node that is not below this one
    uint32_t tokens;  // first of tokens(): those that end here, then those below
    uint16_t depth;   // bytes up to here
    uint8_t byte;     // the last of them
  };
  static constexpr uint32_t kRoot = 0;

  TokenTrie() : TokenTrie(std::vector<std::pair<std::string, TokenId>>()) {}
  // Tokens with their bytes: at least one, at most 65,535.
  explicit TokenTrie(std::vector<std::pair<std::string, TokenId>> tokens);

  // [nodes + 1]: the last one stands behind all, for its `tokens`.
  std::span<const Node> nodes() const { return nodes_; }
  // The tokens that end at a node.
  std::span<const TokenId> TokensAt(uint32_t node) const {
    return {tokens_.data() + nodes_[node].tokens, tokens_.data() + nodes_[node + 1].tokens};
  }
  std::span<const TokenId> tokens() const { return tokens_; }

 private:
  std::vector<Node> nodes_;
  std::vector<TokenId> tokens_;  // by their bytes
};

}  // namespace baton
