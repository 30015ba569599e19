#include "fpga_kernels/hls/hnsw_search.h"

namespace baton {
namespace fpga {
namespace {

struct Met {
  Scored item;
  bool followed;
};

// The `ef` nearest met so far, the nearest first.
struct Pool {
  Met cells[kGraphEfMax];
};

void Add(Pool& pool, uint32_t ef, const Scored& item) {
#pragma HLS inline
  for (int i = kGraphEfMax - 1; i >= 0; --i) {
#pragma HLS unroll
    if (static_cast<uint32_t>(i) >= ef) continue;
    if (i > 0 && Before(item, pool.cells[i - 1].item)) {
      pool.cells[i] = pool.cells[i - 1];
    } else if (Before(item, pool.cells[i].item)) {
      pool.cells[i].item = item;
      pool.cells[i].followed = false;
    }
  }
}

// A bit for each node.
constexpr uint32_t kVisitedWords = kGraphNodesMax / 32;

bool Visit(uint32_t* visited, uint32_t node) {
#pragma HLS inline
  const uint32_t word = visited[node / 32];
  const uint32_t bit = 1u << (node % 32);
  visited[node / 32] = word | bit;
  return (word & bit) == 0;
}

void SendHeader(const HnswArgs& args, uint32_t count, uint32_t query_beats, Stream<Beat>& out) {
  Beat header = Beat();
  PutU32(header, 0, count);
  PutU32(header, 1, args.beats);
  PutU32(header, 3, args.shift);
  PutU32(header, 4, query_beats);
  out.write(header);
}

// Codes and labels of these nodes: one pipeline, so that nodes' reads are under way together. The
// engine takes a label behind each code, so neither stream fills before the other is read.
void SendNodes(const HnswArgs& args, const Beat* codes, const int32_t* biases,
               const uint32_t* nodes, uint32_t count, Stream<Beat>& out,
               Stream<CodeLabel>& labels) {
  const uint32_t beats = count * args.beats;
  uint32_t at = 0;    // of nodes
  uint32_t beat = 0;  // of its code
  for (uint32_t i = 0; i < beats; ++i) {
#pragma HLS pipeline II = 1
    const uint32_t node = nodes[at];
    out.write(codes[static_cast<uint64_t>(node) * args.beats + beat]);
    if (++beat < args.beats) continue;
    CodeLabel label;
    label.id = node;
    label.bias = biases[node];
    labels.write(label);
    beat = 0;
    ++at;
  }
}

int64_t FineProduct(const Beat* a, const Beat* b, uint32_t beats) {
  int64_t product = 0;
  for (uint32_t beat = 0; beat < beats; ++beat) {
#pragma HLS pipeline II = 1
    for (int i = 0; i < kBeatBytes / 2; ++i) {
#pragma HLS unroll
      product += static_cast<int64_t>(GetI16(a[beat], i)) * GetI16(b[beat], i);
    }
  }
  return product;
}

bool Nearer(const SearchHit& a, const SearchHit& b) {
  if (a.id == kNoId || b.id == kNoId) return a.id != kNoId;
  return a.score != b.score ? a.score > b.score : a.id < b.id;
}

// hits [wanted]: the nearest live nodes of the pool. Fine scores: (product << shift) - square of
// the vector where shift is 1.
void StoreHits(const HnswArgs& args, const Pool& pool, const uint32_t* live, const Beat* fine_query,
               const Beat* fine, SearchHit* hits) {
  SearchHit best[kGraphEfMax];
  for (uint32_t i = 0; i < kGraphEfMax; ++i) {
    best[i] = SearchHit();
    best[i].id = kNoId;
  }
  for (uint32_t i = 0; i < args.ef; ++i) {
    const Scored item = pool.cells[i].item;
    if (item.id == kNoId) break;
    if (args.some_dead != 0 && (live[item.id / 32] >> (item.id % 32) & 1) == 0) continue;
    SearchHit hit = SearchHit();
    hit.id = item.id;
    hit.score = item.score;
    if (args.fine_beats != 0) {
      const Beat* const vector = fine + static_cast<uint64_t>(item.id) * args.fine_beats;
      hit.score = FineProduct(fine_query, vector, args.fine_beats) * (int64_t{1} << args.shift);
      if (args.shift != 0) hit.score -= FineProduct(vector, vector, args.fine_beats);
    }
    for (int cell = kGraphEfMax - 1; cell >= 0; --cell) {
#pragma HLS unroll
      if (cell > 0 && Nearer(hit, best[cell - 1])) {
        best[cell] = best[cell - 1];
      } else if (Nearer(hit, best[cell])) {
        best[cell] = hit;
      }
    }
  }
  for (uint32_t i = 0; i < args.wanted; ++i) {
#pragma HLS pipeline II = 1
    hits[i] = best[i];
  }
}

}  // namespace

extern "C" void hnsw_search(const HnswArgs* args, const Beat* queries, const Beat* codes,
                            const int32_t* biases, const uint32_t* links,
                            const uint32_t* upper_links, const uint32_t* live,
                            const Beat* fine_queries, const Beat* fine, SearchHit* hits,
                            Stream<Beat>& to_engine, Stream<CodeLabel>& labels,
                            Stream<Scored>& scores) {
#pragma HLS interface m_axi port = args bundle = control
#pragma HLS interface m_axi port = queries bundle = control
#pragma HLS interface m_axi port = codes bundle = codes
#pragma HLS interface m_axi port = biases bundle = links
#pragma HLS interface m_axi port = links bundle = links
#pragma HLS interface m_axi port = upper_links bundle = links
#pragma HLS interface m_axi port = live bundle = control
#pragma HLS interface m_axi port = fine_queries bundle = control
#pragma HLS interface m_axi port = fine bundle = codes
#pragma HLS interface m_axi port = hits bundle = control
#pragma HLS interface axis port = to_engine
#pragma HLS interface axis port = labels
#pragma HLS interface axis port = scores
  const HnswArgs a = args[0];
  uint32_t visited[kVisitedWords];
#pragma HLS bind_storage variable = visited type = ram_2p impl = uram
#pragma HLS array_partition variable = visited cyclic factor = 16
  Pool pool;
#pragma HLS array_partition variable = pool.cells complete
  uint32_t nodes[kGraphLinksMax];
  const uint32_t words = (a.nodes + 31) / 32;
  for (uint32_t query = 0; query < a.queries && a.nodes > 0; ++query) {
    const Beat* const query_at = queries + static_cast<uint64_t>(query) * a.beats;
    nodes[0] = 0;
    SendHeader(a, 1, a.beats, to_engine);
    for (uint32_t i = 0; i < a.beats; ++i) {
#pragma HLS pipeline II = 1
      to_engine.write(query_at[i]);
    }
    SendNodes(a, codes, biases, nodes, 1, to_engine, labels);
    Scored at = scores.read();
    // Down the upper levels, always to the nearest.
    for (uint32_t level = a.levels; level > 0; --level) {
      for (bool moved = true; moved;) {
        moved = false;
        const uint64_t begin =
            a.level_at[level - 1] + static_cast<uint64_t>(at.id) * a.upper_degree;
        uint32_t count = 0;
        for (uint32_t i = 0; i < a.upper_degree; ++i) {
#pragma HLS pipeline II = 1
          const uint32_t node = upper_links[begin + i];
          if (node != kNoLink) nodes[count++] = node;
        }
        SendHeader(a, count, 0, to_engine);
        SendNodes(a, codes, biases, nodes, count, to_engine, labels);
        for (uint32_t i = 0; i < count; ++i) {
#pragma HLS pipeline II = 1
          const Scored item = scores.read();
          if (!Before(item, at)) continue;
          at = item;
          moved = true;
        }
      }
    }

    for (uint32_t i = 0; i < words; ++i) {
#pragma HLS unroll factor = 16
      visited[i] = 0;
    }
    for (uint32_t i = 0; i < kGraphEfMax; ++i) {
#pragma HLS unroll
      pool.cells[i].item.score = INT32_MIN;
      pool.cells[i].item.id = kNoId;
      pool.cells[i].followed = true;
    }
    Visit(visited, at.id);
    Add(pool, a.ef, at);
    for (;;) {
      uint32_t next = a.ef;
      for (int i = kGraphEfMax - 1; i >= 0; --i) {
#pragma HLS unroll
        if (static_cast<uint32_t>(i) < a.ef && !pool.cells[i].followed) {
          next = static_cast<uint32_t>(i);
        }
      }
      if (next == a.ef) break;
      pool.cells[next].followed = true;
      const uint64_t begin = static_cast<uint64_t>(pool.cells[next].item.id) * a.degree;
      uint32_t count = 0;
      for (uint32_t i = 0; i < a.degree; ++i) {
#pragma HLS pipeline II = 1
        const uint32_t node = links[begin + i];
        if (node != kNoLink && Visit(visited, node)) nodes[count++] = node;
      }
      if (count == 0) continue;
      SendHeader(a, count, 0, to_engine);
      SendNodes(a, codes, biases, nodes, count, to_engine, labels);
      for (uint32_t i = 0; i < count; ++i) {
#pragma HLS pipeline II = 1
        Add(pool, a.ef, scores.read());
      }
    }
    StoreHits(a, pool, live, fine_queries + static_cast<uint64_t>(query) * a.fine_beats, fine,
              hits + static_cast<uint64_t>(query) * a.wanted);
  }
  to_engine.write(Beat());
}

}  // namespace fpga
}  // namespace baton
