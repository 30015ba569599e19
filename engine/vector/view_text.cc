#include "engine/vector/view_text.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/field_column.h"
#include "engine/vector/growing_buffer.h"
#include "engine/vector/payload_sidecar.h"
#include "engine/vector/segment.h"
#include "engine/vector/top_k.h"
#include "engine/vector/view_filter.h"
#include "engine/vector/word_split.h"

namespace baton {
namespace {

// Rows looked at between two polls: each costs some nanoseconds.
constexpr int64_t kPollRows = 1 << 17;

// A row that scores less than this of the last one of the k is left out unseen. Bounds are sums in
// another order than scores are, and those are rounded to a float in the end: both far less.
constexpr double kBoundSlack = 1 + 1e-6;

constexpr double kK1Max = 100;

// The number of the text index that a query asks.
absl::StatusOr<size_t> FieldOf(const CollectionView& view, const std::string& field) {
  const PayloadIndexes none;
  const PayloadIndexes& indexes = view.indexes() == nullptr ? none : *view.indexes();
  const std::string where = StrCat("collection \"", view.spec().name, "\"");
  std::optional<size_t> found;
  for (size_t i = 0; i < indexes.size(); ++i) {
    const bool is_text = indexes[i].kind == PayloadIndexKind::kText;
    if (!field.empty() && indexes[i].field == field) {
      if (is_text) return i;
      return absl::InvalidArgumentError(StrCat("text.field: the payload index of field \"",
                                               Escaped(field), "\" is of kind ",
                                               NameOf(indexes[i].kind), ", needed is text"));
    }
    if (!field.empty() || !is_text) continue;
    if (found.has_value()) {
      return absl::FailedPreconditionError(
          StrCat("text.field is empty, but ", where, " has several text indexes: of \"",
                 Escaped(indexes[*found].field), "\" and \"", Escaped(indexes[i].field), "\""));
    }
    found = i;
  }
  if (found.has_value()) return *found;
  if (field.empty()) {
    return absl::FailedPreconditionError(
        StrCat(where, " has no payload index of kind text: create one first"));
  }
  return NoPayloadIndex(view, "text.field", field);
}

// The query's distinct words, sorted.
absl::StatusOr<std::vector<std::string>> WordsOf(const TextQuery& query) {
  std::vector<std::string> words = DistinctWords(query.text);
  if (words.empty()) {
    return absl::InvalidArgumentError(
        StrCat("text.text has no word: \"", Escaped(query.text.substr(0, 100)), "\""));
  }
  if (words.size() > kTextWordsMax) {
    return absl::InvalidArgumentError(StrCat("text.text must have at most ", kTextWordsMax,
                                             " distinct words, but has ", words.size()));
  }
  return words;
}

absl::Status CheckNumbers(const TextQuery& query) {
  if (!(query.k1 >= 0 && query.k1 <= kK1Max)) {
    return absl::InvalidArgumentError(
        StrCat("text.k1 must be 0 to ", kK1Max, ", but is ", query.k1));
  }
  if (!(query.b >= 0 && query.b <= 1)) {
    return absl::InvalidArgumentError(StrCat("text.b must be 0 to 1, but is ", query.b));
  }
  return absl::OkStatus();
}

// The rows of a column that have one word, ascending, and where a scan of them is.
struct Cursor {
  size_t word = 0;
  double bound = 0;  // of what the word adds to a score
  std::span<const uint32_t> rows;
  std::span<const uint16_t> frequencies;  // [rows], or empty: all 1
  size_t at = 0;

  bool done() const { return at == rows.size(); }
  uint32_t row() const { return rows[at]; }
  uint32_t frequency() const { return frequencies.empty() ? 1 : frequencies[at]; }
  // To the first row that is not before `row`: in steps that double, then by halves.
  void SkipTo(uint32_t row) {
    size_t step = 1;
    size_t end = at;
    while (end < rows.size() && rows[end] < row) {
      at = end + 1;
      end += step;
      step *= 2;
    }
    end = std::min(end, rows.size());
    at = static_cast<size_t>(std::lower_bound(rows.begin() + static_cast<ptrdiff_t>(at),
                                              rows.begin() + static_cast<ptrdiff_t>(end), row) -
                             rows.begin());
  }
};

class TextSearch {
 public:
  TextSearch(const CollectionView& view, const TextQuery& query, size_t field,
             std::vector<std::string> words, int32_t k, const ViewFilter* filter, SearchPoll poll)
      : view_(view),
        query_(query),
        field_(field),
        words_(std::move(words)),
        filter_(filter),
        poll_(poll),
        top_(k, view.points()),
        holders_(words_.size()),
        weights_(words_.size()),
        parts_(words_.size()) {}

