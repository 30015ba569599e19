#include "engine/vector/view_queries.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/growing_buffer.h"
#include "engine/vector/payload_sidecar.h"
#include "engine/vector/segment.h"
#include "engine/vector/view_filter.h"

namespace baton {
namespace {

// `visit(row, id)` for each live row of a part that matches; false from it ends the part.
template <class Visit>
void ForEachMatch(const CollectionView& view, const ViewFilter* filter,
                  const CollectionView::BufferPart& part, Visit visit) {
  std::optional<PartFilter> matches;
  if (filter != nullptr) matches.emplace(*filter, view, part);
  for (int64_t first = 0; first < part.rows;) {
    const RowBlock block = part.buffer->Block(first, part.rows);
    for (int64_t i = 0; i < block.count; ++i) {
      if (!block.LiveAt(view.sequence(), i)) continue;
      if (matches.has_value() && !matches->Accepts(first + i)) continue;
      if (!visit(first + i, block.ids[i])) return;
    }
    first += block.count;
  }
}

// By ascending id, from `first` on.
template <class Visit>
void ForEachMatch(const CollectionView& view, const ViewFilter* filter,
                  const CollectionView::SegmentPart& part, PointId first, Visit visit) {
  const Segment& segment = *part.segment;
  const auto ids = segment.data().ids;
  const int64_t begin = ids.CountBelow(first);
  const auto take = [&](int64_t row) {
    return !segment.LiveAt(view.sequence(), row) || visit(row, ids[row]);
  };
  if (filter == nullptr) {
    for (int64_t row = begin; row < segment.rows() && take(row); ++row) continue;
    return;
  }
  const PartFilter matches(*filter, view, part);
  if (matches.candidates().has_value() && *matches.candidates() < segment.rows() / 16) {
    const auto rows = matches.Rows([] { return absl::OkStatus(); });
    for (const uint32_t row : *rows) {
      if (row >= begin && !take(row)) return;
    }
    return;
  }
  for (int64_t row = begin; row < segment.rows(); ++row) {
    if (matches.Accepts(row) && !take(row)) return;
  }
}

// Nothing where `filter` is null.
absl::StatusOr<std::optional<ViewFilter>> MakeFilter(const CollectionView& view,
                                                     const Filter* filter) {
  if (filter == nullptr) return std::optional<ViewFilter>();
  ASSIGN_OR_RETURN(ViewFilter made, ViewFilter::Make(view, *filter));
  return std::optional<ViewFilter>(std::move(made));
}

// Every live row of the view that matches, in no order: visit(sidecar, row, id).
template <class Visit>
absl::Status ForEachMatch(const CollectionView& view, const Filter* filter, Visit visit) {
  ASSIGN_OR_RETURN(const std::optional<ViewFilter> made, MakeFilter(view, filter));
  const ViewFilter* const filter_or_null = made.has_value() ? &*made : nullptr;
  bool go_on = true;
  for (const CollectionView::BufferPart& part : view.buffers()) {
    if (!go_on) break;
    ForEachMatch(view, filter_or_null, part, [&](int64_t row, PointId id) {
      return go_on = visit(part.payloads.get(), row, id);
    });
  }
  for (const CollectionView::SegmentPart& part : view.segments()) {
    if (!go_on) break;
    ForEachMatch(view, filter_or_null, part, 0, [&](int64_t row, PointId id) {
      return go_on = visit(part.payloads.get(), row, id);
    });
  }
  return made.has_value() ? made->status() : absl::OkStatus();
}

// The number of a field's index, which must be of one of the kinds.
absl::StatusOr<size_t> IndexOf(const CollectionView& view, const char* what,
                               const std::string& field, bool booleans) {
  const PayloadIndexes none;
  const PayloadIndexes& indexes = view.indexes() == nullptr ? none : *view.indexes();
  for (size_t i = 0; i < indexes.size(); ++i) {
    if (indexes[i].field != field) continue;
    using Kind = PayloadIndexKind;
    const Kind kind = indexes[i].kind;
    if (kind == Kind::kKeyword || kind == Kind::kInteger || (kind == Kind::kBoolean && booleans)) {
      return i;
    }
    return absl::InvalidArgumentError(
        StrCat(what, ": the payload index of field \"", Escaped(field), "\" is of kind ",
               NameOf(kind), ", needed is keyword or integer", booleans ? " or boolean" : ""));
  }
  return NoPayloadIndex(view, what, field);
}

FilterValue ToFilterValue(const std::string& text, PayloadIndexKind) { return text; }
FilterValue ToFilterValue(double number, PayloadIndexKind) { return static_cast<int64_t>(number); }
FilterValue ToFilterValue(int64_t integer, PayloadIndexKind kind) {
  if (kind == PayloadIndexKind::kBoolean) return integer != 0;
  return integer;
}

// How many points have each value of a field.
class ValueCounter {
 public:
  explicit ValueCounter(PayloadIndexKind kind) : kind_(kind) {}

