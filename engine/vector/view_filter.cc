#include "engine/vector/view_filter.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/growing_buffer.h"
#include "engine/vector/index_change.h"
#include "engine/vector/payload_sidecar.h"
#include "engine/vector/segment.h"

namespace baton {
namespace {

using NodeKind = ViewFilter::Node::Kind;

// Filters of more bytes are not known again.
constexpr size_t kKeyBytesMax = 4096;

// Of filters over the same indexes, those alone have the same that ask the same in the same order.
std::string KeyOf(std::span<const ViewFilter::Node> nodes) {
  std::string key;
  const auto add = [&key](const auto& value) {
    key.append(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  for (const ViewFilter::Node& node : nodes) {
    // Ids are found without a look at the rows, and no index says when rows begin to match.
    if (node.kind == NodeKind::kIds || node.is_coming) return "";
    add(node.parent);
    add(node.clause);
    add(node.kind);
    if (node.kind == NodeKind::kGroup) continue;
    const FieldTest& test = node.test;
    add(node.field);
    add(test.kind);
    add(test.integer_low);
    add(test.integer_high);
    add(test.number_low);
    add(test.number_high);
    add(test.values.index());
    std::visit(
        [&](const auto& values) {
          add(values.size());
          for (const auto& value : values) {
            if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::string>) {
              add(value.size());
              key += value;
            } else {
              add(value);
            }
            if (key.size() > kKeyBytesMax) return;
          }
        },
        test.values);
    if (key.size() > kKeyBytesMax) return "";
  }
  return key;
}

}  // namespace

absl::StatusOr<ViewFilter> ViewFilter::Make(const CollectionView& view, const Filter& filter) {
  const PayloadIndexes none;
  const PayloadIndexes& indexes = view.indexes() == nullptr ? none : *view.indexes();
  ViewFilter made;
  for (size_t i = 0; i < filter.nodes().size(); ++i) {
    const Filter::Node& from = filter.nodes()[i];
    Node node{.parent = from.parent, .clause = from.clause};
    if (from.condition.has_value()) {
      const Condition& condition = *from.condition;
      if (const auto* ids = std::get_if<HasId>(&condition.test)) {
        node.kind = Node::Kind::kIds;
        node.ids = ids->ids;
        std::sort(node.ids.begin(), node.ids.end());
        node.ids.erase(std::unique(node.ids.begin(), node.ids.end()), node.ids.end());
      } else {
        // A node's path takes a look at those before it: only where it is to be told.
        const auto at = [&] { return filter.PathOf(static_cast<int32_t>(i)); };
        const auto is_asked = [&condition](const PayloadIndex& index) {
          return index.field == condition.field;
        };
        const PayloadIndexes* in = &indexes;
        auto found = std::find_if(in->begin(), in->end(), is_asked);
        if (found == in->end() && view.change() != nullptr) {
          in = view.change()->indexes.get();
          found = std::find_if(in->begin(), in->end(), is_asked);
          node.is_coming = true;
        }
        if (found == in->end()) {
          return NoPayloadIndex(view, at(), condition.field);
        }
        absl::StatusOr<FieldTest> test = MakeFieldTest(condition, found->kind);
        if (!test.ok()) {
          return absl::InvalidArgumentError(StrCat(at(), ": ", test.status().message()));
        }
        node.kind = Node::Kind::kField;
        node.field = static_cast<size_t>(found - in->begin());
        if (node.is_coming && made.failure_ == nullptr) {
          made.failure_ = std::make_shared<Failure>();
        }
        node.test = *std::move(test);
      }
    }
    made.nodes_.push_back(std::move(node));
  }
  made.key_ = KeyOf(made.nodes_);
  return made;
}

absl::Status NoPayloadIndex(const CollectionView& view, std::string_view what,
                            const std::string& field) {
  const std::string where = StrCat(what, ": field \"", Escaped(field), "\" of collection \"",
                                   view.spec().name, "\" has no payload index");
  const bool is_coming =
      view.change() != nullptr &&
      std::any_of(view.change()->indexes->begin(), view.change()->indexes->end(),
                  [&field](const PayloadIndex& index) { return index.field == field; });
  if (is_coming) return absl::UnavailableError(StrCat(where, " yet: it is being made"));
  return absl::FailedPreconditionError(StrCat(where, ": create one first"));
}

absl::Status ViewFilter::status() const {
  if (failure_ == nullptr) return absl::OkStatus();
  const std::lock_guard lock(failure_->mutex);
  return failure_->status;
}

absl::Status CheckFilter(const CollectionView& view, const Filter& filter) {
  return ViewFilter::Make(view, filter).status();
}

PartFilter::PartFilter(const ViewFilter& filter, const CollectionView& view,
                       const CollectionView::BufferPart& part)
    : nodes_(filter.nodes()),
      key_(filter.key()),
      sequence_(view.sequence()),
      failure_(filter.failure_.get()),
      change_(failure_ == nullptr ? nullptr : view.change().get()),
      sidecar_(part.payloads.get()),
      coming_(part.coming.get()),
      buffer_(part.buffer.get()),
      rows_(part.rows) {
  Plan();
}

PartFilter::PartFilter(const ViewFilter& filter, const CollectionView& view,
                       const CollectionView::SegmentPart& part)
    : nodes_(filter.nodes()),
      key_(filter.key()),
      sequence_(view.sequence()),
      failure_(filter.failure_.get()),
      change_(failure_ == nullptr ? nullptr : view.change().get()),
      sidecar_(part.payloads.get()),
      coming_(part.coming.get()),
      segment_(part.segment.get()),
      rows_(part.segment->rows()) {
  Plan();
}

void PartFilter::Plan() {
  has_records_ = sidecar_ != nullptr && sidecar_->records().count() > 0;
  tests_.resize(nodes_.size());
  drivers_.assign(nodes_.size(), kUnknown);
  driver_children_.assign(nodes_.size(), kAllShould);
  states_.resize(nodes_.size());
  single_ = nodes_.size() == 2 && nodes_[1].clause == Filter::Clause::kMust &&
            nodes_[1].kind != NodeKind::kGroup;
  // Of the groups, from their children, which come behind them.
  struct Estimate {
    double all = 1;      // of `must` and `must_not`
    double none = 1;     // of `should`
    int64_t should = 0;  // candidates of all of them
    bool has_should = false;
  };
  std::vector<Estimate> groups(nodes_.size());
  const double rows = static_cast<double>(std::max<int64_t>(rows_, 1));
  for (size_t i = nodes_.size(); i-- > 0;) {
    const ViewFilter::Node& node = nodes_[i];
    double share = 0.5;
    if (node.kind == NodeKind::kGroup) {
      Estimate& group = groups[i];
      share = group.all * (group.has_should ? 1 - group.none : 1);
      if (group.has_should && group.should < drivers_[i]) {
        drivers_[i] = group.should;
        driver_children_[i] = kAllShould;
      }
    } else if (node.kind == NodeKind::kIds) {
      share = std::min(1.0, static_cast<double>(node.ids.size()) / rows);
      if (segment_ != nullptr) drivers_[i] = std::ssize(node.ids);
    } else if (node.is_coming) {
      // No driver: not all rows are in the index, or only a moment longer.
      if (coming_->has_columns()) {
        const ColumnTest& test = tests_[i].emplace(node.test, coming_->column(node.field));
        share = std::clamp(static_cast<double>(test.Estimate()) / rows, 0.0, 1.0);
      } else {
        reads_payloads_ = true;
      }
    } else if (sidecar_ != nullptr && sidecar_->has_columns()) {
      const ColumnTest& test = tests_[i].emplace(node.test, sidecar_->column(node.field));
      share = std::clamp(static_cast<double>(test.Estimate()) / rows, 0.0, 1.0);
      if (test.has_postings()) drivers_[i] = test.Estimate();
    }
    if (i == 0) {
      share_ = share;
      break;
    }
    Estimate& parent = groups[node.parent];
    if (node.clause == Filter::Clause::kMust) {
      parent.all *= share;
      if (drivers_[i] < drivers_[node.parent]) {
        drivers_[node.parent] = drivers_[i];
        driver_children_[node.parent] = static_cast<int32_t>(i);
      }
    } else if (node.clause == Filter::Clause::kMustNot) {
      parent.all *= 1 - share;
    } else {
      parent.has_should = true;
      parent.none *= 1 - share;
      const bool known = parent.should != kUnknown && drivers_[i] != kUnknown;
      parent.should = known ? parent.should + drivers_[i] : kUnknown;
      states_[node.parent].has_should = true;
    }
  }
}

PointId PartFilter::IdOf(int64_t row) const {
  return segment_ != nullptr ? segment_->data().ids[row] : buffer_->Block(row, row + 1).ids[0];
}

bool PartFilter::Matches(size_t node, int64_t row, const IndexedRow* record) const {
  const ViewFilter::Node& asked = nodes_[node];
  if (asked.kind == NodeKind::kIds) {
    return std::binary_search(asked.ids.begin(), asked.ids.end(), IdOf(row));
  }
  if (asked.is_coming) return MatchesComing(asked, row);
  if (record != nullptr) return asked.test.Matches((*record)[asked.field]);
  return tests_[node].has_value() && tests_[node]->Matches(row);
}

bool PartFilter::MatchesComing(const ViewFilter::Node& node, int64_t row) const {
  const IndexedRow* const record = coming_->records().Find(row, sequence_);
  if (record != nullptr) return node.test.Matches((*record)[node.field]);
  if (coming_->has_columns()) return tests_[&node - nodes_.data()]->Matches(row);
  bool matches = false;
  const PointId id = IdOf(row);
  const absl::Status status =
      change_->payloads->Read(std::span(&id, 1), [&](PointId, const Payload& payload) {
        matches = node.test.Matches(TakeValues((*change_->indexes)[node.field], payload));
      });
  if (!status.ok()) {
    const std::lock_guard lock(failure_->mutex);
    failure_->status.Update(status);
  }
  return matches;
}

void PartFilter::Prefetch(int64_t row) const {
  for (const std::optional<ColumnTest>& test : tests_) {
    if (test.has_value()) test->Prefetch(row);
  }
}

bool PartFilter::Accepts(int64_t row) const {
  const IndexedRow* const record =
      has_records_ ? sidecar_->records().Find(row, sequence_) : nullptr;
  if (single_) return Matches(1, row, record);
  for (size_t i = 0; i < nodes_.size(); ++i) {
    states_[i].failed = false;
    states_[i].should_matched = false;
  }
  for (size_t i = nodes_.size() - 1; i > 0; --i) {
    const ViewFilter::Node& node = nodes_[i];
    GroupState& parent = states_[node.parent];
    if (parent.failed) continue;
    if (node.clause == Filter::Clause::kShould && parent.should_matched) continue;
    const bool matches =
        node.kind == NodeKind::kGroup
            ? !states_[i].failed && (!states_[i].has_should || states_[i].should_matched)
            : Matches(i, row, record);
    if (node.clause == Filter::Clause::kShould) {
      parent.should_matched = matches;
    } else {
      parent.failed = matches != (node.clause == Filter::Clause::kMust);
    }
  }
  return !states_[0].failed && (!states_[0].has_should || states_[0].should_matched);
}

template <class Visit>
void PartFilter::ForEachCandidate(Visit visit) const {
  std::vector<size_t> open = {0};
  while (!open.empty()) {
    const size_t at = open.back();
    open.pop_back();
    const ViewFilter::Node& node = nodes_[at];
    if (node.kind == NodeKind::kField) {
      tests_[at]->ForEachRow(visit);
    } else if (node.kind == NodeKind::kIds) {
      for (const PointId id : node.ids) {
        const std::optional<int64_t> row = segment_->Find(id);
        if (!row.has_value()) continue;
        const auto number = static_cast<uint32_t>(*row);
        visit(std::span(&number, 1));
      }
    } else if (driver_children_[at] != kAllShould) {
      open.push_back(static_cast<size_t>(driver_children_[at]));
    } else {
      for (size_t child = at + 1; child < nodes_.size(); ++child) {
        const bool is_should = nodes_[child].parent == static_cast<int32_t>(at) &&
                               nodes_[child].clause == Filter::Clause::kShould;
        if (is_should) open.push_back(child);
      }
    }
  }
}

absl::StatusOr<std::vector<uint32_t>> PartFilter::Rows(
    absl::FunctionRef<absl::Status()> poll) const {
  std::vector<uint32_t> rows;
  int64_t unpolled = 0;
  const auto add_if_accepted = [&](uint32_t row) -> absl::Status {
    if (Accepts(row)) rows.push_back(row);
    if (++unpolled < PollRows()) return absl::OkStatus();
    unpolled = 0;
    return poll();
  };
  if (!candidates().has_value()) {
    for (int64_t row = 0; row < rows_; ++row) {
      RETURN_IF_ERROR(add_if_accepted(static_cast<uint32_t>(row)));
    }
    return rows;
  }
  const bool sure =
      single_ && !has_records_ && tests_[1].has_value() && tests_[1]->yields_exactly();
  rows.reserve(static_cast<size_t>(*candidates()));
  if (sure && tests_[1]->yields_in_order()) {
    ForEachCandidate([&rows](std::span<const uint32_t> some) {
      rows.insert(rows.end(), some.begin(), some.end());
    });
    return rows;
  }
  // A bit per row brings them in order, once each.
  std::vector<uint64_t> bits(static_cast<size_t>(rows_ + 63) / 64);
  ForEachCandidate([&bits](std::span<const uint32_t> some) {
    for (const uint32_t row : some) bits[row / 64] |= uint64_t{1} << row % 64;
  });
  if (has_records_) {
    sidecar_->records().ForEachRow(sequence_, [&bits](int64_t row, const IndexedRow&) {
      bits[row / 64] |= uint64_t{1} << row % 64;
    });
  }
  for (size_t word = 0; word < bits.size(); ++word) {
    for (uint64_t left = bits[word]; left != 0; left &= left - 1) {
      const auto row = static_cast<uint32_t>(word * 64 + __builtin_ctzll(left));
      if (sure) {
        rows.push_back(row);
      } else {
        RETURN_IF_ERROR(add_if_accepted(row));
      }
    }
  }
  return rows;
}

absl::StatusOr<FilterNodes::Nodes> PartFilter::Nodes(absl::FunctionRef<absl::Status()> poll) const {
  if (key_.empty() || segment_ == nullptr || sidecar_ == nullptr || has_records_) return nullptr;
  const std::span<const uint32_t> row_nodes = sidecar_->row_nodes();
  if (row_nodes.empty()) return nullptr;
  FilterNodes& kept = sidecar_->filter_nodes();
  FilterNodes::Asked asked = kept.Ask(key_);
  if (!asked.make) return std::move(asked.nodes);
  const absl::StatusOr<std::vector<uint32_t>> rows = Rows(poll);
  if (!rows.ok()) {
    kept.Put(key_, nullptr);
    return rows.status();
  }
  std::vector<uint32_t> found;
  found.reserve(rows->size());
  for (const uint32_t row : *rows) found.push_back(row_nodes[row]);
  const auto nodes = std::make_shared<const NodeSet>(found, rows_);
  kept.Put(key_, nodes);
  return nodes;
}

std::vector<uint32_t> PartFilter::Sample(int64_t count) const {
  std::vector<uint32_t> rows;
  if (!candidates().has_value() || *candidates() == 0) return rows;
  const int64_t step = std::max<int64_t>(1, *candidates() / count);
  int64_t skip = step / 2;
  ForEachCandidate([&](std::span<const uint32_t> some) {
    for (; skip < std::ssize(some); skip += step) {
      if (Accepts(some[skip])) rows.push_back(some[skip]);
    }
    skip -= std::ssize(some);
  });
  return rows;
}

}  // namespace baton