  absl::Status Run() {
    for (const CollectionView::BufferPart& part : view_.buffers()) {
      if (part.payloads == nullptr) continue;
      std::optional<PartFilter> filter;
      if (filter_ != nullptr) filter.emplace(*filter_, view_, part);
      const auto id_if_live = [&](int64_t row) -> std::optional<PointId> {
        if (row >= part.rows) return std::nullopt;
        const RowBlock block = part.buffer->Block(row, row + 1);
        return block.LiveAt(view_.sequence(), 0) ? std::optional(block.ids[0]) : std::nullopt;
      };
      RETURN_IF_ERROR(TakeRecords(*part.payloads, filter, id_if_live));
    }
    for (const CollectionView::SegmentPart& part : view_.segments()) {
      std::optional<PartFilter> filter;
      if (filter_ != nullptr) filter.emplace(*filter_, view_, part);
      const auto id_if_live = [&](int64_t row) -> std::optional<PointId> {
        return part.segment->LiveAt(view_.sequence(), row)
                   ? std::optional(part.segment->data().ids[row])
                   : std::nullopt;
      };
      RETURN_IF_ERROR(TakeRecords(*part.payloads, filter, id_if_live));
      RETURN_IF_ERROR(CountColumn(part));
    }
    if (documents_ == 0) return absl::OkStatus();
    const auto documents = static_cast<double>(documents_);
    average_length_ = static_cast<double>(total_length_) / documents;
    for (size_t word = 0; word < words_.size(); ++word) {
      const auto holders = static_cast<double>(holders_[word]);
      weights_[word] = std::log(1 + (documents - holders + 0.5) / (holders + 0.5));
    }
    ScoreHeld();
    for (const CollectionView::SegmentPart& part : view_.segments()) {
      RETURN_IF_ERROR(ScoreColumn(part));
    }
    return absl::OkStatus();
  }

  std::vector<Neighbor> Take() { return top_.Take(); }

 private:
  // ---- What the view holds

  // Rows that have records: what those say counts. `id_if_live(row)`.
  template <class IdIfLive>
  absl::Status TakeRecords(const PayloadSidecar& sidecar, const std::optional<PartFilter>& filter,
                           IdIfLive id_if_live) {
    absl::Status status;
    sidecar.records().ForEachRow(view_.sequence(), [&](int64_t row, const IndexedRow& record) {
      if (!status.ok()) return;
      status = Worked(4);
      const std::optional<PointId> id = id_if_live(row);
      const auto& held = std::get<std::vector<std::string>>(record[field_].values);
      if (!id.has_value() || held.empty()) return;
      const uint32_t length = record[field_].Length();
      ++documents_;
      total_length_ += length;
      const size_t first = held_frequencies_.size();
      held_frequencies_.resize(first + words_.size());
      bool some = false;
      for (size_t word = 0; word < words_.size(); ++word) {
        const auto found = std::lower_bound(held.begin(), held.end(), words_[word]);
        if (found == held.end() || *found != words_[word]) continue;
        held_frequencies_[first + word] =
            record[field_].FrequencyOf(static_cast<size_t>(found - held.begin()));
        ++holders_[word];
        some = true;
      }
      if (some && (!filter.has_value() || filter->Accepts(row))) {
        held_.push_back({.id = *id, .length = length});
      } else {
        held_frequencies_.resize(first);
      }
    });
    return status;
  }

  // Whether a row's column says what it has at the time of the view, and it is live then.
  bool Counts(const CollectionView::SegmentPart& part, int64_t row) const {
    return part.segment->LiveAt(view_.sequence(), row) &&
           part.payloads->records().Find(row, view_.sequence()) == nullptr;
  }

  absl::Status CountColumn(const CollectionView::SegmentPart& part) {
    const FieldColumn& column = part.payloads->column(field_);
    const bool all = part.live == part.segment->rows() && part.payloads->records().count() == 0;
    if (all) {
      documents_ += column.rows_with_values();
      total_length_ += column.total_length();
    } else {
      for (int64_t row = 0; row < column.rows(); ++row) {
        const uint32_t length = column.LengthOf(row);
        if (length == 0 || !Counts(part, row)) continue;
        ++documents_;
        total_length_ += length;
      }
      RETURN_IF_ERROR(Worked(column.rows()));
    }
    for (Cursor& cursor : Cursors(column)) {
      if (all) {
        holders_[cursor.word] += std::ssize(cursor.rows);
        continue;
      }
      for (const uint32_t row : cursor.rows) holders_[cursor.word] += Counts(part, row) ? 1 : 0;
      RETURN_IF_ERROR(Worked(std::ssize(cursor.rows)));
    }
    return absl::OkStatus();
  }

