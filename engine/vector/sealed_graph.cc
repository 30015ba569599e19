#include "engine/vector/sealed_graph.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/code_products.h"
#include "engine/vector/distance.h"
#include "engine/vector/part_ratio.h"

namespace baton {
namespace {

// Past this, moving what lies behind an insertion costs more than a heap does.
constexpr int64_t kLinearPoolMax = 1024;

// Where so many times fewer nodes near the query match than of all, what matches is elsewhere; then
// the walk begins behind so many times as many nodes as it keeps. Measured on a million vectors of
// 128 values where the fifth that matches lies on the other side of the space.
constexpr double kFewerNear = 4;
constexpr int64_t kNearOfEf = 2;

constexpr int64_t kLineBytes = 64;

// The start of a vector or code is asked for while the walk still collects nodes; the processor
// itself reads on.
constexpr int64_t kPrefetchBytes = 4 * kLineBytes;

absl::Status Damaged(const char* what) {
  return absl::DataLossError(StrCat("graph is damaged: ", what));
}

void Prefetch(const void* data, int64_t bytes) {
  const auto* const at = static_cast<const char*>(data);
  for (int64_t i = 0; i < bytes; i += kLineBytes) __builtin_prefetch(at + i);
}

// Codes of so many bytes are looked at in part first, and the rest of those alone that the part
// does not show to be too far: most of what is met is, and each cache line is one more miss. By
// `./dev bench vector`: with codes of two lines walks are a seventh faster where the last level of
// cache holds few of them, and as fast where it holds all.
constexpr int64_t kSkimFrom = 2 * kLineBytes;
constexpr int64_t kPartOfCode = 3;
// A scan meets far more that is too far than a walk, and loses what a part excludes wrongly for
// good.
constexpr float kScanDeviations = 3;
// Codes of no more bytes than this are most likely in the caches of a core, where a line more costs
// less than looking twice. By `./dev bench vector-filter`: better with 1,000 codes of two lines,
// worse with 10,000.
constexpr int64_t kScanCachedBytes = 512 << 10;
// A scan scores so many codes at once, and asks for as many of those to come before: memory and
// processor work side by side. So many times as many are on their way. By `./dev bench
// vector-filter --only filter_5pct_far`.
constexpr size_t kAtOnce = 8;
constexpr size_t kBatches = 5;
// The part may have as little of a distance as half of its share; below that it tells nothing.
constexpr float kPartRatioMin = 0.5f / static_cast<float>(kPartOfCode);
// Of one candidate in so many the links are compared as a whole, and so of a scan: how much of a
// distance is in the part may change on the way.
constexpr int64_t kWholeHops = 8;

// What walks compare: codes with a query's.
struct CodeScorer {
  CodeProductsFn products;
  QueryCode query;
  const uint8_t* codes;
  int64_t stride;
  const float* norms;   // null: none
  float square_factor;  // 0: none
  float factor;
  int64_t part;        // of a code, in bytes, that is looked at first; 0: all of it
  float part_length;   // |query - origin|^2 of that part
  float whole_length;  // and of all

  void Want(uint32_t node) const {
    Prefetch(codes + node * stride, std::min(stride, kPrefetchBytes));
    if (norms != nullptr) __builtin_prefetch(norms + node);
  }
  bool skims() const { return part > 0; }
  void WantPart(uint32_t node) const { Prefetch(codes + node * stride, part); }
  // Squared distances of parts.
  void ScorePart(std::span<const uint32_t> nodes, float* parts, int32_t* sums,
                 int32_t* squares) const {
    products(query, codes, stride, part, nodes.data(), static_cast<int64_t>(nodes.size()), sums,
             squares);
    for (size_t i = 0; i < nodes.size(); ++i) {
      parts[i] = part_length + factor * static_cast<float>(sums[i]) +
                 square_factor * static_cast<float>(squares[i]);
    }
  }
  // Leaves those nodes that may be nearer than a key, so many, and asks for the rest of them. The
  // same of `places`, if not null.
  size_t Skim(std::span<uint32_t> nodes, uint32_t* places, float farthest, const PartRatio& ratio,
              float* parts, int32_t* sums, int32_t* squares) const {
    ScorePart(nodes, parts, sums, squares);
    const float limit = ratio.LargestPart(farthest + whole_length);
    size_t kept = 0;
    for (size_t i = 0; i < nodes.size(); ++i) {
      nodes[kept] = nodes[i];
      if (places != nullptr) places[kept] = places[i];
      kept += parts[i] < limit ? 1 : 0;
    }
    for (size_t i = 0; i < kept; ++i) Prefetch(codes + nodes[i] * stride + part, stride - part);
    return kept;
  }
  // Of nodes with these keys, those that are nearer than `farthest`.
  void Learn(std::span<const uint32_t> nodes, const float* keys, float farthest, float* parts,
             int32_t* sums, int32_t* squares, PartRatio& ratio) const {
    ScorePart(nodes, parts, sums, squares);
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (keys[i] < farthest) ratio.Add(parts[i], keys[i] + whole_length);
    }
  }
  void Score(std::span<const uint32_t> nodes, float* keys, int32_t* sums, int32_t* squares) const {
    const bool with_squares = square_factor != 0;
    products(query, codes, stride, stride, nodes.data(), static_cast<int64_t>(nodes.size()), sums,
             with_squares ? squares : nullptr);
    for (size_t i = 0; i < nodes.size(); ++i) {
      keys[i] = factor * static_cast<float>(sums[i]);
      if (with_squares) keys[i] += square_factor * static_cast<float>(squares[i]);
      if (norms != nullptr) keys[i] += norms[nodes[i]];
    }
  }
};

// Or vectors.
struct VectorScorer {
  StoredDistanceFn distance;
  const float* query;
  const StoredRows& vectors;
  const uint32_t* rows;
  uint32_t row_mask;

