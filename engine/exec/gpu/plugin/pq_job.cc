#include "engine/exec/gpu/plugin/pq_job.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "cuda_kernels/pq_encode.h"
#include "engine/exec/gpu/plugin/arena.h"
#include "engine/exec/gpu/plugin/staged_copies.h"

namespace baton::gpu {
namespace {

// Of vectors that are on the device at a time: some milliseconds of work.
constexpr int64_t kPieceBytes = 32 << 20;
constexpr int64_t kBlockPlaces = 32;
constexpr int64_t kBlockPairs = 2 * kBlockPlaces;  // bytes of four parts' codes of a block

class PqJob {
 public:
  PqJob(Device& device, const baton_pq_job& job) : device_(device), job_(job) {}

  Fault Run() {
    BATON_GPU_TRY(Check());
    if (job_.rows == 0) return {};
    piece_rows_ =
        std::clamp<int64_t>(kPieceBytes / (job_.dimension * int64_t{sizeof(float)}), 1, job_.rows);
    BATON_GPU_TRY(copies_.Create(device_, "product codes"));
    Arena counts;
    Place(counts);
    BATON_GPU_TRY(device_.Allocate("product codes", counts.bytes(), &memory_));
    Arena arena(memory_.data());
    Place(arena);
    const Fault fault = Encode();
    if (!fault.failed() || fault.code() == BATON_UNAVAILABLE) return fault;
    BATON_GPU_TRY(copies_.stream().Wait());  // what was launched still uses the memory
    return fault;
  }

 private:
  Fault Check() const {
    const auto refuse = [](const auto&... why) -> Fault {
      return {BATON_INVALID_ARGUMENT, Text("product codes of ", why...)};
    };
    constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
    if (job_.rows < 0 || job_.rows > kMax) {
      return refuse(job_.rows, " rows, must be 0 to ", kMax);
    }
    if (job_.dimension < 1) {
      return refuse("rows of dimension ", job_.dimension, ", must be 1 or more");
    }
    if (job_.sub_quantizers < 4 || job_.sub_quantizers % 4 != 0) {
      return refuse(job_.sub_quantizers, " parts, must be a multiple of 4");
    }
    if (job_.part < 1 || int64_t{job_.sub_quantizers} * job_.part < job_.dimension) {
      return refuse(job_.sub_quantizers, " parts of ", job_.part, " values, but the rows have ",
                    job_.dimension);
    }
    if (job_.places < job_.rows || job_.places > kMax || job_.places % kBlockPlaces != 0) {
      return refuse(job_.rows, " rows in ", job_.places, " places, must be a multiple of ",
                    kBlockPlaces, ", as many at least, up to ", kMax);
    }
    if (job_.terms != nullptr && job_.origin == nullptr) {
      return refuse("rows with terms, but without an origin");
    }
    for (int64_t row = 0; row < job_.rows; ++row) {
      if (job_.list_of[row] >= job_.lists) {
        return refuse("row ", row, " of list ", job_.list_of[row], ", there are ", job_.lists);
      }
      if (job_.place_of[row] >= job_.places) {
        return refuse("row ", row, " at place ", job_.place_of[row], ", there are ", job_.places);
      }
    }
    return {};
  }

  int64_t code_bytes() const {
    return job_.places / kBlockPlaces * (job_.sub_quantizers / 4) * kBlockPairs;
  }
  int64_t book_values() const { return int64_t{job_.sub_quantizers} * job_.part * 16; }

  void Place(Arena& arena) {
    centroids_ = arena.Take<float>(job_.lists * job_.dimension);
    book_ = arena.Take<float>(book_values());
    vectors_ = arena.Take<float>(piece_rows_ * job_.dimension);
    list_of_ = arena.Take<uint32_t>(piece_rows_);
    place_of_ = arena.Take<uint32_t>(piece_rows_);
    codes_ = arena.Take<uint8_t>(code_bytes());
    if (job_.terms == nullptr) return;
    origin_ = arena.Take<float>(job_.dimension);
    terms_ = arena.Take<float>(job_.places);
  }

  template <typename T>
  Fault Send(const T* from, int64_t count, T* to) {
    return copies_.Send(from, count * int64_t{sizeof(T)}, to);
  }
  Fault Clear(void* memory, int64_t bytes) {
    return device_.Check(
        cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), copies_.stream().get()),
        "cudaMemsetAsync");
  }

  Fault Encode() {
    BATON_GPU_TRY(Send(job_.centroids, job_.lists * job_.dimension, centroids_));
    BATON_GPU_TRY(Send(job_.book, book_values(), book_));
    BATON_GPU_TRY(Clear(codes_, code_bytes()));
    const int64_t term_bytes = job_.places * int64_t{sizeof(float)};
    if (terms_ != nullptr) {
      BATON_GPU_TRY(Send(job_.origin, job_.dimension, origin_));
      BATON_GPU_TRY(Clear(terms_, term_bytes));
    }
    for (int64_t first = 0; first < job_.rows; first += piece_rows_) {
      if (job_.stop(job_.stop_context) != 0) {
        return {BATON_CANCELLED, "making product codes was stopped"};
      }
      BATON_GPU_TRY(EncodePiece(first, std::min(piece_rows_, job_.rows - first)));
    }
    BATON_GPU_TRY(copies_.Fetch(codes_, code_bytes(), job_.codes));
    return terms_ == nullptr ? Fault() : copies_.Fetch(terms_, term_bytes, job_.terms);
  }

  Fault EncodePiece(int64_t first, int64_t rows) {
    BATON_GPU_TRY(Send(job_.vectors + first * job_.dimension, rows * job_.dimension, vectors_));
    BATON_GPU_TRY(Send(job_.list_of + first, rows, list_of_));
    BATON_GPU_TRY(Send(job_.place_of + first, rows, place_of_));
    BATON_GPU_TRY(device_.Check(cuda::PqEncode({.vectors = vectors_,
                                                .centroids = centroids_,
                                                .list_of = list_of_,
                                                .place_of = place_of_,
                                                .book = book_,
                                                .origin = origin_,
                                                .codes = codes_,
                                                .terms = terms_,
                                                .rows = rows,
                                                .dimension = job_.dimension,
                                                .part = job_.part,
                                                .sub_quantizers = job_.sub_quantizers},
                                               copies_.stream().get()),
                                "PqEncode"));
    return copies_.stream().Wait();  // the next piece takes this one's memory
  }

  Device& device_;
  const baton_pq_job& job_;
  int64_t piece_rows_ = 0;
  StagedCopies copies_;
  DeviceMemory memory_;
  float* centroids_ = nullptr;    // [lists, dimension]
  float* book_ = nullptr;         // [sub_quantizers, part, 16]
  float* vectors_ = nullptr;      // [piece, dimension]
  uint32_t* list_of_ = nullptr;   // [piece]
  uint32_t* place_of_ = nullptr;  // [piece]
  uint8_t* codes_ = nullptr;      // [places / 32, sub_quantizers / 4, 64]
  float* origin_ = nullptr;       // [dimension], or null
  float* terms_ = nullptr;        // [places], or null
};

}  // namespace

Fault EncodeRows(Device& device, const baton_pq_job& job) { return PqJob(device, job).Run(); }

}  // namespace baton::gpu