  // Of the words that the column has.
  std::vector<Cursor> Cursors(const FieldColumn& column) const {
    const auto& values = std::get<std::vector<std::string>>(column.values());
    std::vector<Cursor> cursors;
    for (size_t word = 0; word < words_.size(); ++word) {
      const auto found = std::lower_bound(values.begin(), values.end(), words_[word]);
      if (found == values.end() || *found != words_[word]) continue;
      const auto value = static_cast<uint32_t>(found - values.begin());
      Cursor cursor{.word = word,
                    .rows = column.Postings(value, value + 1),
                    .frequencies = column.Frequencies(value, value + 1)};
      // The most that any row's length and frequency make of it.
      const double saturated = cursor.frequencies.empty()
                                   ? (query_.k1 + 1) / (1 + query_.k1 * (1 - query_.b))
                                   : query_.k1 + 1;
      cursor.bound = weights_[word] * saturated * kBoundSlack;
      cursors.push_back(cursor);
    }
    return cursors;
  }

  // ---- Scoring

  double Part(size_t word, uint32_t frequency, uint32_t length) const {
    const double f = frequency;
    const double norm =
        query_.k1 * (1 - query_.b + query_.b * ((static_cast<double>(length) / average_length_)));
    return weights_[word] * (f * (query_.k1 + 1)) / (f + norm);
  }

  // Of parts_, in the order of the words, whichever way they were found.
  float Score() const {
    double score = 0;
    for (const double part : parts_) score += part;
    return static_cast<float>(score);
  }

  void ScoreHeld() {
    for (size_t i = 0; i < held_.size(); ++i) {
      for (size_t word = 0; word < words_.size(); ++word) {
        const uint32_t frequency = held_frequencies_[i * words_.size() + word];
        parts_[word] = frequency > 0 ? Part(word, frequency, held_[i].length) : 0;
      }
      top_.Add({-Score(), held_[i].id});
    }
  }

  // What a score must reach.
  double Needed() const {
    const Neighbor* const last = top_.last();
    return last == nullptr ? -std::numeric_limits<double>::infinity() : -double{last->distance};
  }

  absl::Status ScoreColumn(const CollectionView::SegmentPart& part) {
    const FieldColumn& column = part.payloads->column(field_);
    std::vector<Cursor> cursors = Cursors(column);
    if (cursors.empty()) return absl::OkStatus();
    std::optional<PartFilter> filter;
    if (filter_ != nullptr) filter.emplace(*filter_, view_, part);
    int64_t postings = 0;
    for (const Cursor& cursor : cursors) postings += std::ssize(cursor.rows);
    if (filter.has_value() && filter->candidates().has_value() &&
        *filter->candidates() * std::ssize(cursors) < postings / 4) {
      return ScoreRows(part, column, *filter, cursors);
    }
    std::sort(cursors.begin(), cursors.end(),
              [](const Cursor& a, const Cursor& b) { return a.bound < b.bound; });
    return ScorePostings(part, column, filter, cursors);
  }

  // Where few rows match the filter: each of them.
  absl::Status ScoreRows(const CollectionView::SegmentPart& part, const FieldColumn& column,
                         const PartFilter& filter, std::vector<Cursor>& cursors) {
    ASSIGN_OR_RETURN(const std::vector<uint32_t> rows, filter.Rows(poll_));
    for (const uint32_t row : rows) {
      RETURN_IF_ERROR(Worked(4 * std::ssize(cursors)));
      if (!Counts(part, row)) continue;
      std::fill(parts_.begin(), parts_.end(), 0.0);
      bool some = false;
      for (Cursor& cursor : cursors) {
        cursor.SkipTo(row);
        if (cursor.done() || cursor.row() != row) continue;
        parts_[cursor.word] = Part(cursor.word, cursor.frequency(), column.LengthOf(row));
        some = true;
      }
      if (some) top_.Add({-Score(), part.segment->data().ids[row]});
    }
    return absl::OkStatus();
  }