  // Vectors are looked at as a whole.
  static constexpr bool skims() { return false; }
  void WantPart(uint32_t) const {}
  size_t Skim(std::span<uint32_t> nodes, uint32_t*, float, const PartRatio&, float*, int32_t*,
              int32_t*) const {
    return nodes.size();
  }
  void Learn(std::span<const uint32_t>, const float*, float, float*, int32_t*, int32_t*,
             PartRatio&) const {}
  const std::byte* At(uint32_t node) const { return vectors.At(rows[node] & row_mask); }
  void Want(uint32_t node) const {
    Prefetch(At(node), std::min(vectors.format.row_bytes(), kPrefetchBytes));
  }
  void Score(std::span<const uint32_t> nodes, float* keys, int32_t*, int32_t*) const {
    for (size_t i = 0; i < nodes.size(); ++i) {
      distance(query, At(nodes[i]), 1, vectors.format.dimension(), &keys[i]);
    }
  }
};

}  // namespace

SealedGraph::Scratch& SealedGraph::Scratch::OfThread() {
  static thread_local Scratch scratch;
  return scratch;
}

SealedGraph::Layout::Layout(const Header& header) {
  int64_t at = sizeof(Header);
  const auto place = [&at](int64_t count, int64_t bytes) {
    const int64_t begin = (at + kLineBytes - 1) / kLineBytes * kLineBytes;
    at = begin + count * bytes;
    return begin;
  };
  const int64_t nodes = header.nodes;
  const int64_t m = header.m;
  int64_t upper_nodes = 0;
  for (uint32_t level = 0; level < header.levels; ++level) {
    upper_nodes += header.level_nodes[level];
  }
  const bool codes_there = header.stride > 0;
  const int64_t values = codes_there ? header.dimension : 0;
  low = place(values, 4);
  step = place(values, 4);
  origin = place(values, 4);
  norms = place(header.norms != 0 ? nodes : 0, 4);
  rows = place(nodes, 4);
  copies = place(header.copies, 8);
  links = place(nodes, 2 * m * 4);
  upper_links = place(upper_nodes, m * 4);
  codes = place(nodes, header.stride);
  row_nodes = place(header.exact != 0 ? header.rows : 0, 4);
  unreached = place(header.unreached, 4);
  end = at;
}

SealedGraph::SealedGraph(const GraphRows& rows, HugeBuffer buffer)
    : rows_(rows), stored_(StoredRowsOf(rows)), buffer_(std::move(buffer)), layout_(header()) {}

std::span<const std::byte> SealedGraph::bytes() const {
  return {buffer_.data(), static_cast<size_t>(layout_.end)};
}

int64_t SealedGraph::FirstRow(uint32_t node) const {
  return Array<uint32_t>(layout_.rows)[node] & ~kHasCopies;
}

void SealedGraph::DecodeRow(int64_t row, float* vector) const {
  const uint32_t node = Array<uint32_t>(layout_.row_nodes)[row];
  const auto* const code = Array<uint8_t>(layout_.codes) + int64_t{node} * header().stride;
  baton::DecodeRow(code_book(), code, vector);
}

CodeBook SealedGraph::code_book() const {
  const auto* const step = Array<float>(layout_.step);
  const bool squares = rows_.metric == Metric::kL2 && header().norms == 0;
  return {.dimension = rows_.dimension,
          .square_factor = squares ? step[0] * step[0] : 0,
          .low = Array<float>(layout_.low),
          .step = step,
          .origin = Array<float>(layout_.origin)};
}

int SealedGraph::LevelOf(uint32_t node) const {
  const auto* const begin = header().level_nodes;
  const auto* const end = begin + header().levels;
  return static_cast<int>(std::find_if(begin, end, [node](uint32_t n) { return node >= n; }) -
                          begin);
}

std::span<const uint32_t> SealedGraph::Links(uint32_t node, int level) const {
  const Header& h = header();
  const int64_t room = level == 0 ? 2 * int64_t{h.m} : h.m;
  const auto* links = Array<uint32_t>(level == 0 ? layout_.links : layout_.upper_links);
  for (int below = 1; below < level; ++below) links += int64_t{h.level_nodes[below - 1]} * h.m;
  links += node * room;
  return {links, std::find(links, links + room, kNoLink)};
}

