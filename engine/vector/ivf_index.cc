#include "engine/vector/ivf_index.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/code_products.h"
#include "engine/vector/distance.h"
#include "engine/vector/pq_scan.h"
#include "engine/vector/reservoir.h"

namespace baton {
namespace {

constexpr int64_t kLineBytes = 64;

bool NearerList(const Candidate& a, const Candidate& b) {
  return a.key < b.key || (a.key == b.key && a.node < b.node);
}

absl::Status Damaged(const char* what) {
  return absl::DataLossError(StrCat("index is damaged: ", what));
}

}  // namespace

IvfIndex::Scratch& IvfIndex::Scratch::OfThread() {
  static thread_local Scratch scratch;
  return scratch;
}

IvfIndex::Layout::Layout(const Header& header) {
  int64_t at = sizeof(Header);
  const auto place = [&at](int64_t count, int64_t bytes) {
    const int64_t begin = (at + kLineBytes - 1) / kLineBytes * kLineBytes;
    at = begin + count * bytes;
    return begin;
  };
  const int64_t dimension = header.dimension;
  const int64_t places = header.places;
  const bool pq = header.pq_bytes > 0;
  const bool l2 = header.metric == static_cast<uint32_t>(Metric::kL2);
  const bool terms_there =
      pq ? header.metric != static_cast<uint32_t>(Metric::kDot) : l2 && header.squares == 0;
  const PqShape shape =
      pq ? PqShapeFor(static_cast<int32_t>(header.dimension), static_cast<int32_t>(header.pq_bytes),
                      PqBitsOf(static_cast<IvfCodes>(header.codes)))
         : PqShape{};
  centroids = place(int64_t{header.lists} * dimension, 4);
  list_rows = place(header.lists, 4);
  rows = place(places, 4);
  low = place(dimension, 4);
  step = place(dimension, 4);
  origin = place(dimension, 4);
  book = place(shape.book_values(), 4);
  terms = place(terms_there ? places : 0, 4);
  codes = pq ? place(places / kPqBlockRows, shape.groups() * kPqLineBytes)
             : place(places, CodeStride(dimension));
  end = at;
}

IvfIndex::IvfIndex(const GraphRows& rows, HugeBuffer buffer)
    : rows_(rows), stored_(StoredRowsOf(rows)), buffer_(std::move(buffer)), layout_(header()) {
  const int64_t block_rows = BlockRows(codes());
  const auto* const list_rows = Array<uint32_t>(layout_.list_rows);
  int64_t begin = 0;
  for (uint32_t list = 0; list < header().lists; ++list) {
    list_begin_.push_back(static_cast<uint32_t>(begin));
    begin += (list_rows[list] + block_rows - 1) / block_rows * block_rows;
  }
}

std::span<const std::byte> IvfIndex::bytes() const {
  return {buffer_.data(), static_cast<size_t>(layout_.end)};
}

PqBook IvfIndex::pq_book() const {
  return {.shape = PqShapeFor(rows_.dimension, static_cast<int32_t>(header().pq_bytes),
                              PqBitsOf(codes())),
          .values = Array<float>(layout_.book)};
}

CodeBook IvfIndex::code_book() const {
  const auto* const step = Array<float>(layout_.step);
  return {.dimension = rows_.dimension,
          .square_factor = header().squares != 0 ? step[0] * step[0] : 0,
          .low = Array<float>(layout_.low),
          .step = step,
          .origin = Array<float>(layout_.origin)};
}

// ---- Searching

int64_t IvfIndex::ProbedRows(int32_t nprobe) const {
  const int32_t probed = std::min(nprobe > 0 ? nprobe : DefaultNprobe(lists()), lists());
  return rows_.rows * probed / lists();
}

// Scores the places of lists for one query: keys [kChunkPlaces] for some of them at a time, of
// which those below a bound are told.
//
// Of product codes, with a list's centroid c, what is left of a row r, the origin o and a query q:
//   |q - c - r|^2 = |q - c|^2 + (|r|^2 + 2 (c - o) r) - 2 (q - o) r
// The first term is the list's, the second the row's, and products with the last are tabled once
// for all lists. The origin keeps tables small, whose entries have 7 or 8 bits. The inner product
// is q c + q r.
class IvfIndex::PqListScan {
 public:
  PqListScan(const IvfIndex& index, const float* query, Scratch& scratch)
      : scratch_(scratch),
        book_(index.pq_book()),
        scan_pq_(book_.shape.bits == 8 ? Pq8ScanFor() : PqScanFor()) {
    index.FillTables(query, scratch);
    scan_ = {.tables = scratch.tables.entries(),
             .groups = book_.shape.groups(),
             .scale = scratch.tables.scale(),
             .keys = scratch.keys.data()};
    blocks_ = index.Array<uint8_t>(index.layout_.codes);
    terms_ = index.arrays().terms;
  }

