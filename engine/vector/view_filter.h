#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/request/filter.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/field_column.h"
#include "engine/vector/field_test.h"
#include "engine/vector/filter_nodes.h"

namespace baton {

// A filter in terms of a view's payload indexes. A field whose index is being made is answered by
// that as far as it is, and by the stored payloads beyond: the same, slower.
class ViewFilter {
 public:
  struct Node {
    int32_t parent = 0;
    Filter::Clause clause = Filter::Clause::kMust;
    enum class Kind : uint8_t { kGroup, kField, kIds } kind = Kind::kGroup;
    size_t field = 0;               // kField: which index
    bool is_coming = false;         // kField: of CollectionView::change
    FieldTest test = {};            // kField
    std::vector<PointId> ids = {};  // kIds: ascending
  };

  // FAILED_PRECONDITION where a field has no payload index, INVALID_ARGUMENT where that is of
  // another kind. The filter was checked (Filter::Check).
  static absl::StatusOr<ViewFilter> Make(const CollectionView& view, const Filter& filter);

  const std::vector<Node>& nodes() const { return nodes_; }  // parents before children
  // Of what it asks, for FilterNodes. Empty: the answers are not worth keeping, or may change.
  const std::string& key() const { return key_; }
  // Whether it asks an index that is being made: payloads are read for rows which that lacks.
  bool asks_coming() const { return failure_ != nullptr; }
  // Not OK where payloads could not be read: what was found meanwhile is not to be told.
  absl::Status status() const;

 private:
  friend class PartFilter;
  struct Failure {
    std::mutex mutex;
    absl::Status status;  // the first
  };
  std::vector<Node> nodes_;
  std::string key_;
  std::shared_ptr<Failure> failure_;  // null where payloads are not read
};

// The same, to see that it can be made.
absl::Status CheckFilter(const CollectionView& view, const Filter& filter);

// That `what` asks a field by an index that there is not, or, UNAVAILABLE, not yet.
absl::Status NoPayloadIndex(const CollectionView& view, std::string_view what,
                            const std::string& field);

// A filter over the rows of one part of a view. Says nothing about which of them are live. One
// thread; the filter and the view outlive it.
class PartFilter {
 public:
  PartFilter(const ViewFilter& filter, const CollectionView& view,
             const CollectionView::BufferPart& part);
  PartFilter(const ViewFilter& filter, const CollectionView& view,
             const CollectionView::SegmentPart& part);

  bool Accepts(int64_t row) const;
  // Asks memory for what Accepts looks at.
  void Prefetch(int64_t row) const;
  // The part of the rows that match, as estimated; 0 to 1.
  double share() const { return share_; }
  // How many rows Rows() looks at; nothing where it would be all of them.
  std::optional<int64_t> candidates() const {
    return drivers_.front() == kUnknown ? std::nullopt : std::optional(drivers_.front());
  }
  // The rows that match, ascending. `poll` is asked about once per millisecond of work whether to
  // go on.
  absl::StatusOr<std::vector<uint32_t>> Rows(absl::FunctionRef<absl::Status()> poll) const;
  // The nodes of the segment's graph that have one of them, where that is known of searches before
  // by the same filter, or worth finding out for those to come; null: it is not. `poll` as of Rows.
  absl::StatusOr<FilterNodes::Nodes> Nodes(absl::FunctionRef<absl::Status()> poll) const;
  // About so many of them, spread over all. May be fewer, and none.
  std::vector<uint32_t> Sample(int64_t count) const;

 private:
  static constexpr int64_t kUnknown = INT64_MAX;

  void Plan();
  bool Matches(size_t node, int64_t row, const IndexedRow* record) const;
  // The value of a row in an index that is being made.
  bool MatchesComing(const ViewFilter::Node& node, int64_t row) const;
  // Rows whose conditions take about a millisecond.
  int64_t PollRows() const {
    return reads_payloads_ ? 256 : (int64_t{1} << 17) / std::ssize(nodes_) + 1;
  }
  PointId IdOf(int64_t row) const;
  // Calls back with spans of rows, among which are all that match but have no record.
  template <class Visit>
  void ForEachCandidate(Visit visit) const;

  const std::vector<ViewFilter::Node>& nodes_;
  const std::string& key_;
  const WriteSequence sequence_;
  ViewFilter::Failure* const failure_;           // null: there is no index that is being made
  const IndexChange* const change_;              // null: the same
  const PayloadSidecar* const sidecar_;          // null without payload indexes
  const PayloadSidecar* const coming_;           // of change_
  const GrowingBuffer* const buffer_ = nullptr;  // one of the two
  const Segment* const segment_ = nullptr;
  const int64_t rows_;
  bool has_records_ = false;
  bool reads_payloads_ = false;                   // of rows that no index has yet
  std::vector<std::optional<ColumnTest>> tests_;  // [nodes]; nothing in a buffer
  std::vector<int64_t> drivers_;                  // [nodes]: candidates at most
  std::vector<int32_t> driver_children_;          // [nodes]: a group's; kAllShould: those
  static constexpr int32_t kAllShould = -1;
  double share_ = 1;
  bool single_ = false;  // one condition in the root's `must`: node 1
  struct GroupState {
    bool failed = false;
    bool has_should = false;
    bool should_matched = false;
  };
  mutable std::vector<GroupState> states_;  // [nodes]
};

}  // namespace baton