SealedGraph::Arrays SealedGraph::arrays() const {
  const Header& h = header();
  size_t upper_nodes = 0;
  for (uint32_t level = 0; level < h.levels; ++level) upper_nodes += h.level_nodes[level];
  return {.degree = 2 * h.m,
          .upper_degree = h.m,
          .level_nodes = {h.level_nodes, h.levels},
          .links = {Array<uint32_t>(layout_.links), size_t{h.nodes} * 2 * h.m},
          .upper_links = {Array<uint32_t>(layout_.upper_links), upper_nodes * h.m}};
}

std::span<const uint32_t> SealedGraph::unreached() const {
  return {Array<uint32_t>(layout_.unreached), header().unreached};
}

void SealedGraph::ForEachRow(absl::FunctionRef<void(uint32_t node, int64_t row)> visit) const {
  const auto* const rows = Array<uint32_t>(layout_.rows);
  for (uint32_t node = 0; node < header().nodes; ++node) visit(node, rows[node] & ~kHasCopies);
  const auto* const copies = Array<std::pair<uint32_t, uint32_t>>(layout_.copies);
  for (uint32_t i = 0; i < header().copies; ++i) visit(copies[i].first, copies[i].second);
}

// ---- Searching

template <class Scorer>
Candidate SealedGraph::Descend(const Scorer& scorer, Scratch& scratch) const {
  const Header& h = header();
  uint32_t* const nodes = scratch.nodes.data();
  float* const keys = scratch.keys.data();
  const auto score = [&](size_t count) {
    scorer.Score({nodes, count}, keys, scratch.products.data(), scratch.squares.data());
  };
  uint32_t at = 0;
  nodes[0] = at;
  score(1);
  float at_key = keys[0];
  const auto* level_links = Array<uint32_t>(layout_.upper_links);
  for (uint32_t level = 0; level < h.levels; ++level)
    level_links += int64_t{h.level_nodes[level]} * h.m;
  for (uint32_t level = h.levels; level > 0; --level) {
    level_links -= int64_t{h.level_nodes[level - 1]} * h.m;
    for (bool moved = true; moved;) {
      moved = false;
      const uint32_t* const links = level_links + int64_t{at} * h.m;
      size_t count = 0;
      for (; count < h.m && links[count] != kNoLink; ++count) {
        nodes[count] = links[count];
        scorer.Want(nodes[count]);
      }
      score(count);
      for (size_t i = 0; i < count; ++i) {
        if (!(keys[i] < at_key)) continue;
        at_key = keys[i];
        at = nodes[i];
        moved = true;
      }
    }
  }
  return {.key = at_key, .node = at};
}

template <class Scorer, class Pool>
std::span<const Candidate> SealedGraph::Follow(const Scorer& scorer, Pool& pool,
                                               Scratch& scratch) const {
  const Header& h = header();
  uint32_t* const nodes = scratch.nodes.data();
  float* const keys = scratch.keys.data();
  const auto score = [&](size_t count) {
    scorer.Score({nodes, count}, keys, scratch.products.data(), scratch.squares.data());
  };
  const auto [at_key, at] = Descend(scorer, scratch);
  const int64_t degree = 2 * int64_t{h.m};
  const auto* const all_links = Array<uint32_t>(layout_.links);
  scratch.visited.assign((h.nodes + 63) / 64, 0);
  scratch.Visit(at);
  pool.Add(at_key, at);
  PartRatio ratio(kPartRatioMin);
  int64_t hop = 0;
  while (const std::optional<uint32_t> from = pool.Next()) {
    const uint32_t* const links = all_links + *from * degree;
    const float farthest = pool.Farthest();
    const bool skims = scorer.skims() && farthest < std::numeric_limits<float>::infinity() &&
                       ++hop % kWholeHops != 0 && ratio.Tells();
    size_t count = 0;
    // No branch depends on whether a node was visited.
    for (int64_t i = 0; i < degree && links[i] != kNoLink; ++i) {
      nodes[count] = links[i];
      count += scratch.Visit(links[i]) ? 1 : 0;
    }
    for (size_t i = 0; i < count; ++i) {
      if (skims) {
        scorer.WantPart(nodes[i]);
      } else {
        scorer.Want(nodes[i]);
      }
    }
    if (skims) {
      count = scorer.Skim({nodes, count}, nullptr, farthest, ratio, scratch.parts.data(),
                          scratch.products.data(), scratch.squares.data());
    }
    score(count);
    if (scorer.skims() && !skims) {
      scorer.Learn({nodes, count}, keys, farthest, scratch.parts.data(), scratch.products.data(),
                   scratch.squares.data(), ratio);
    }
    for (size_t i = 0; i < count; ++i) {
      if (!pool.Wants(keys[i])) continue;
      pool.Add(keys[i], nodes[i]);
      Prefetch(all_links + nodes[i] * degree, degree * 4);
    }
  }
  return pool.Finish();
}