  // Places [first, first + count) of a list at `distance` from the query. Calls
  // add(place, key) for each of them whose key is below `bound`.
  template <class Add>
  void operator()(int64_t first, int64_t count, float distance, float bound, const Add& add) {
    const int64_t block = first / kPqBlockRows;
    scan_.blocks = blocks_ + block * scan_.groups * kPqLineBytes;
    scan_.block_count = (count + kPqBlockRows - 1) / kPqBlockRows;
    scan_.terms = terms_ == nullptr ? nullptr : terms_ + first;
    scan_.base = distance + scratch_.tables.bias();
    scan_.bound = bound;
    uint32_t nearer_rows[kChunkPlaces / kPqBlockRows];
    scan_.nearer = nearer_rows;
    scan_pq_(scan_);
    for (int64_t b = 0; b < scan_.block_count; ++b) {
      uint32_t nearer = nearer_rows[b];
      const int64_t present = count - b * kPqBlockRows;
      if (present < kPqBlockRows) nearer &= (uint32_t{1} << present) - 1;
      for (; nearer != 0; nearer &= nearer - 1) {
        const int64_t at = b * kPqBlockRows + std::countr_zero(nearer);
        add(first + at, scratch_.keys[static_cast<size_t>(at)]);
      }
    }
  }

 private:
  Scratch& scratch_;
  const PqBook book_;
  const PqScanFn scan_pq_;
  PqScan scan_;
  const uint8_t* blocks_ = nullptr;
  const float* terms_ = nullptr;
};

// The same of whole vectors' codes: the list does not matter.
class IvfIndex::ByteListScan {
 public:
  ByteListScan(const IvfIndex& index, const float* query, Scratch& scratch)
      : scratch_(scratch), book_(index.code_book()), stride_(CodeStride(book_.dimension)) {
    scratch.query.Encode(book_, index.rows_.metric, query);
    codes_ = index.Array<uint8_t>(index.layout_.codes);
    terms_ = index.arrays().terms;
  }

  template <class Add>
  void operator()(int64_t first, int64_t count, float, float bound, const Add& add) {
    std::iota(scratch_.places.begin(), scratch_.places.begin() + count,
              static_cast<uint32_t>(first));
    const bool squares = book_.square_factor != 0;
    products_(scratch_.query.code(), codes_, stride_, stride_, scratch_.places.data(), count,
              scratch_.products.data(), squares ? scratch_.squares.data() : nullptr);
    for (int64_t i = 0; i < count; ++i) {
      const auto at = static_cast<size_t>(i);
      float key = scratch_.query.factor() * static_cast<float>(scratch_.products[at]);
      if (squares) key += book_.square_factor * static_cast<float>(scratch_.squares[at]);
      if (terms_ != nullptr) key += terms_[first + i];
      if (key < bound) add(first + i, key);
    }
  }

