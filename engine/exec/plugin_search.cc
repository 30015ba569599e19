#include "engine/exec/plugin_search.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/view_filter.h"

namespace baton {
namespace {

constexpr size_t kSearchTableBytes =
    offsetof(baton_executor_plugin, graph_links) + sizeof(baton_executor_plugin::graph_links);

// At most half of the candidates there may be, so that there is a chance of a proof.
constexpr int32_t kNearestMax = BATON_SEARCH_K_MAX / 2;
// Queries that are on the device at a time: while the next ones are, these are scored.
constexpr size_t kQueriesOfBlock = 1024;

// Rounding to bf16 reorders what differs by some thousandths; of vectors of a few hundred values
// twice as many candidates and some are nearly always enough.
int32_t FirstCandidates(int32_t nearest) {
  return std::min((2 * nearest + 32 + 31) / 32 * 32, BATON_SEARCH_K_MAX);
}

}  // namespace

// A batch on its way, and what is the same for all its queries.
struct PluginSearch::Task {
  Task(const SearchBatch& of, SearchPoll with)
      : batch(of),
        view(*of.view),
        poll(with),
        parts(ViewPart::AllOf(view)),
        rescorer(view, of.params, parts),
        neighbors(of.queries.size()) {}

  bool AnyUnreadable() const {
    return std::any_of(parts.begin(), parts.end(),
                       [](const ViewPart& part) { return part.unreadable(); });
  }

  const SearchBatch& batch;
  const CollectionView& view;
  const SearchPoll poll;
  const std::vector<ViewPart> parts;
  std::vector<std::vector<uint32_t>> matching;  // [parts], or none: there is no filter
  ViewRescorer rescorer;
  std::vector<std::vector<Neighbor>> neighbors;  // [queries]