bool SealedGraph::HasLiveRow(uint32_t node, LiveRow live) const {
  const uint32_t row = Array<uint32_t>(layout_.rows)[node];
  if (live(row & ~kHasCopies)) return true;
  if ((row & kHasCopies) == 0) return false;
  const std::span copies(Array<std::pair<uint32_t, uint32_t>>(layout_.copies), header().copies);
  for (auto copy = std::lower_bound(copies.begin(), copies.end(), std::pair(node, 0u));
       copy != copies.end() && copy->first == node; ++copy) {
    if (live(copy->second)) return true;
  }
  return false;
}

bool SealedGraph::HasLiveRow(uint32_t node, const Matching& matching) const {
  if (!matching.nodes.empty()) {
    if ((matching.nodes[node / 32] >> node % 32 & 1) == 0) return false;
    if (matching.all_live) return true;
  }
  return HasLiveRow(node, matching.live);
}

template <class Scorer, class Pool>
std::span<const Candidate> SealedGraph::FollowMatching(const Scorer& scorer, Pool& pool, int64_t ef,
                                                       const Matching& matching,
                                                       Scratch& scratch) const {
  const Header& h = header();
  const size_t degree = 2 * size_t{h.m};
  const auto degree_bytes = static_cast<int64_t>(degree * sizeof(uint32_t));
  const auto* const all_links = Array<uint32_t>(layout_.links);
  const auto* const rows = Array<uint32_t>(layout_.rows);
  const uint32_t at = Descend(scorer, scratch).node;
  uint32_t* const nodes = scratch.nodes.data();
  float* const keys = scratch.keys.data();
  size_t count = 0;
  size_t looked = 0;
  const auto begin = [&] {
    scratch.visited.assign((h.nodes + 63) / 64, 0);
    scratch.passed.clear();
    count = 0;
  };
  // A match; another is not counted. No branch depends on which: about either there is no telling.
  const auto take_if = [&](bool match, uint32_t node) {
    nodes[count] = node;
    count += match ? 1 : 0;
  };
  const auto want_from = [&](size_t first) {
    for (; first < count; ++first) scorer.Want(nodes[first]);
  };
  const uint32_t* const bits = matching.all_live ? matching.nodes.data() : nullptr;
  const auto matches = [&](uint32_t node) {
    ++looked;
    return bits != nullptr ? (bits[node / 32] >> node % 32 & 1) != 0 : HasLiveRow(node, matching);
  };
  // What tells whether a node matches has to come from memory.
  const bool wants = matching.nodes.empty();
  // Adds those links of a node that were not visited to scratch.met, and asks for their rows.
  const auto meet = [&](uint32_t from) {
    const uint32_t* const links = all_links + from * degree;
    size_t end = scratch.met.size();
    scratch.met.resize(end + degree);
    uint32_t* const met = scratch.met.data();
    // As in Follow.
    for (size_t i = 0; i < degree && links[i] != kNoLink; ++i) {
      met[end] = links[i];
      end += scratch.Visit(links[i]) ? 1 : 0;
      if (wants) __builtin_prefetch(rows + links[i]);
    }
    scratch.met.resize(end);
  };
  // Asks for what tells whether they match.
  const auto want_met = [&] {
    if (!wants) return;
    for (const uint32_t node : scratch.met) matching.want(rows[node] & ~kHasCopies);
  };
  // Of the nodes that were not visited, matches are taken, and others kept in scratch.passed.
  const auto look_at = [&](uint32_t from) {
    scratch.met.clear();
    meet(from);
    want_met();
    const size_t first = count;
    size_t passed = scratch.passed.size();
    scratch.passed.resize(passed + scratch.met.size());
    for (const uint32_t node : scratch.met) {
      const bool match = matches(node);
      take_if(match, node);
      scratch.passed[passed] = node;
      passed += match ? 0 : 1;
    }
    scratch.passed.resize(passed);
    want_from(first);
  };
  // A match among their links is as good as a link, until there are as many as a node has links.
  // What is not looked past then may be met again.
  const auto look_past = [&] {
    for (const uint32_t node : scratch.passed) Prefetch(all_links + node * degree, degree_bytes);
    size_t next = 0;
    while (next < scratch.passed.size() && count < degree) {
      scratch.met.clear();
      while (next < scratch.passed.size() && scratch.met.size() < degree) {
        meet(scratch.passed[next++]);
      }
      want_met();
      const size_t first = count;
      size_t i = 0;
      for (; i < scratch.met.size() && count < degree; ++i) {
        take_if(matches(scratch.met[i]), scratch.met[i]);
      }
      want_from(first);
      for (; i < scratch.met.size(); ++i) scratch.Leave(scratch.met[i]);
    }
    for (; next < scratch.passed.size(); ++next) scratch.Leave(scratch.passed[next]);
    scratch.passed.clear();
  };
  const auto keep = [&] {
    scorer.Score({nodes, count}, keys, scratch.products.data(), scratch.squares.data());
    for (size_t i = 0; i < count; ++i) {
      if (!pool.Wants(keys[i])) continue;
      pool.Add(keys[i], nodes[i]);
      Prefetch(all_links + nodes[i] * degree, degree_bytes);
    }
    count = 0;
  };
  const auto look_around = [&](uint32_t node) {
    if (scratch.Visit(node)) take_if(matches(node), node);
    look_at(node);
    look_past();
  };

  begin();
  look_around(at);
  if (static_cast<double>(count) * kFewerNear < static_cast<double>(looked) * matching.share) {
    LinearPool near(std::min(kNearOfEf * ef, kLinearPoolMax), scratch.near);
    const std::span<const Candidate> nearest = Follow(scorer, near, scratch);
    begin();
    for (const Candidate& candidate : nearest) {
      look_around(candidate.node);
      keep();
    }
  }
  keep();
  for (const uint32_t seed : matching.seeds) {
    if (count == degree) keep();
    const uint32_t node = matching.row_nodes[seed];
    scorer.Want(node);
    take_if(scratch.Visit(node), node);
  }
  keep();
  while (const std::optional<uint32_t> from = pool.Next()) {
    look_at(*from);
    look_past();
    keep();
  }
  return pool.Finish();
}

