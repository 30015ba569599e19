#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace baton {

// Some of a number of nodes.
struct NodeSet {
  // Of `count`; in any order, and as often as may be.
  NodeSet(std::span<const uint32_t> nodes, int64_t count);

  std::vector<uint32_t> bits;    // as SealedGraph::LiveNodes
  std::vector<uint32_t> listed;  // ascending; only if one in kListedShare is there, or fewer
  static constexpr int64_t kListedShare = 16;
};

// Which nodes of a segment's graph have rows that match filters that are asked again and again,
// live or not. A bit per node is in the cache where a row's values are not. Kept of those that are
// asked most (the admission of TinyLFU, Einziger et al. 2017, with exact counts), kKept at most:
// three bytes for each row. Thread safe.
class FilterNodes {
 public:
  using Nodes = std::shared_ptr<const NodeSet>;
  static constexpr size_t kKept = 8;

  struct Asked {
    Nodes nodes;        // null: not kept
    bool make = false;  // and they are worth keeping: the caller calls Put
  };
  // A search by this filter, which the key is of alone.
  Asked Ask(std::string_view key);
  // Null: they could not be made.
  void Put(std::string_view key, Nodes nodes);

 private:
  // Of so many it is known how often they were asked; after so many asks that is halved.
  static constexpr size_t kCounted = 32;
  static constexpr int64_t kAsksOfAge = 1024;

  struct Entry {
    std::string key;
    int64_t asks = 0;
    bool making = false;
    Nodes nodes = nullptr;
  };
  Entry* Find(std::string_view key);
  // Those that have, or get, their nodes: the one asked least. Null: there is room for more.
  Entry* LeastKept();

  std::mutex mutex_;
  std::vector<Entry> entries_;
  int64_t asks_ = 0;
};

}  // namespace baton
