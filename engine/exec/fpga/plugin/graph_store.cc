#include "engine/exec/fpga/plugin/graph_store.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <numeric>
#include <utility>

#include "fpga_kernels/card_args.h"

namespace baton::fpga {
namespace {

constexpr int64_t kQueriesOfRun = 64;
constexpr uint64_t kCodeBytesMax = uint64_t{kSearchBeatsMax} * 64;

// Where a unit's scratch memory has what.
constexpr uint64_t kArgsAt = 0;
constexpr uint64_t kQueriesAt = Ranges::kPage;
constexpr uint64_t kLiveAt = kQueriesAt + kQueriesOfRun * kCodeBytesMax;
constexpr uint64_t kHitsAt = kLiveAt + kGraphNodesMax / 8;
constexpr uint64_t kScratchBytes = kHitsAt + kQueriesOfRun * kGraphEfMax * sizeof(SearchHit);
static_assert(kLiveAt % Ranges::kPage == 0 && kHitsAt % Ranges::kPage == 0 &&
                  kScratchBytes % Ranges::kPage == 0,
              "buffers of XRT begin on pages");
static_assert(sizeof(HnswArgs) <= Ranges::kPage, "in the first page");

GraphShape ShapeOf(const baton_walk_graph_job& job) {
  uint64_t upper_nodes = 0;
  for (uint32_t i = 0; i < job.level_count; ++i) upper_nodes += job.level_nodes[i];
  return {.metric = job.metric,
          .dimension = job.dimension,
          .nodes = job.nodes,
          .degree = job.degree,
          .upper_degree = job.upper_degree,
          .level_nodes = {job.level_nodes, job.level_count},
          .links = {job.links, size_t{job.nodes} * job.degree},
          .upper_links = {job.upper_links, upper_nodes * job.upper_degree}};
}

}  // namespace

// Queries [first, first + count) of a part.
struct GraphStore::Task {
  const baton_walk_part* part;
  const WalkGraph* graph;
  const int8_t* codes;  // [count, beats * 64]
  int64_t first;
  int64_t count;
};

// One that a unit is at.
struct GraphStore::Placed {
  Task task;
  const Unit* unit;
  uint64_t image_at;  // in its bank
};

struct GraphStore::Started {
  std::array<CardArgument, kHnswSearchHits + 1> arguments;
};

GraphStore::GraphStore(Card& card, uint64_t bytes_max)
    : card_(card), unit_bytes_max_(bytes_max / std::max(card.UnitsOf(Kernel::kHnswSearch), 1u)) {
  const uint32_t units = card.UnitsOf(Kernel::kHnswSearch);
  if (units == 0) unusable_ = {BATON_UNIMPLEMENTED, "the FPGA's xclbin has no search unit"};
  for (uint32_t i = 0; i < units; ++i) {
    const int32_t bank = card.BankOf(Kernel::kHnswSearch, i, kHnswSearchCodes);
    for (int argument = kHnswSearchArgs; argument <= kHnswSearchHits; ++argument) {
      if (card.BankOf(Kernel::kHnswSearch, i, argument) == bank) continue;
      unusable_ = {
          BATON_UNIMPLEMENTED,
          Text("search unit ", i, " of the FPGA's xclbin has its memory in several banks")};
    }
    units_.push_back({.index = i, .bank = bank});
  }
}

GraphStore::~GraphStore() {
  for (WalkGraph* const graph : graphs_) {
    for (const WalkGraph::Copy& copy : graph->copies) card_.Free(copy.memory);
    delete graph;
  }
  for (const Unit& unit : units_) {
    if (unit.scratch_there) card_.Free(unit.scratch);
  }
}

Fault GraphStore::BytesOf(const baton_walk_graph_job& job, uint64_t* bytes) {
  GraphImage::Parts parts;
  BATON_PLUGIN_TRY(GraphImage::PartsOf(ShapeOf(job), &parts));
  *bytes = parts.end;
  return {};
}

uint64_t GraphStore::RoomOf(const Unit& unit) const {
  const uint64_t scratch = unit.scratch_there ? 0 : kScratchBytes;
  const uint64_t left = card_.BytesLeft(unit.bank);
  const uint64_t free = left > scratch ? left - scratch : 0;
  return std::min(unit_bytes_max_, free + unit.taken);
}

// The emptiest bank has at most the mean of what is there already, so the largest has room in it
// where the mean of the others and itself are no more than the smallest room.
Fault GraphStore::Fit(std::span<const uint64_t> bytes) const {
  if (unusable_.failed()) return unusable_;
  if (bytes.empty()) return {};
  const std::lock_guard lock(mutex_);
  uint64_t room = UINT64_MAX;
  for (const Unit& unit : units_) room = std::min(room, RoomOf(unit));
  const uint64_t all = std::accumulate(bytes.begin(), bytes.end(), uint64_t{0});
  const uint64_t largest = *std::max_element(bytes.begin(), bytes.end());
  const uint64_t needed = (all - largest + units_.size() - 1) / units_.size() + largest;
  if (needed <= room) return {};
  return {BATON_RESOURCE_EXHAUSTED,
          Text("graphs of ", all, " bytes, the largest of ", largest, ", need ", needed,
               " bytes of each of ", units_.size(), " banks of the FPGA, of which the fullest has ",
               room, " for graphs")};
}

Fault GraphStore::Place(const char* what, uint64_t bytes, Unit& unit, CardMemory* memory) const {
  return card_.Allocate(what, {unit.bank}, bytes, memory);
}

bool GraphStore::DropSpare(Unit& unit) {
  for (WalkGraph* const graph : graphs_) {
    if (!graph->written || unit.walking == graph) continue;
    const auto spare =
        std::find_if(std::next(graph->copies.begin()), graph->copies.end(),
                     [&](const WalkGraph::Copy& copy) { return copy.unit == unit.index; });
    if (spare == graph->copies.end()) continue;
    unit.taken -= spare->memory.bytes;
    card_.Free(spare->memory);
    graph->copies.erase(spare);
    return true;
  }
  return false;
}

Fault GraphStore::PlaceFirst(uint64_t bytes, WalkGraph& graph) {
  for (Unit& unit : units_) {
    if (unit.scratch_there) continue;
    BATON_PLUGIN_TRY(Place("a search unit's scratch memory", kScratchBytes, unit, &unit.scratch));
    unit.scratch_there = true;
  }
  std::vector<Unit*> emptiest;
  for (Unit& unit : units_) emptiest.push_back(&unit);
  const auto firsts_of = [&](const Unit& unit) {
    uint64_t taken = 0;
    for (const WalkGraph* const other : graphs_) {
      if (other->copies.front().unit == unit.index) taken += other->copies.front().memory.bytes;
    }
    return taken;
  };
  std::sort(emptiest.begin(), emptiest.end(), [&](const Unit* a, const Unit* b) {
    return std::pair(firsts_of(*a), a->index) < std::pair(firsts_of(*b), b->index);
  });
  uint64_t left = 0;
  for (Unit* const unit : emptiest) {
    for (;;) {
      CardMemory memory;
      if (unit->taken + bytes <= unit_bytes_max_ &&
          !Place("a graph", bytes, *unit, &memory).failed()) {
        unit->taken += memory.bytes;
        graph.copies.push_back({.unit = unit->index, .memory = std::move(memory)});
        return {};
      }
      if (!DropSpare(*unit)) break;
    }
    const uint64_t room = RoomOf(*unit);
    left = std::max(left, room > unit->taken ? room - unit->taken : 0);
  }
  return {BATON_RESOURCE_EXHAUSTED,
          Text("a graph needs ", bytes, " bytes of a bank of the FPGA, of which the emptiest has ",
               left, " of ", unit_bytes_max_, " for graphs")};
}

void GraphStore::PlaceSpares(uint64_t bytes, WalkGraph& graph) {
  for (Unit& unit : units_) {
    CardMemory memory;
    if (unit.index == graph.copies.front().unit || unit.taken + bytes > unit_bytes_max_ / 2) {
      continue;
    }
    if (Place("a copy of a graph", bytes, unit, &memory).failed()) continue;
    unit.taken += memory.bytes;
    graph.copies.push_back({.unit = unit.index, .memory = std::move(memory)});
  }
}

Fault GraphStore::Create(const baton_walk_graph_job& job, WalkGraph** graph) {
  if (unusable_.failed()) return unusable_;
  auto made = std::make_unique<WalkGraph>();
  uint64_t bytes = 0;
  BATON_PLUGIN_TRY(BytesOf(job, &bytes));
  {
    const std::lock_guard lock(mutex_);
    BATON_PLUGIN_TRY(PlaceFirst(bytes, *made));
    PlaceSpares(bytes, *made);
    graphs_.insert(made.get());
  }
  WalkGraph* const placed = made.release();
  const auto stop = [&job] { return job.stop != nullptr && job.stop(job.stop_context) != 0; };
  // Before it is written: if the card is reset meanwhile, it is of the generation that is gone.
  placed->generation = card_.generation();
  Fault fault = GraphImage::Make(ShapeOf(job), job.source, stop, &placed->image);
  for (size_t i = 0; i < placed->copies.size() && !fault.failed(); ++i) {
    const CardMemory& memory = placed->copies[i].memory;
    fault = card_.Write(memory.banks.front(), memory.at, placed->image.bytes().data(), bytes);
  }
  if (fault.failed()) {
    Free(placed);
    return fault;
  }
  placed->image.DropBytes();
  const std::lock_guard lock(mutex_);
  placed->written = true;
  *graph = placed;
  return {};
}

void GraphStore::Free(WalkGraph* graph) {
  const std::lock_guard lock(mutex_);
  for (const WalkGraph::Copy& copy : graph->copies) {
    units_[copy.unit].taken -= copy.memory.bytes;
    card_.Free(copy.memory);
  }
  graphs_.erase(graph);
  delete graph;
}

uint64_t GraphStore::bytes_taken() const {
  const std::lock_guard lock(mutex_);
  uint64_t taken = 0;
  for (const Unit& unit : units_) taken += unit.taken;
  return taken;
}

int64_t GraphStore::spare_copies() const {
  const std::lock_guard lock(mutex_);
  int64_t spares = 0;
  for (const WalkGraph* const graph : graphs_) spares += std::ssize(graph->copies) - 1;
  return spares;
}

Fault GraphStore::Begin(const Placed& placed, Started* started) const {
  const Task& task = placed.task;
  const Unit& unit = *placed.unit;
  const WalkGraph& graph = *task.graph;
  const baton_walk_part& part = *task.part;
  HnswArgs args = {};
  BATON_PLUGIN_TRY(graph.image.ArgsFor({.ef = static_cast<uint32_t>(part.ef),
                                        .wanted = static_cast<uint32_t>(part.wanted),
                                        .queries = static_cast<uint32_t>(task.count),
                                        .some_dead = part.live != nullptr},
                                       &args));
  const uint64_t at = unit.scratch.at;
  const uint64_t query_bytes = static_cast<uint64_t>(task.count) * args.beats * 64;
  BATON_PLUGIN_TRY(card_.Write(unit.bank, at + kArgsAt, &args, sizeof(args)));
  BATON_PLUGIN_TRY(card_.Write(unit.bank, at + kQueriesAt, task.codes, query_bytes));
  const uint64_t live_bytes = (uint64_t{args.nodes} + 31) / 32 * sizeof(uint32_t);
  if (part.live != nullptr) {
    BATON_PLUGIN_TRY(card_.Write(unit.bank, at + kLiveAt, part.live, live_bytes));
  }
  const auto buffer = [&](uint64_t begin, uint64_t bytes) {
    return CardBuffer{.bank = unit.bank, .at = begin, .bytes = Ranges::Pages(bytes)};
  };
  const uint64_t image = placed.image_at;
  const GraphImage::Parts& parts = graph.image.parts();
  const CardBuffer args_page = buffer(at + kArgsAt, Ranges::kPage);
  *started = {.arguments = {
                  {{kHnswSearchArgs, args_page},
                   {kHnswSearchQueries, buffer(at + kQueriesAt, query_bytes)},
                   {kHnswSearchCodes, buffer(image + parts.codes, parts.biases - parts.codes)},
                   {kHnswSearchBiases, buffer(image + parts.biases, parts.links - parts.biases)},
                   {kHnswSearchLinks, buffer(image + parts.links, parts.upper_links - parts.links)},
                   {kHnswSearchUpperLinks,
                    buffer(image + parts.upper_links, parts.end - parts.upper_links)},
                   {kHnswSearchLive, buffer(at + kLiveAt, live_bytes)},
                   {kHnswSearchFineQueries, args_page},  // not read: fine_beats is 0
                   {kHnswSearchFine, args_page},
                   {kHnswSearchHits, buffer(at + kHitsAt, static_cast<uint64_t>(task.count) *
                                                              args.wanted * sizeof(SearchHit))}}}};
  return {};
}

// What a card answers is looked at: a node that is none, or comes twice, must not get to a client.
Fault GraphStore::Finish(const Placed& placed) const {
  const Task& task = placed.task;
  const auto wanted = static_cast<size_t>(task.part->wanted);
  std::vector<SearchHit> hits(static_cast<size_t>(task.count) * wanted);
  BATON_PLUGIN_TRY(card_.Read(placed.unit->bank, placed.unit->scratch.at + kHitsAt, hits.data(),
                              hits.size() * sizeof(SearchHit)));
  std::vector<uint32_t> sorted;
  for (int64_t query = 0; query < task.count; ++query) {
    const SearchHit* const its = hits.data() + static_cast<size_t>(query) * wanted;
    uint32_t* const nodes = task.part->nodes + static_cast<size_t>(task.first + query) * wanted;
    size_t count = 0;
    while (count < wanted && its[count].id != kNoLink) ++count;
    for (size_t i = 0; i < wanted; ++i) nodes[i] = i < count ? its[i].id : kNoLink;
    sorted.assign(nodes, nodes + count);
    std::sort(sorted.begin(), sorted.end());
    const bool twice = std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
    const bool none = !sorted.empty() && sorted.back() >= task.graph->image.nodes();
    bool ordered = true;
    for (size_t i = 1; i < count; ++i) ordered = ordered && its[i - 1].score >= its[i].score;
    if (!twice && !none && ordered) continue;
    return {BATON_INTERNAL,
            Text("the FPGA's search unit ", placed.unit->index, " answers ",
                 none    ? Text("node ", sorted.back(), " of ", task.graph->image.nodes())
                 : twice ? "a node twice"
                         : "nodes out of order")};
  }
  return {};
}

Fault GraphStore::Walk(const baton_walk& walk) {
  if (unusable_.failed()) return unusable_;
  std::vector<Task> tasks;
  std::vector<std::vector<int8_t>> codes(static_cast<size_t>(walk.part_count));
  uint64_t generation = 0;
  for (int64_t i = 0; i < walk.part_count && walk.query_count > 0; ++i) {
    const baton_walk_part& part = *baton_walk_part_at(&walk, i);
    const WalkGraph* const graph = part.graph;
    const auto dimension = static_cast<size_t>(graph->image.dimension());
    graph->image.EncodeQueries({walk.queries, static_cast<size_t>(walk.query_count) * dimension},
                               &codes[static_cast<size_t>(i)], part.walked);
    int64_t copies = 0;
    {
      const std::lock_guard lock(mutex_);
      copies = std::ssize(graph->copies);
    }
    const int64_t step =
        std::clamp<int64_t>((walk.query_count + copies - 1) / copies, 1, kQueriesOfRun);
    for (int64_t first = 0; first < walk.query_count; first += step) {
      tasks.push_back({.part = &part,
                       .graph = graph,
                       .codes = codes[static_cast<size_t>(i)].data() +
                                static_cast<size_t>(first) * graph->image.beats() * 64,
                       .first = first,
                       .count = std::min(step, walk.query_count - first)});
    }
    if (i == 0) generation = graph->generation;
    if (graph->generation != generation) {
      return {BATON_NOT_FOUND, "a graph on the FPGA was lost when the card was reset"};
    }
  }
  while (!tasks.empty()) {
    std::vector<Placed> wave;
    {
      std::unique_lock lock(mutex_);
      const auto take = [&] {
        for (auto task = tasks.begin(); task != tasks.end();) {
          const auto& copies = task->graph->copies;
          const auto copy = std::find_if(
              copies.begin(), copies.end(),
              [&](const WalkGraph::Copy& c) { return units_[c.unit].walking == nullptr; });
          if (copy == copies.end()) {
            ++task;
            continue;
          }
          Unit& unit = units_[copy->unit];
          unit.walking = task->graph;
          wave.push_back({.task = *task, .unit = &unit, .image_at = copy->memory.at});
          task = tasks.erase(task);
        }
        return !wave.empty();
      };
      idle_.wait(lock, take);
    }
    const Fault walked = WalkOnce(wave, generation);
    {
      const std::lock_guard lock(mutex_);
      for (const Placed& placed : wave) units_[placed.unit->index].walking = nullptr;
    }
    idle_.notify_all();
    BATON_PLUGIN_TRY(walked);
  }
  return {};
}

Fault GraphStore::WalkOnce(std::span<const Placed> wave, uint64_t generation) const {
  std::vector<Started> started(wave.size());
  std::vector<CardRun> runs;
  for (size_t i = 0; i < wave.size(); ++i) {
    BATON_PLUGIN_TRY(Begin(wave[i], &started[i]));
    runs.push_back({.kernel = Kernel::kHnswSearch,
                    .unit = wave[i].unit->index,
                    .arguments = started[i].arguments});
  }
  BATON_PLUGIN_TRY(card_.Run(runs, generation));
  for (const Placed& placed : wave) BATON_PLUGIN_TRY(Finish(placed));
  return {};
}

}  // namespace baton::fpga