template <class Scorer>
std::span<const Candidate> SealedGraph::WalkWith(const Scorer& scorer, int64_t ef,
                                                 Scratch& scratch) const {
  scratch.Resize(2 * size_t{header().m});
  ef = std::min<int64_t>(ef, header().nodes);
  if (ef <= kLinearPoolMax) {
    LinearPool pool(ef, scratch.candidates);
    return Follow(scorer, pool, scratch);
  }
  HeapPool pool(ef, scratch.candidates);
  return Follow(scorer, pool, scratch);
}

std::span<const Candidate> SealedGraph::WalkVectors(const float* query, int64_t ef,
                                                    Scratch& scratch) const {
  return WalkWith(VectorScorer{.distance = StoredDistanceFor(stored_.format),
                               .query = query,
                               .vectors = stored_,
                               .rows = Array<uint32_t>(layout_.rows),
                               .row_mask = ~kHasCopies},
                  ef, scratch);
}

template <class Use>
std::span<const Candidate> SealedGraph::WithScorer(const float* query, int64_t skim_from,
                                                   Scratch& scratch, Use use) const {
  if (!has_codes()) {
    return use(VectorScorer{.distance = StoredDistanceFor(stored_.format),
                            .query = query,
                            .vectors = stored_,
                            .rows = Array<uint32_t>(layout_.rows),
                            .row_mask = ~kHasCopies});
  }
  const CodeBook book = code_book();
  scratch.query.Encode(book, rows_.metric, query);
  // Norms are of whole vectors, and products alone are no distances.
  const int64_t stride = header().stride;
  const bool skims = book.square_factor != 0 && stride >= skim_from;
  const int64_t part =
      skims ? std::max(kLineBytes, stride / kPartOfCode / kLineBytes * kLineBytes) : 0;
  return use(CodeScorer{.products = CodeProductsFor(),
                        .query = scratch.query.code(),
                        .codes = Array<uint8_t>(layout_.codes),
                        .stride = stride,
                        .norms = header().norms != 0 ? Array<float>(layout_.norms) : nullptr,
                        .square_factor = book.square_factor,
                        .factor = scratch.query.factor(),
                        .part = part,
                        .part_length = skims ? LengthSquared(book, query, part) : 0,
                        .whole_length = skims ? LengthSquared(book, query, book.dimension) : 0});
}

std::span<const Candidate> SealedGraph::Walk(const float* query, int64_t ef,
                                             Scratch& scratch) const {
  return WithScorer(query, kSkimFrom, scratch,
                    [&](const auto& scorer) { return WalkWith(scorer, ef, scratch); });
}

void SealedGraph::SelectRows(std::span<const Candidate> candidates, int64_t limit, LiveRow live,
                             std::vector<GraphNeighbor>* found) const {
  const auto* const rows = Array<uint32_t>(layout_.rows);
  const std::span copies(Array<std::pair<uint32_t, uint32_t>>(layout_.copies), header().copies);
  const auto add = [&](uint32_t node, float key) {
    const uint32_t row = rows[node] & ~kHasCopies;
    if (live(row)) found->push_back({key, row});
    if ((rows[node] & kHasCopies) == 0) return;
    for (auto copy = std::lower_bound(copies.begin(), copies.end(), std::pair(node, 0u));
         copy != copies.end() && copy->first == node; ++copy) {
      if (live(copy->second)) found->push_back({key, copy->second});
    }
  };
  found->clear();
  // Other walks than those that looked for them may meet some: none is given twice.
  const std::span<const uint32_t> beside = unreached();
  std::vector<uint32_t> met;
  for (const Candidate& candidate : candidates) {
    if (std::ssize(*found) >= limit) break;
    add(candidate.node, candidate.key);
    if (beside.empty() || !std::binary_search(beside.begin(), beside.end(), candidate.node)) {
      continue;
    }
    met.push_back(candidate.node);
  }
  for (const uint32_t node : beside) {
    if (std::find(met.begin(), met.end(), node) != met.end()) continue;
    add(node, -std::numeric_limits<float>::infinity());
  }
}

