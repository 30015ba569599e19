#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_set>
#include <vector>

#include "engine/exec/fpga/plugin/card.h"
#include "engine/exec/fpga/plugin/graph_image.h"

// A graph on a card: a copy of its image in the bank of one search unit or several. GraphStore's.
struct baton_walk_graph {
  struct Copy {
    uint32_t unit = 0;
    baton::fpga::CardMemory memory;
  };
  baton::fpga::GraphImage image;  // without its bytes, once they are on the card
  std::vector<Copy> copies;
  uint64_t generation = 0;  // of the card: later, it is no longer there
  bool written = false;
};

namespace baton::fpga {

using WalkGraph = ::baton_walk_graph;

// The graphs on a card, and the walks of its search units over them. A unit walks what lies in its
// own bank. A graph lies in the emptiest bank; in the others, too, where it leaves half of what
// graphs may take of them free, so that more units walk it: such copies go first where another
// graph needs the room.
//
// Thread safe; the card outlives it. A walk takes the units that are idle and waits for none while
// it has one.
class GraphStore {
 public:
  // `bytes_max`: of the card's memory for graphs and their copies, an equal part of each unit's
  // bank.
  GraphStore(Card& card, uint64_t bytes_max);
  ~GraphStore();
  GraphStore(const GraphStore&) = delete;
  GraphStore& operator=(const GraphStore&) = delete;

  // What one copy takes. UNIMPLEMENTED: the kernel cannot walk such a graph.
  static Fault BytesOf(const baton_walk_graph_job& job, uint64_t* bytes);
  // RESOURCE_EXHAUSTED: graphs of these bytes have no room together.
  Fault Fit(std::span<const uint64_t> bytes) const;
  Fault Create(const baton_walk_graph_job& job, WalkGraph** graph);
  void Free(WalkGraph* graph);
  // NOT_FOUND: a graph was lost with a reset.
  Fault Walk(const baton_walk& walk);

  // What graphs and their copies take, now.
  uint64_t bytes_taken() const;
  // Copies beyond each graph's first, now.
  int64_t spare_copies() const;

 private:
  struct Unit {
    uint32_t index = 0;
    int32_t bank = 0;
    bool scratch_there = false;
    CardMemory scratch;                  // what a run is told and answers
    uint64_t taken = 0;                  // by graphs
    const WalkGraph* walking = nullptr;  // null: idle
  };
  struct Task;
  struct Placed;
  struct Started;

  // The rest with mutex_ held.
  Fault Place(const char* what, uint64_t bytes, Unit& unit, CardMemory* memory) const;
  Fault PlaceFirst(uint64_t bytes, WalkGraph& graph);
  void PlaceSpares(uint64_t bytes, WalkGraph& graph);
  bool DropSpare(Unit& unit);
  uint64_t RoomOf(const Unit& unit) const;

  // Without mutex_, by whoever has the units.
  Fault WalkOnce(std::span<const Placed> wave, uint64_t generation) const;
  Fault Begin(const Placed& placed, Started* started) const;
  Fault Finish(const Placed& placed) const;

  Card& card_;
  const uint64_t unit_bytes_max_;
  Fault unusable_;  // why there can be none; constant

  mutable std::mutex mutex_;
  std::condition_variable idle_;
  std::vector<Unit> units_;
  std::unordered_set<WalkGraph*> graphs_;
};

}  // namespace baton::fpga