  void Add(const FieldValues& values) {
    std::visit(
        [this](const auto& list) {
          for (const auto& value : list) ++counts_[ToFilterValue(value, kind_)];
        },
        values.values);
  }
  void Add(const FieldColumn& column, const std::vector<int64_t>& by_number) {
    std::visit(
        [&](const auto& values) {
          for (size_t i = 0; i < values.size(); ++i) {
            if (by_number[i] > 0) counts_[ToFilterValue(values[i], kind_)] += by_number[i];
          }
        },
        column.values());
  }

  std::vector<FacetHit> Most(int32_t limit) const {
    std::vector<FacetHit> hits;
    for (const auto& [value, points] : counts_) hits.push_back({.value = value, .points = points});
    const auto end = hits.begin() + std::min<int64_t>(limit, std::ssize(hits));
    std::partial_sort(hits.begin(), end, hits.end(), [](const FacetHit& a, const FacetHit& b) {
      return a.points > b.points || (a.points == b.points && a.value < b.value);
    });
    hits.erase(end, hits.end());
    return hits;
  }

 private:
  const PayloadIndexKind kind_;
  absl::flat_hash_map<FilterValue, int64_t> counts_;
};

// The values of a point in the view, by its id.
class ValueLookup {
 public:
  ValueLookup(const CollectionView& view, size_t field) : view_(view), field_(field) {
    for (const CollectionView::BufferPart& part : view.buffers()) {
      ForEachMatch(view, nullptr, part, [&](int64_t row, PointId id) {
        buffer_rows_[id] = {part.payloads.get(), row};
        return true;
      });
    }
  }

  FieldValues Find(PointId id) const {
    const auto buffered = buffer_rows_.find(id);
    if (buffered != buffer_rows_.end()) {
      const auto& [sidecar, row] = buffered->second;
      return sidecar->ValuesOf(row, field_, view_.sequence());
    }
    for (const CollectionView::SegmentPart& part : view_.segments()) {
      const std::optional<int64_t> row = part.segment->Find(id);
      if (!row.has_value() || !part.segment->LiveAt(view_.sequence(), *row)) continue;
      return part.payloads->ValuesOf(*row, field_, view_.sequence());
    }
    return {};
  }