void SealedGraph::Find(const float* query, int64_t ef, int64_t wanted, LiveRow live,
                       std::vector<GraphNeighbor>* found) const {
  SelectRows(Walk(query, ef, Scratch::OfThread()), RescoredRows(wanted), live, found);
  if (!has_codes()) return;
  const CodeBook book = code_book();
  const float constant =
      QueryConstant(book, rows_.metric, query, LengthSquared(book, query, book.dimension));
  for (GraphNeighbor& neighbor : *found) neighbor.distance += constant;
}

void SealedGraph::Search(const float* query, int64_t ef, int64_t wanted, LiveRow live,
                         std::vector<GraphNeighbor>* found) const {
  SelectRows(Walk(query, ef, Scratch::OfThread()), RescoredRows(wanted), live, found);
  Rescore(query, *found);
}

void SealedGraph::SearchNodes(const float* query, std::span<const uint32_t> nodes, int64_t limit,
                              LiveRow live, std::vector<GraphNeighbor>* found) const {
  Scratch& scratch = Scratch::OfThread();
  scratch.candidates.clear();
  for (const uint32_t node : nodes) scratch.candidates.push_back({.key = 0, .node = node});
  SelectRows(scratch.candidates, limit, live, found);
  Rescore(query, *found);
}

std::vector<uint32_t> SealedGraph::LiveNodes(LiveRow live) const {
  const uint32_t nodes = header().nodes;
  std::vector<uint32_t> words((size_t{nodes} + 31) / 32);
  for (uint32_t node = 0; node < nodes; ++node) {
    if (HasLiveRow(node, live)) words[node / 32] |= 1u << node % 32;
  }
  return words;
}

std::vector<uint32_t> SealedGraph::RowNodes() const {
  std::vector<uint32_t> row_nodes(header().rows);
  const auto* const rows = Array<uint32_t>(layout_.rows);
  for (uint32_t node = 0; node < header().nodes; ++node) {
    row_nodes[rows[node] & ~kHasCopies] = node;
  }
  const std::span copies(Array<std::pair<uint32_t, uint32_t>>(layout_.copies), header().copies);
  for (const auto& [node, row] : copies) row_nodes[row] = node;
  return row_nodes;
}

void SealedGraph::SearchMatching(const float* query, int64_t ef, int64_t wanted,
                                 const Matching& matching,
                                 std::vector<GraphNeighbor>* found) const {
  Scratch& scratch = Scratch::OfThread();
  scratch.Resize(2 * 2 * size_t{header().m});
  ef = std::min<int64_t>(ef, header().nodes);
  const auto candidates =
      WithScorer(query, kSkimFrom, scratch, [&](const auto& scorer) -> std::span<const Candidate> {
        if (ef <= kLinearPoolMax) {
          LinearPool pool(ef, scratch.candidates);
          return FollowMatching(scorer, pool, ef, matching, scratch);
        }
        HeapPool pool(ef, scratch.candidates);
        return FollowMatching(scorer, pool, ef, matching, scratch);
      });
  SelectRows(candidates, RescoredRows(wanted), matching.live, found);
  Rescore(query, *found);
}