  // Row by row through the words' postings. Those of the words that cannot bring a row among the
  // k even together are not gone through, only looked up: MaxScore (Turtle and Flood, "Query
  // evaluation: strategies and optimizations", 1995).
  //   cursors: by ascending bound
  absl::Status ScorePostings(const CollectionView::SegmentPart& part, const FieldColumn& column,
                             const std::optional<PartFilter>& filter,
                             std::vector<Cursor>& cursors) {
    std::vector<double> below(cursors.size() + 1);  // [i]: the bounds of the first i together
    for (size_t i = 0; i < cursors.size(); ++i) below[i + 1] = below[i] + cursors[i].bound;
    double needed = Needed();
    size_t first = 0;  // of those that are gone through
    while (true) {
      while (first < cursors.size() && below[first + 1] < needed) ++first;
      uint32_t row = UINT32_MAX;
      for (size_t i = first; i < cursors.size(); ++i) {
        if (!cursors[i].done()) row = std::min(row, cursors[i].row());
      }
      if (row == UINT32_MAX) return absl::OkStatus();
      RETURN_IF_ERROR(Worked(std::ssize(cursors)));
      std::fill(parts_.begin(), parts_.end(), 0.0);
      const uint32_t length = column.LengthOf(row);
      double sum = 0;
      for (size_t i = first; i < cursors.size(); ++i) {
        Cursor& cursor = cursors[i];
        if (cursor.done() || cursor.row() != row) continue;
        sum += parts_[cursor.word] = Part(cursor.word, cursor.frequency(), length);
        ++cursor.at;
      }
      const auto may_reach = [&](size_t left) {
        return (sum + below[left]) * kBoundSlack >= needed;
      };
      if (!may_reach(first) || !Counts(part, row)) continue;
      bool may = true;
      for (size_t i = first; i > 0 && may; --i) {
        Cursor& cursor = cursors[i - 1];
        cursor.SkipTo(row);
        if (!cursor.done() && cursor.row() == row) {
          sum += parts_[cursor.word] = Part(cursor.word, cursor.frequency(), length);
        }
        may = may_reach(i - 1);
      }
      const Neighbor neighbor{-Score(), part.segment->data().ids[row]};
      if (!may || !top_.Wants(neighbor)) continue;
      if (filter.has_value() && !filter->Accepts(row)) continue;
      top_.Add(neighbor);
      needed = Needed();
    }
  }

  absl::Status Worked(int64_t rows) {
    unpolled_ += rows;
    if (unpolled_ < kPollRows) return absl::OkStatus();
    unpolled_ = 0;
    return poll_();
  }

  const CollectionView& view_;
  const TextQuery& query_;
  const size_t field_;
  const std::vector<std::string> words_;
  const ViewFilter* const filter_;
  const SearchPoll poll_;
  TopK top_;
  int64_t documents_ = 0;
  int64_t total_length_ = 0;
  double average_length_ = 0;
  std::vector<int64_t> holders_;  // [words]: live points that have it
  std::vector<double> weights_;   // [words]: the logarithms
  std::vector<double> parts_;     // [words]: scratch, what each adds to a score
  // Of rows with records, those that have a word and match the filter.
  struct Held {
    PointId id = 0;
    uint32_t length = 0;
  };
  std::vector<Held> held_;
  std::vector<uint32_t> held_frequencies_;  // [held, words]
  int64_t unpolled_ = 0;
};

}  // namespace

std::string FirstWords(std::string_view text) {
  absl::flat_hash_set<std::string> seen;
  std::string first;
  for (const std::string& word : ListWords(text)) {
    if (seen.size() == kTextWordsMax) break;
    if (seen.insert(word).second) first += (first.empty() ? "" : " ") + word;
  }
  return first;
}

absl::Status CheckTextQuery(const CollectionView& view, const TextQuery& query) {
  RETURN_IF_ERROR(CheckNumbers(query));
  RETURN_IF_ERROR(WordsOf(query).status());
  return FieldOf(view, query.field).status();
}

absl::Status SearchViewText(const CollectionView& view, const TextQuery& query,
                            const SearchParams& params, SearchPoll poll,
                            std::vector<Neighbor>* neighbors) {
  RETURN_IF_ERROR(CheckNumbers(query));
  ASSIGN_OR_RETURN(std::vector<std::string> words, WordsOf(query));
  ASSIGN_OR_RETURN(const size_t field, FieldOf(view, query.field));
  std::optional<ViewFilter> filter;
  if (params.filter != nullptr) {
    ASSIGN_OR_RETURN(filter, ViewFilter::Make(view, *params.filter));
  }
  RETURN_IF_ERROR(poll());
  TextSearch search(view, query, field, std::move(words), params.k + params.offset,
                    filter.has_value() ? &*filter : nullptr, poll);
  RETURN_IF_ERROR(search.Run());
  if (filter.has_value()) RETURN_IF_ERROR(filter->status());
  *neighbors = search.Take();
  if (params.score_threshold.has_value()) {
    std::erase_if(*neighbors, [&params](const Neighbor& neighbor) {
      return neighbor.distance > -*params.score_threshold;
    });
  }
  const auto offset = std::min<int64_t>(params.offset, std::ssize(*neighbors));
  neighbors->erase(neighbors->begin(), neighbors->begin() + offset);
  return absl::OkStatus();
}

}  // namespace baton
