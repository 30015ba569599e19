#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/huge_buffer.h"
#include "engine/request/vector_request.h"
#include "engine/vector/candidate_pool.h"
#include "engine/vector/code_book.h"
#include "engine/vector/hnsw_graph.h"
#include "engine/vector/ivf_math.h"
#include "engine/vector/pq_code.h"
#include "engine/vector/sealed_graph.h"

namespace baton {

// How rows are coded: by a product quantiser, of what is left of a row when its list's centroid is
// taken off, 4 bits a part, or 8; or one byte a value. Stored in files.
enum class IvfCodes : uint8_t { kPq, kBytes, kPq8 };
constexpr bool HasProductCodes(IvfCodes codes) { return codes != IvfCodes::kBytes; }
// Of a part of a product code.
constexpr int32_t PqBitsOf(IvfCodes codes) { return codes == IvfCodes::kPq8 ? 8 : 4; }

struct IvfParams {
  IvfCodes codes = IvfCodes::kPq;
  int32_t lists = 0;     // 0: DefaultIvfLists; never more than rows
  int32_t pq_bytes = 0;  // 0: DefaultPqBytes; at most kPqBytesMax
};

inline constexpr int32_t kIvfListsMax = 65'536;
// Four times the root of the rows, as long as lists have 128 rows on average: a list's last block
// of codes is half empty.
int32_t DefaultIvfLists(int64_t rows);
// A sixteenth of the vectors: two values to each half of a byte, or four to a byte.
int32_t DefaultPqBytes(int32_t dimension);
// Lists that are looked at where nobody says how many.
int32_t DefaultNprobe(int32_t lists);

// How many are rescored at least where k are asked for: codes order near ones a little differently.
constexpr int64_t IvfCandidates(int64_t k) { return 2 * k + 16; }

struct IvfQuery {
  const float* vector = nullptr;  // [dimension], prepared
  int32_t nprobe = 0;             // 0: DefaultNprobe
  int64_t candidates = 0;         // rescored by their vectors; at least 1
  int64_t wanted = 0;             // as many rows are found, if there are as many live ones
};

// An inverted file: rows in lists, each around a centroid, with codes that are all a search reads
// but for the vectors of its candidates. A fraction of a graph's memory, and some times its time.
//
// FAISS, or a device, trains the centroids; FAISS the code books. Codes are made here or on a
// device, and scanned here. A list's codes are compared in whole numbers, so that candidates are
// the same at every instruction set, and those are scored from the vectors by DistanceFor.
// Immutable once built: searches need no lock and may run concurrently.
class IvfIndex {
 public:
  // `rows` says nothing of m and ef_construction. CANCELLED once `stop` says so; other errors are
  // those of `math`.
  static absl::StatusOr<std::unique_ptr<IvfIndex>> Build(const GraphRows& rows,
                                                         const IvfParams& params,
                                                         const IvfMath& math,
                                                         absl::FunctionRef<bool()> stop);
  static absl::StatusOr<std::unique_ptr<IvfIndex>> Build(const GraphRows& rows,
                                                         const IvfParams& params,
                                                         absl::FunctionRef<bool()> stop) {
    return Build(rows, params, HostIvfMath(), stop);
  }
  // The reverse of bytes() for the same rows. Any bytes are safe: DATA_LOSS where they are no index
  // over `rows`.
  static absl::StatusOr<std::unique_ptr<IvfIndex>> Load(const GraphRows& rows, HugeBuffer bytes);
  IvfIndex(const IvfIndex&) = delete;
  IvfIndex& operator=(const IvfIndex&) = delete;

  std::span<const std::byte> bytes() const;
  int32_t lists() const { return static_cast<int32_t>(header().lists); }
  IvfCodes codes() const { return static_cast<IvfCodes>(header().codes); }

  // About how many rows are in so many lists; 0: DefaultNprobe.
  int64_t ProbedRows(int32_t nprobe) const;