 private:
  Scratch& scratch_;
  const CodeBook book_;
  const int64_t stride_;
  const CodeProductsFn products_ = CodeProductsFor();
  const uint8_t* codes_ = nullptr;
  const float* terms_ = nullptr;
};

void IvfIndex::FillTables(const float* query, Scratch& scratch) const {
  const PqBook book = pq_book();
  const bool dot = rows_.metric == Metric::kDot;
  const auto* const origin = Array<float>(layout_.origin);
  scratch.vector.assign(static_cast<size_t>(book.shape.padded()), 0);
  for (size_t j = 0; j < static_cast<size_t>(book.shape.dimension); ++j) {
    scratch.vector[j] = query[j] - (dot ? 0 : origin[j]);
  }
  scratch.tables.Fill(book, scratch.vector.data(), dot ? -1.0f : -2.0f);
}

size_t IvfIndex::OrderLists(const float* query, int32_t nprobe, Scratch& scratch) const {
  const auto list_count = static_cast<size_t>(lists());
  scratch.distances.resize(list_count);
  DistanceFor(rows_.metric == Metric::kDot ? Metric::kDot : Metric::kL2)(
      query, Array<float>(layout_.centroids), lists(), rows_.dimension, scratch.distances.data());
  std::vector<Candidate>& order = scratch.lists;
  order.resize(list_count);
  for (size_t list = 0; list < list_count; ++list) {
    order[list] = {.key = scratch.distances[list], .node = static_cast<uint32_t>(list)};
  }
  const int32_t wanted = nprobe > 0 ? nprobe : DefaultNprobe(lists());
  const auto probed = static_cast<size_t>(std::min(wanted, lists()));
  const auto behind = order.begin() + static_cast<std::ptrdiff_t>(probed);
  if (probed < list_count) std::nth_element(order.begin(), behind, order.end(), NearerList);
  std::sort(order.begin(), behind, NearerList);
  return probed;
}

void IvfIndex::Search(const IvfQuery& query, LiveRow live,
                      std::vector<GraphNeighbor>* found) const {
  Scratch& scratch = Scratch::OfThread();
  scratch.places.resize(kChunkPlaces);
  scratch.keys.resize(kChunkPlaces);
  scratch.products.resize(kChunkPlaces);
  scratch.squares.resize(kChunkPlaces);
  if (HasProductCodes(codes())) {
    PqListScan scan(*this, query.vector, scratch);
    ScanLists(query, live, scan, scratch, found);
  } else {
    ByteListScan scan(*this, query.vector, scratch);
    ScanLists(query, live, scan, scratch, found);
  }
}

template <class ListScan>
void IvfIndex::ScanLists(const IvfQuery& query, LiveRow live, ListScan& scan, Scratch& scratch,
                         std::vector<GraphNeighbor>* found) const {
  const auto list_count = static_cast<size_t>(lists());
  const size_t probed = OrderLists(query.vector, query.nprobe, scratch);
  std::vector<Candidate>& order = scratch.lists;
  const auto behind = order.begin() + static_cast<std::ptrdiff_t>(probed);
  const auto* const rows = Array<uint32_t>(layout_.rows);
  const auto* const list_rows = Array<uint32_t>(layout_.list_rows);
  const int64_t capacity =
      std::clamp<int64_t>(std::max(query.candidates, query.wanted), 1, rows_.rows);
  Reservoir reservoir(static_cast<size_t>(capacity), scratch.candidates);
  for (size_t i = 0; i < list_count; ++i) {
    if (i == probed) {
      if (static_cast<int64_t>(reservoir.size()) >= query.wanted) break;
      std::sort(behind, order.end(), NearerList);
    } else if (i > probed && static_cast<int64_t>(reservoir.size()) >= query.wanted) {
      break;
    }
    const uint32_t list = order[i].node;
    for (int64_t first = 0; first < list_rows[list]; first += kChunkPlaces) {
      scan(list_begin_[list] + first, std::min<int64_t>(kChunkPlaces, list_rows[list] - first),
           order[i].key, reservoir.bound(), [&](int64_t place, float key) {
             if (live(rows[place])) reservoir.Add({.key = key, .node = rows[place]});
           });
    }
  }

  std::vector<uint32_t>& nearest = scratch.places;
  nearest.clear();
  for (const Candidate& candidate : reservoir.Finish()) nearest.push_back(candidate.node);
  Rescore(query.vector, nearest, found);
}

void IvfIndex::Rescore(const float* query, std::span<const uint32_t> rows,
                       std::vector<GraphNeighbor>* found) const {
  const StoredDistanceFn distance = StoredDistanceFor(stored_.format);
  found->resize(rows.size());
  constexpr size_t kAhead = 4;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i + kAhead < rows.size()) {
      const auto* const at = reinterpret_cast<const char*>(stored_.At(rows[i + kAhead]));
      for (int64_t b = 0; b < stored_.format.row_bytes(); b += kLineBytes)
        __builtin_prefetch(at + b);
    }
    (*found)[i].row = rows[i];
    distance(query, stored_.At(rows[i]), 1, rows_.dimension, &(*found)[i].distance);
  }
}

// ---- For scans elsewhere

IvfIndex::Arrays IvfIndex::arrays() const {
  const Header& h = header();
  Arrays arrays = {.list_begin = list_begin_,
                   .list_rows = {Array<uint32_t>(layout_.list_rows), h.lists},
                   .rows = {Array<uint32_t>(layout_.rows), h.places},
                   .codes = Array<uint8_t>(layout_.codes)};
  if (HasProductCodes(codes())) {
    arrays.groups = pq_book().shape.groups();
    if (rows_.metric != Metric::kDot) arrays.terms = Array<float>(layout_.terms);
  } else {
    arrays.stride = CodeStride(rows_.dimension);
    if (rows_.metric == Metric::kL2 && h.squares == 0) arrays.terms = Array<float>(layout_.terms);
  }
  return arrays;
}