 private:
  const CollectionView& view_;
  const size_t field_;
  absl::flat_hash_map<PointId, std::pair<const PayloadSidecar*, int64_t>> buffer_rows_;
};

}  // namespace

absl::StatusOr<int64_t> CountView(const CollectionView& view, const Filter* filter) {
  if (filter == nullptr) return view.points();
  int64_t points = 0;
  RETURN_IF_ERROR(ForEachMatch(view, filter, [&points](const PayloadSidecar*, int64_t, PointId) {
    ++points;
    return true;
  }));
  return points;
}

absl::StatusOr<std::vector<PointId>> MatchingIds(const CollectionView& view, const Filter& filter,
                                                 int64_t max) {
  std::vector<PointId> ids;
  RETURN_IF_ERROR(ForEachMatch(view, &filter, [&](const PayloadSidecar*, int64_t, PointId id) {
    ids.push_back(id);
    return std::ssize(ids) <= max;
  }));
  if (std::ssize(ids) > max) {
    return absl::ResourceExhaustedError(StrCat("the filter matches more than ", max,
                                               " points, which is ",
                                               "vector.filter_write_points_max: narrow it"));
  }
  return ids;
}

absl::StatusOr<IdPage> ScrollView(const CollectionView& view, const Filter* filter, PointId first,
                                  int32_t limit) {
  ASSIGN_OR_RETURN(const std::optional<ViewFilter> made, MakeFilter(view, filter));
  const ViewFilter* const filter_or_null = made.has_value() ? &*made : nullptr;
  const int64_t wanted = int64_t{limit} + 1;  // one more tells that there is another page
  std::vector<PointId> ids;
  for (const CollectionView::BufferPart& part : view.buffers()) {
    ForEachMatch(view, filter_or_null, part, [&](int64_t, PointId id) {
      if (id >= first) ids.push_back(id);
      return true;
    });
  }
  for (const CollectionView::SegmentPart& part : view.segments()) {
    int64_t found = 0;
    ForEachMatch(view, filter_or_null, part, first, [&](int64_t, PointId id) {
      ids.push_back(id);
      return ++found < wanted;
    });
  }
  if (made.has_value()) RETURN_IF_ERROR(made->status());
  const auto end = ids.begin() + std::min(wanted, std::ssize(ids));
  std::partial_sort(ids.begin(), end, ids.end());
  ids.erase(end, ids.end());
  IdPage page;
  if (std::ssize(ids) == wanted) {
    page.next = ids.back();
    ids.pop_back();
  }
  page.ids = std::move(ids);
  return page;
}

absl::StatusOr<std::vector<FacetHit>> FacetView(const CollectionView& view,
                                                const std::string& field, const Filter* filter,
                                                int32_t limit) {
  ASSIGN_OR_RETURN(const size_t index, IndexOf(view, "field", field, /*booleans=*/true));
  ValueCounter counter((*view.indexes())[index].kind);
  // Of a segment's values by their numbers, which are made values at its end.
  const PayloadSidecar* counted = nullptr;
  std::vector<int64_t> by_number;
  const auto finish = [&] {
    if (counted != nullptr) counter.Add(counted->column(index), by_number);
    counted = nullptr;
  };
  RETURN_IF_ERROR(
      ForEachMatch(view, filter, [&](const PayloadSidecar* sidecar, int64_t row, PointId) {
        const IndexedRow* const record = sidecar->records().Find(row, view.sequence());
        if (record != nullptr) {
          counter.Add((*record)[index]);
        } else if (sidecar->has_columns()) {
          const FieldColumn& column = sidecar->column(index);
          if (counted != sidecar) {
            finish();
            counted = sidecar;
            by_number.assign(static_cast<size_t>(column.value_count()), 0);
          }
          for (const uint32_t value : column.ValuesOf(row)) ++by_number[value];
        }
        return true;
      }));
  finish();
  return counter.Most(limit);
}

absl::Status SearchViewGroups(const CollectionView& view, const std::vector<float>& query,
                              const SearchParams& params, const GroupBy& group_by, SearchPoll poll,
                              std::vector<NeighborGroup>* groups, int64_t* unsearched_points) {
  groups->clear();
  int64_t unsearched = 0;
  ASSIGN_OR_RETURN(const size_t index,
                   IndexOf(view, "group_by", group_by.field, /*booleans=*/false));
  const PayloadIndexKind kind = (*view.indexes())[index].kind;
  const ValueLookup lookup(view, index);
  const auto size = static_cast<size_t>(group_by.group_size);
  const auto limit = static_cast<size_t>(params.k);
  // The user's filter and one more condition.
  const auto search = [&](Match match, int64_t k,
                          std::vector<Neighbor>* neighbors) -> absl::Status {
    auto filter =
        std::make_shared<Filter>(Condition{.field = group_by.field, .test = std::move(match)});
    if (params.filter != nullptr) {
      filter->Add(Filter::kRoot, Filter::Clause::kMust, *params.filter);
    }
    SearchParams round = params;
    round.filter = std::move(filter);
    round.k = static_cast<int32_t>(k);
    std::vector<std::vector<Neighbor>> found;
    int64_t left_out = 0;
    RETURN_IF_ERROR(SearchView(view, std::span(&query, 1), round, poll, &found, &left_out));
    unsearched = std::max(unsearched, left_out);
    *neighbors = std::move(found.front());
    return absl::OkStatus();
  };
  std::vector<Neighbor> found;
  std::vector<FilterValue> values;  // of the groups so far
  while (groups->size() < limit) {
    // The nearest points with a value that is new: each brings a group.
    const auto k = static_cast<int64_t>((limit - groups->size()) * size * 2);
    RETURN_IF_ERROR(search({.any = values, .except = true}, k, &found));
    if (found.empty()) break;
    const size_t known = groups->size();
    absl::flat_hash_map<FilterValue, size_t> places;
    for (size_t i = 0; i < known; ++i) places.emplace(values[i], i);
    for (const Neighbor& neighbor : found) {
      std::visit(
          [&](const auto& list) {
            for (const auto& each : list) {
              const FilterValue value = ToFilterValue(each, kind);
              const auto [place, is_new] = places.try_emplace(value, groups->size());
              if (is_new) {
                groups->emplace_back().value = value;
                values.push_back(value);
              }
              auto& neighbors = (*groups)[place->second].neighbors;
              if (place->second >= known && neighbors.size() < size) {
                neighbors.push_back(neighbor);
              }
            }
          },
          lookup.Find(neighbor.id).values);
    }
    if (std::ssize(found) < k) continue;
    // What lies behind the last one found is asked for, group by group.
    for (size_t i = known; i < std::min(groups->size(), limit); ++i) {
      NeighborGroup& group = (*groups)[i];
      if (group.neighbors.size() == size) continue;
      RETURN_IF_ERROR(search({.any = {group.value}}, group_by.group_size, &found));
      // A graph walk may miss what another one met.
      if (found.size() > group.neighbors.size()) group.neighbors = found;
    }
  }
  if (groups->size() > limit) groups->resize(limit);
  std::sort(groups->begin(), groups->end(), [](const NeighborGroup& a, const NeighborGroup& b) {
    return a.neighbors.front() < b.neighbors.front() ||
           (a.neighbors.front() == b.neighbors.front() && a.value < b.value);
  });
  if (unsearched_points != nullptr) *unsearched_points = unsearched;
  return absl::OkStatus();
}

}  // namespace baton