template <class Next, class Takes>
std::span<const Candidate> SealedGraph::ScoreAll(const float* query, int64_t count, int64_t wanted,
                                                 Next next, Takes takes, Scratch& scratch) const {
  const auto score_all = [&](const auto& scorer, auto& pool) {
    struct Batch {
      uint32_t nodes[kAtOnce];
      uint32_t places[kAtOnce];
      size_t count = 0;
    };
    float keys[2 * kAtOnce];
    float parts[2 * kAtOnce];
    int32_t products[2 * kAtOnce];
    int32_t squares[2 * kAtOnce];
    const auto take_next = [&](Batch& batch) {
      batch.count = next(batch.nodes, batch.places);
      for (size_t i = 0; i < batch.count; ++i) {
        if (scorer.skims()) {
          scorer.WantPart(batch.nodes[i]);
        } else {
          scorer.Want(batch.nodes[i]);
        }
      }
    };
    const auto score = [&](std::span<const uint32_t> nodes, const uint32_t* places) {
      scorer.Score(nodes, keys, products, squares);
      for (size_t i = 0; i < nodes.size(); ++i) {
        if (pool.Wants(keys[i]) && takes(nodes[i])) pool.Add(keys[i], places[i]);
      }
    };
    // Those that their part did not exclude.
    uint32_t near[2 * kAtOnce];
    uint32_t near_places[2 * kAtOnce];
    size_t near_count = 0;
    PartRatio ratio(kPartRatioMin, kScanDeviations);
    Batch batches[kBatches];  // one is scored, the others are on their way from memory
    for (size_t i = 0; i + 1 < kBatches; ++i) take_next(batches[i]);
    for (size_t step = 0;; ++step) {
      Batch& batch = batches[step % kBatches];
      if (batch.count == 0) break;
      take_next(batches[(step + kBatches - 1) % kBatches]);
      const float farthest = pool.Farthest();
      if (scorer.skims() && farthest < std::numeric_limits<float>::infinity() &&
          step % kWholeHops != 0 && ratio.Tells()) {
        const size_t left = scorer.Skim({batch.nodes, batch.count}, batch.places, farthest, ratio,
                                        parts, products, squares);
        std::copy_n(batch.nodes, left, near + near_count);
        std::copy_n(batch.places, left, near_places + near_count);
        near_count += left;
        if (near_count >= kAtOnce) score({near, std::exchange(near_count, 0)}, near_places);
      } else {
        score({batch.nodes, batch.count}, batch.places);
        if (scorer.skims()) {
          scorer.Learn({batch.nodes, batch.count}, keys, farthest, parts, products, squares, ratio);
        }
      }
    }
    score({near, near_count}, near_places);
    return pool.Finish();
  };
  const int64_t kept = RescoredRows(wanted);
  const bool cached = count * header().stride <= kScanCachedBytes;
  return WithScorer(query, cached ? std::numeric_limits<int64_t>::max() : kSkimFrom, scratch,
                    [&](const auto& scorer) -> std::span<const Candidate> {
                      if (kept <= kLinearPoolMax) {
                        LinearPool pool(kept, scratch.candidates);
                        return score_all(scorer, pool);
                      }
                      HeapPool pool(kept, scratch.candidates);
                      return score_all(scorer, pool);
                    });
}

void SealedGraph::SearchAllMatching(const float* query, int64_t wanted, const Matching& matching,
                                    std::vector<GraphNeighbor>* found) const {
  Scratch& scratch = Scratch::OfThread();
  size_t at = 0;  // in the list, or the word
  uint32_t bits = matching.nodes[0];
  const auto next_listed = [&](uint32_t* nodes) {
    const size_t count = std::min(kAtOnce, matching.listed.size() - at);
    std::copy_n(matching.listed.data() + at, count, nodes);
    at += count;
    return count;
  };
  const auto next_bits = [&](uint32_t* nodes) {
    size_t count = 0;
    for (; count < kAtOnce; bits &= bits - 1) {
      while (bits == 0 && at + 1 < matching.nodes.size()) bits = matching.nodes[++at];
      if (bits == 0) break;
      nodes[count++] = static_cast<uint32_t>(at * 32) + static_cast<uint32_t>(__builtin_ctz(bits));
    }
    return count;
  };
  const auto next = [&](uint32_t* nodes, uint32_t* places) {
    const size_t count = matching.listed.empty() ? next_bits(nodes) : next_listed(nodes);
    std::copy_n(nodes, count, places);
    return count;
  };
  const int64_t count = matching.listed.empty() ? header().nodes : std::ssize(matching.listed);
  const auto candidates = ScoreAll(
      query, count, wanted, next, [&](uint32_t node) { return HasLiveRow(node, matching); },
      scratch);
  SelectRows(candidates, RescoredRows(wanted), matching.live, found);
  Rescore(query, *found);
}

void SealedGraph::SearchRows(const float* query, int64_t wanted, std::span<const uint32_t> rows,
                             std::span<const uint32_t> row_nodes,
                             std::vector<GraphNeighbor>* found) const {
  found->clear();
  if (std::ssize(rows) <= RescoredRows(wanted)) {
    for (const uint32_t row : rows) found->push_back({0, row});
    return Rescore(query, *found);
  }
  size_t first = 0;
  const auto next = [&](uint32_t* nodes, uint32_t* places) {
    const size_t count = std::min(kAtOnce, rows.size() - first);
    for (size_t i = 0; i < count; ++i, ++first) {
      nodes[i] = row_nodes[rows[first]];
      places[i] = static_cast<uint32_t>(first);
    }
    return count;
  };
  const auto candidates = ScoreAll(
      query, std::ssize(rows), wanted, next, [](uint32_t) { return true; }, Scratch::OfThread());
  for (const Candidate& candidate : candidates) {
    found->push_back({candidate.key, rows[candidate.node]});
  }
  Rescore(query, *found);
}