void IvfIndex::Prepare(const float* query, int32_t nprobe, Probe* probe) const {
  Scratch& scratch = Scratch::OfThread();
  const size_t probed = OrderLists(query, nprobe, scratch);
  probe->lists.resize(probed);
  for (size_t i = 0; i < probed; ++i) probe->lists[i] = scratch.lists[i].node;
  if (HasProductCodes(codes())) {
    FillTables(query, scratch);
    const PqTables& tables = scratch.tables;
    probe->scale = tables.scale();
    probe->bases.resize(probed);
    for (size_t i = 0; i < probed; ++i) probe->bases[i] = scratch.lists[i].key + tables.bias();
    const PqShape shape = pq_book().shape;
    const auto entries = static_cast<size_t>(shape.sub_quantizers * shape.centroids());
    probe->tables.assign(tables.entries(), tables.entries() + entries);
    return;
  }
  const CodeBook book = code_book();
  scratch.query.Encode(book, rows_.metric, query);
  const QueryCode code = scratch.query.code();
  const int64_t stride = CodeStride(rows_.dimension);
  probe->scale = scratch.query.factor();
  probe->high.assign(code.high, code.high + stride);
  probe->low.assign(code.low, code.low + stride);
  probe->square_factor = book.square_factor;
}

// ---- Loading

absl::StatusOr<std::unique_ptr<IvfIndex>> IvfIndex::Load(const GraphRows& rows, HugeBuffer bytes) {
  if (bytes.size() < sizeof(Header)) return Damaged("its size");
  Header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.magic != kMagic) return Damaged("its first bytes");
  if (header.rows != rows.rows || header.dimension != static_cast<uint32_t>(rows.dimension) ||
      header.metric != static_cast<uint32_t>(rows.metric)) {
    return Damaged("it is over other rows");
  }
  const bool pq = HasProductCodes(static_cast<IvfCodes>(header.codes));
  if (header.codes > static_cast<uint32_t>(IvfCodes::kPq8) || header.lists < 1 ||
      header.lists > std::min<int64_t>(kIvfListsMax, rows.rows) ||
      header.places > int64_t{header.rows} + int64_t{header.lists} * (kPqBlockRows - 1) ||
      (pq ? header.pq_bytes < 1 || header.pq_bytes > kPqBytesMax || header.squares != 0
          : header.pq_bytes != 0) ||
      (pq && header.places % kPqBlockRows != 0) || header.squares > 1 ||
      (header.squares == 1 &&
       (rows.metric != Metric::kL2 || CodeStride(rows.dimension) > kSquaresStrideMax))) {
    return Damaged("counts in its header");
  }
  // No overflow: less than 2^32 places of less than 2^18 bytes each.
  if (Layout(header).end != static_cast<int64_t>(bytes.size())) return Damaged("its size");
  std::unique_ptr<IvfIndex> index(new IvfIndex(rows, std::move(bytes)));
  RETURN_IF_ERROR(index->Check());
  return index;
}

absl::Status IvfIndex::Check() const {
  const Header& h = header();
  const int64_t block_rows = BlockRows(codes());
  const auto* const list_rows = Array<uint32_t>(layout_.list_rows);
  int64_t places = 0;
  for (uint32_t list = 0; list < h.lists; ++list) {
    if (list_rows[list] > h.rows) return Damaged("rows of a list");
    places += (list_rows[list] + block_rows - 1) / block_rows * block_rows;
  }
  if (places != h.places) return Damaged("rows of its lists");
  const bool has_terms = layout_.terms + int64_t{h.places} * 4 <= layout_.codes;
  std::vector<bool> met(h.rows);
  const auto* const rows = Array<uint32_t>(layout_.rows);
  const auto* const terms = Array<float>(layout_.terms);
  for (uint32_t list = 0; list < h.lists; ++list) {
    for (uint32_t place = list_begin_[list]; place < list_begin_[list] + list_rows[list]; ++place) {
      if (rows[place] >= h.rows || met[rows[place]]) return Damaged("row of a place");
      met[rows[place]] = true;
      if (has_terms && !std::isfinite(terms[place])) return Damaged("term of a row");
    }
  }
  if (std::find(met.begin(), met.end(), false) != met.end()) return Damaged("a row is missing");
  // Values are at most 1e15 in magnitude.
  const auto small = [](float value) { return std::abs(value) <= 1e16f; };
  const auto* const centroids = Array<float>(layout_.centroids);
  const auto* const books = Array<float>(layout_.low);
  const int64_t book_values = (layout_.terms - layout_.low) / 4;
  if (!std::all_of(centroids, centroids + int64_t{h.lists} * h.dimension, small)) {
    return Damaged("centroid");
  }
  if (!std::all_of(books, books + book_values, small)) return Damaged("code book");
  return absl::OkStatus();
}

}  // namespace baton