  // What is scanned in Search's place elsewhere. Its arrays, valid while the index is:
  struct Arrays {
    std::span<const uint32_t> list_begin;  // [lists]: first places
    std::span<const uint32_t> list_rows;   // [lists]
    std::span<const uint32_t> rows;        // [places]
    const uint8_t* codes = nullptr;  // [places / 32, groups, 64]; under kBytes [places, stride]
    const float* terms = nullptr;    // [places]; null: rows have none
    int64_t groups = 0;              // of product codes
    int64_t stride = 0;              // under kBytes
  };
  Arrays arrays() const;
  // And a query: what keys are made of, as ScanLists makes them.
  struct Probe {
    std::vector<uint32_t> lists;  // the nearest nprobe
    float scale = 0;
    std::vector<float> bases;     // [probed lists], of product codes, as the tables are
    std::vector<uint8_t> tables;  // [4 * groups, 16]; under kPq8 [2 * groups, 256]
    std::vector<int8_t> high;     // [stride], of kBytes, as what follows
    std::vector<int8_t> low;      // [stride]
    float square_factor = 0;
  };
  void Prepare(const float* query, int32_t nprobe, Probe* probe) const;
  // What Search does with candidates.
  void Rescore(const float* query, std::span<const uint32_t> rows,
               std::vector<GraphNeighbor>* found) const;

  // The rows of the nearest candidates among the live ones of the nearest nprobe lists, with their
  // distances, in no order; of further lists where those have too few.
  using LiveRow = absl::FunctionRef<bool(int64_t row)>;
  void Search(const IvfQuery& query, LiveRow live, std::vector<GraphNeighbor>* found) const;

 private:
  // As it lies in front of bytes(). The arrays follow, in this order, each aligned to 64 bytes.
  // Places are where a row's code is: lists one after another, of product codes each padded to
  // whole blocks.
  //   f32 centroids [lists, dimension]
  //   u32 list rows [lists]
  //   u32 rows [places]                      of padding kNoRow
  //   f32 low, step, origin [dimension] each the code book of kBytes; else only the origin counts
  //   f32 book [PqShape::book_values()]      of product codes
  //   f32 terms [places]                     what of a row's distance does not depend on the query,
  //                                          where something does not
  //   u8 codes [places / 32, groups, 64]; or [places, CodeStride(dimension)]
  struct Header {
    uint32_t magic = 0;
    uint32_t codes = 0;  // IvfCodes
    uint32_t metric = 0;
    uint32_t dimension = 0;
    uint32_t rows = 0;
    uint32_t lists = 0;
    uint32_t places = 0;
    uint32_t pq_bytes = 0;  // 0 under kBytes
    uint32_t squares = 0;   // 1: under kBytes, terms are squares of codes
  };
  // Offsets of the arrays from the header, in bytes.
  struct Layout {
    explicit Layout(const Header& header);
    int64_t centroids, list_rows, rows, low, step, origin, book, terms, codes, end;
  };
  // Kept by each thread from search to search.
  struct Scratch {
    std::vector<float> distances;  // [lists]
    std::vector<Candidate> lists;  // [lists]
    std::vector<float> vector;     // [padded dimension]
    std::vector<Candidate> candidates;
    PqTables tables;
    QueryEncoder query;
    std::vector<uint32_t> places;   // [kChunkPlaces]
    std::vector<float> keys;        // [kChunkPlaces]
    std::vector<int32_t> products;  // [kChunkPlaces]
    std::vector<int32_t> squares;   // [kChunkPlaces]
    static Scratch& OfThread();
  };
  class Builder;
  class PqListScan;
  class ByteListScan;

  static constexpr uint32_t kMagic = 0x49464256;  // "VBFI"
  static constexpr uint32_t kNoRow = UINT32_MAX;
  // Places that are compared before the bound is looked at again.
  static constexpr int64_t kChunkPlaces = 256;

  IvfIndex(const GraphRows& rows, HugeBuffer buffer);
  absl::Status Check() const;
  // Places of scratch.lists in front of which are the nearest nprobe, in order.
  size_t OrderLists(const float* query, int32_t nprobe, Scratch& scratch) const;
  void FillTables(const float* query, Scratch& scratch) const;
  template <class ListScan>
  void ScanLists(const IvfQuery& query, LiveRow live, ListScan& scan, Scratch& scratch,
                 std::vector<GraphNeighbor>* found) const;

  template <class T>
  const T* Array(int64_t offset) const {
    return reinterpret_cast<const T*>(buffer_.data() + offset);
  }
  const Header& header() const { return *Array<Header>(0); }
  static int64_t BlockRows(IvfCodes codes) {
    return HasProductCodes(codes) ? kPqBlockRows : int64_t{1};
  }
  PqBook pq_book() const;
  CodeBook code_book() const;

  const GraphRows rows_;
  const StoredRows stored_;
  HugeBuffer buffer_;  // changed while building only
  const Layout layout_;
  std::vector<uint32_t> list_begin_;  // [lists]: its first place
};

}  // namespace baton