void SealedGraph::Rescore(const float* query, std::span<GraphNeighbor> found) const {
  if (codes_are_exact()) {
    const DistanceFn distance = DistanceFor(rows_.metric);
    std::vector<float>& vector = Scratch::OfThread().vector;
    vector.resize(static_cast<size_t>(rows_.dimension));
    for (GraphNeighbor& neighbor : found) {
      DecodeRow(neighbor.row, vector.data());
      distance(query, vector.data(), 1, rows_.dimension, &neighbor.distance);
    }
    return;
  }
  constexpr size_t kAhead = 2;
  const StoredDistanceFn distance = StoredDistanceFor(stored_.format);
  for (size_t i = 0; i < found.size(); ++i) {
    if (i + kAhead < found.size()) {
      Prefetch(stored_.At(found[i + kAhead].row), stored_.format.row_bytes());
    }
    distance(query, stored_.At(found[i].row), 1, rows_.dimension, &found[i].distance);
  }
}

// ---- Loading

absl::StatusOr<std::unique_ptr<SealedGraph>> SealedGraph::Load(const GraphRows& rows,
                                                               HugeBuffer bytes) {
  if (bytes.size() < sizeof(Header)) return Damaged("its size");
  Header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.rows != rows.rows || header.dimension != static_cast<uint32_t>(rows.dimension) ||
      header.m != static_cast<uint32_t>(rows.m)) {
    return Damaged("it is over other rows");
  }
  if (header.nodes < 1 || header.nodes > header.rows || header.unreached > header.nodes ||
      header.copies != header.rows - header.nodes || header.levels > GraphLinks::kLevelMax ||
      (header.stride != 0 && header.stride != CodeStride(rows.dimension)) || header.exact > 1 ||
      header.norms > 1 || (header.norms == 1 && header.stride == 0) ||
      (header.norms == 0 && header.stride > kSquaresStrideMax && rows.metric == Metric::kL2) ||
      (header.exact == 1 && header.stride == 0) ||
      (header.exact == 0 && StoredRowsOf(rows).bytes == nullptr)) {
    return Damaged("counts in its header");
  }
  for (uint32_t level = 0; level < header.levels; ++level) {
    const uint32_t below = level == 0 ? header.nodes : header.level_nodes[level - 1];
    if (header.level_nodes[level] < 1 || header.level_nodes[level] > below) {
      return Damaged("nodes of a level");
    }
  }
  // No overflow: less than 2^31 nodes on each of 65 levels, of less than 2^17 bytes each.
  if (Layout(header).end != static_cast<int64_t>(bytes.size())) return Damaged("its size");
  std::unique_ptr<SealedGraph> graph(new SealedGraph(rows, std::move(bytes)));
  RETURN_IF_ERROR(graph->Check());
  return graph;
}

absl::Status SealedGraph::Check() const {
  const Header& h = header();
  const auto links_ok = [&](const uint32_t* links, int64_t count, uint32_t nodes) {
    return std::all_of(links, links + count,
                       [nodes](uint32_t link) { return link < nodes || link == kNoLink; });
  };
  if (!links_ok(Array<uint32_t>(layout_.links), int64_t{h.nodes} * 2 * h.m, h.nodes)) {
    return Damaged("link");
  }
  const auto* upper = Array<uint32_t>(layout_.upper_links);
  for (uint32_t level = 0; level < h.levels; ++level) {
    const int64_t count = int64_t{h.level_nodes[level]} * h.m;
    if (!links_ok(upper, count, h.level_nodes[level])) return Damaged("link of an upper level");
    upper += count;
  }
  // Values are at most 1e15 in magnitude. No key is NaN: sums of what is finite.
  const auto* const book = Array<float>(layout_.low);
  const auto* const norms = Array<float>(layout_.norms);
  if (has_codes() &&
      !(std::all_of(book, norms, [](float value) { return std::abs(value) <= 1e16f; }) &&
        std::all_of(norms, norms + (h.norms != 0 ? h.nodes : 0),
                    [](float norm) { return std::isfinite(norm); }))) {
    return Damaged("code book");
  }
  const std::span rows(Array<uint32_t>(layout_.rows), h.nodes);
  if (!std::all_of(rows.begin(), rows.end(),
                   [&h](uint32_t row) { return (row & ~kHasCopies) < h.rows; })) {
    return Damaged("row of a node");
  }
  const std::span row_nodes(Array<uint32_t>(layout_.row_nodes), h.exact != 0 ? h.rows : 0);
  if (!std::all_of(row_nodes.begin(), row_nodes.end(),
                   [&h](uint32_t node) { return node < h.nodes; })) {
    return Damaged("node of a row");
  }
  const std::span copies(Array<std::pair<uint32_t, uint32_t>>(layout_.copies), h.copies);
  if (!std::is_sorted(copies.begin(), copies.end()) ||
      !std::all_of(copies.begin(), copies.end(),
                   [&h](const auto& copy) { return copy.second < h.rows; })) {
    return Damaged("copies of a row");
  }
  const std::span unreached(Array<uint32_t>(layout_.unreached), h.unreached);
  if (!std::all_of(unreached.begin(), unreached.end(),
                   [&h](uint32_t node) { return node < h.nodes; })) {
    return Damaged("unreached node");
  }
  return absl::OkStatus();
}

}  // namespace baton