  // Of the queries that were on the device last.
  RoundedRows rounded;
  std::vector<float> queries;    // [queries, dimension]
  std::vector<float> distances;  // [queries, candidates]
  std::vector<uint32_t> rows;    // [queries, candidates]: through all parts
};

bool PluginSearch::CanWork(const baton_executor_plugin& table) {
  return PluginDevice::CanWork(table) && table.struct_size >= kSearchTableBytes &&
         table.search != nullptr;
}

PluginSearch::PluginSearch(std::shared_ptr<PluginDevice> device, const Options& options,
                           const Clock& clock)
    : device_(std::move(device)),
      memory_(options.memory_bytes_max),
      vectors_(device_, memory_),
      batches_({.device = device_->options().label,
                .threads = options.threads,
                .queue_batches = options.queue_batches},
               clock, [this](const SearchBatch& batch, SearchPoll poll, SearchBatchResult& result) {
                 return Search(batch, poll, result);
               }) {
  if (PluginIvfLists::CanWork(device_->table())) {
    ivf_lists_.emplace(device_, memory_, device_mutex_);
  }
}

bool PluginSearch::Probes(const CollectionView& view, const SearchParams& params) const {
  if (!ivf_lists_ || params.exact) return false;
  SearchParams all = params;
  all.k += params.offset;
  const int64_t candidates = ProbeCandidates(all);
  int64_t bytes = 0;
  const std::vector<ViewIvf> files = ViewIvf::AllOf(view);
  for (const ViewIvf& file : files) {
    if (!ivf_lists_->Takes(file, candidates)) return false;
    bytes += ivf_lists_->BytesOf(file);
  }
  return !files.empty() && bytes <= memory_.bytes_max();
}

std::string PluginSearch::Unable(const CollectionView& view, const SearchParams& params) const {
  if (Probes(view, params)) return "";
  const std::string& label = device_->options().label;
  const int64_t nearest = int64_t{params.k} + params.offset;
  if (nearest > kNearestMax) {
    return StrCat("k and offset are ", nearest, " together, the ", label, "'s limit is ",
                  kNearestMax);
  }
  const std::vector<ViewPart> parts = ViewPart::AllOf(view);
  if (parts.size() > BATON_SEARCH_PARTS_MAX) {
    return StrCat("the collection has ", parts.size(), " segments and buffers, the ", label,
                  "'s limit is ", BATON_SEARCH_PARTS_MAX);
  }
  int64_t rows = 0;
  for (const ViewPart& part : parts) rows += part.rows();
  if (rows >= std::numeric_limits<uint32_t>::max()) {
    return StrCat("the collection has ", rows, " rows, the ", label, "'s limit is ",
                  std::numeric_limits<uint32_t>::max() - 1);
  }
  const int64_t bytes = vectors_.BytesOf(view.spec(), parts);
  if (bytes > memory_.bytes_max()) {
    return StrCat("the collection takes ", bytes, " bytes of ", label, " memory, of which ",
                  memory_.bytes_max(), " are for vectors");
  }
  return "";
}

absl::Status PluginSearch::Search(const SearchBatch& batch, SearchPoll poll,
                                  SearchBatchResult& result) {
  const CollectionView& view = *batch.view;
  RETURN_IF_ERROR(poll());
  RETURN_IF_ERROR(CheckSearchParams(view, batch.params));
  if (const std::string why = Unable(view, batch.params); !why.empty()) {
    return absl::UnimplementedError(why);
  }
  if (Probes(view, batch.params)) {
    return SearchView(view, batch.queries, batch.params, poll, &result.neighbors,
                      &result.unsearched_points, /*walker=*/nullptr, &*ivf_lists_);
  }
  Task task(batch, poll);
  if (batch.params.filter != nullptr) {
    ASSIGN_OR_RETURN(const ViewFilter filter, ViewFilter::Make(view, *batch.params.filter));
    for (const ViewPart& part : task.parts) {
      ASSIGN_OR_RETURN(ViewPart::LiveRows matching, part.FindMatching(filter, poll));
      task.matching.push_back(std::move(matching.words));
    }
  }
  const auto scan = [&](std::span<const std::vector<float>> queries,
                        std::vector<std::vector<Neighbor>>* neighbors) {
    SearchParams exact = batch.params;
    exact.exact = true;
    return SearchView(view, queries, exact, poll, neighbors, &result.unsearched_points);
  };
  if (view.points() > 0 && !task.parts.empty()) {
    for (size_t first = 0; first < batch.queries.size(); first += kQueriesOfBlock) {
      std::vector<size_t> left;
      const size_t end = std::min(first + kQueriesOfBlock, batch.queries.size());
      for (size_t query = first; query < end; ++query) left.push_back(query);
      all_ += std::ssize(left);
      RETURN_IF_ERROR(Answer(
          task,
          {.candidates = FirstCandidates(batch.params.k + batch.params.offset), .fresh = false},
          &left));
      again_ += std::ssize(left);
      RETURN_IF_ERROR(Answer(task, {.candidates = BATON_SEARCH_K_MAX, .fresh = true}, &left));
      scanned_ += std::ssize(left);
      for (const size_t query : left) {
        std::vector<std::vector<Neighbor>> one;
        RETURN_IF_ERROR(scan(std::span(batch.queries).subspan(query, 1), &one));
        task.neighbors[query] = std::move(one.front());
      }
    }
  }
  if (task.AnyUnreadable()) {  // what came of it may be wrong: SearchView knows what to do
    return scan(batch.queries, &result.neighbors);
  }
  result.neighbors = std::move(task.neighbors);
  return absl::OkStatus();
}

absl::Status PluginSearch::Answer(Task& task, const Round& round, std::vector<size_t>* queries) {
  if (queries->empty()) return absl::OkStatus();
  RETURN_IF_ERROR(AskDevice(task, round, *queries));
  std::vector<size_t> left;
  for (size_t place = 0; place < queries->size(); ++place) {
    if (place % 16 == 0) RETURN_IF_ERROR(task.poll());
    const size_t query = (*queries)[place];
    if (!Score(task, round, place, query)) left.push_back(query);
  }
  *queries = std::move(left);
  return absl::OkStatus();
}

absl::Status PluginSearch::AskDevice(Task& task, const Round& round,
                                     std::span<const size_t> queries) {
  task.queries.clear();
  for (const size_t query : queries) {
    const std::vector<float>& vector = task.batch.queries[query];
    task.queries.insert(task.queries.end(), vector.begin(), vector.end());
  }
  const size_t answers = queries.size() * static_cast<size_t>(round.candidates);
  task.distances.resize(answers);
  task.rows.resize(answers);

  const std::lock_guard lock(device_mutex_);
  absl::StatusOr<PluginVectors::Brought> brought =
      vectors_.Bring(task.view, task.parts, round.fresh, task.poll);
  if (task.AnyUnreadable()) {
    for (const ViewPart& part : task.parts) {
      if (part.unreadable()) vectors_.Forget(part);
    }
  }
  // Another executor may have the room that lacks here.
  if (absl::IsResourceExhausted(brought.status())) {
    return absl::UnavailableError(std::string(brought.status().message()));
  }
  RETURN_IF_ERROR(brought.status());
  task.rounded = brought->rounded;
  std::vector<baton_search_part> parts;
  for (size_t i = 0; i < task.parts.size(); ++i) {
    const PluginVectors::Resident& resident = brought->parts[i];
    const std::vector<uint32_t>& live = task.matching.empty() ? resident.live : task.matching[i];
    parts.push_back({.rows = resident.rows,
                     .row_count = task.parts[i].rows(),
                     .live = live.empty() ? nullptr : live.data()});
  }
  const baton_vector_search search = {.struct_size = sizeof(search),
                                      .part_struct_size = sizeof(baton_search_part),
                                      .parts = parts.data(),
                                      .part_count = std::ssize(parts),
                                      .queries = task.queries.data(),
                                      .query_count = std::ssize(queries),
                                      .k = round.candidates,
                                      .reserved = 0,
                                      .distances = task.distances.data(),
                                      .nearest = task.rows.data()};
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  const absl::Status searched =
      PluginDevice::StatusOf(device_->table().search(device_->handle(), &search, &error), error);
  if (absl::IsResourceExhausted(searched)) {
    return absl::UnavailableError(std::string(searched.message()));
  }
  return searched;
}

// Whether what it leaves in neighbors is proven to be the answer.
bool PluginSearch::Score(Task& task, const Round& round, size_t place, size_t query) {
  const std::vector<float>& vector = task.batch.queries[query];
  const auto count = static_cast<size_t>(round.candidates);
  std::span<const uint32_t> rows = std::span(task.rows).subspan(place * count, count);
  constexpr uint32_t kNoRow = std::numeric_limits<uint32_t>::max();
  const bool complete = rows.back() == kNoRow;  // there are no more
  if (complete) rows = rows.first(std::find(rows.begin(), rows.end(), kNoRow) - rows.begin());
  ViewRescorer::Scored scored = task.rescorer.Score(vector, rows);
  if (!complete) {
    const SearchBound bound(task.view.spec().metric, vector, task.rounded);
    const double farthest = task.distances[place * count + count - 1];
    if (!(scored.worst < bound.Least(farthest))) return false;
  }
  CutNeighbors(task.view, task.batch.params, scored.neighbors);
  task.neighbors[query] = std::move(scored.neighbors);
  return true;
}

}  // namespace baton
