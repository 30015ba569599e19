// Builds an IvfIndex: trains centroids and code books, assigns rows to lists, and codes them.

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/vector/faiss_training.h"
#include "engine/vector/ivf_index.h"

namespace baton {
namespace {

// k-means of the lists converges with fewer rows than are usual for few centroids, and takes most
// of the time.
constexpr int64_t kRowsPerList = 64;
// Of the code books: 16 centroids of a part are trained in no time by as many rows as help, 256 by
// fewer, for that is most of the time of a segment just sealed.
int64_t BookRowsMax(const PqShape& shape) {
  return shape.centroids() *
         (shape.bits == 8 ? kTrainingRowsPerCentroid / 4 : kTrainingRowsPerCentroid);
}
constexpr int32_t kIterations = 10;

// Rows that are assigned to their lists at a time: a device holds so much of them at once.
constexpr int64_t kAssignBytes = 256 << 20;

constexpr int64_t kAverageRowsMin = 128;
constexpr int64_t kLineBytes = 64;

// Row i of `count` out of all `rows`, spread evenly.
int64_t SampleRow(int64_t i, int64_t count, int64_t rows) {
  return count <= rows ? i * rows / count : i % rows;
}

}  // namespace

int32_t DefaultIvfLists(int64_t rows) {
  const auto root = static_cast<int64_t>(4 * std::sqrt(static_cast<double>(rows)));
  return static_cast<int32_t>(
      std::clamp<int64_t>(std::min(root, rows / kAverageRowsMin), 1, kIvfListsMax));
}

int32_t DefaultPqBytes(int32_t dimension) { return std::clamp(dimension / 4, 1, kPqBytesMax); }

int32_t DefaultNprobe(int32_t lists) {
  return static_cast<int32_t>(std::ceil(2 * std::sqrt(static_cast<double>(lists))));
}

class IvfIndex::Builder {
 public:
  Builder(const GraphRows& rows, const IvfParams& params, const IvfMath& math, StopTraining stop)
      : rows_(rows), params_(params), math_(math), stop_(stop), dimension_(rows.dimension) {
    const int32_t lists = params.lists > 0 ? params.lists : DefaultIvfLists(rows.rows);
    header_.magic = kMagic;
    header_.codes = static_cast<uint32_t>(params.codes);
    header_.metric = static_cast<uint32_t>(rows.metric);
    header_.dimension = static_cast<uint32_t>(rows.dimension);
    header_.rows = static_cast<uint32_t>(rows.rows);
    header_.lists = static_cast<uint32_t>(
        std::min<int64_t>({int64_t{lists}, rows.rows, int64_t{kIvfListsMax}}));
    if (HasProductCodes(params.codes)) {
      const int32_t bytes = params.pq_bytes > 0 ? params.pq_bytes : DefaultPqBytes(rows.dimension);
      header_.pq_bytes = static_cast<uint32_t>(std::min(bytes, kPqBytesMax));
      shape_ = PqShapeFor(rows.dimension, static_cast<int32_t>(header_.pq_bytes),
                          PqBitsOf(params.codes));
    }
  }

  absl::StatusOr<std::unique_ptr<IvfIndex>> Build() {
    RETURN_IF_ERROR(MakeLists());
    if (HasProductCodes(params_.codes)) {
      RETURN_IF_ERROR(TrainBook());
    } else {
      FitBytes();
    }
    Allocate();
    std::unique_ptr<IvfIndex> index(new IvfIndex(rows_, std::move(buffer_)));
    RETURN_IF_ERROR(HasProductCodes(params_.codes) ? EncodePqRows(*index) : EncodeByteRows(*index));
    return index;
  }

 private:
  const float* VectorOf(int64_t row) const { return rows_.vectors + row * dimension_; }

  // Centroids, and which rows are theirs.
  absl::Status MakeLists() {
    const int64_t sampled = std::min(rows_.rows, int64_t{header_.lists} * kRowsPerList);
    TrainingRows sample{.vectors = rows_.vectors, .rows = rows_.rows, .dimension = rows_.dimension};
    std::vector<float> copies;
    if (sampled < rows_.rows) {
      copies.reserve(static_cast<size_t>(sampled * dimension_));
      for (int64_t i = 0; i < sampled; ++i) {
        const float* const vector = VectorOf(SampleRow(i, sampled, rows_.rows));
        copies.insert(copies.end(), vector, vector + dimension_);
      }
      sample.vectors = copies.data();
      sample.rows = sampled;
    }
    const KmeansParams params{.k = static_cast<int32_t>(header_.lists), .iterations = kIterations};
    ASSIGN_OR_RETURN(centroids_, math_.centroids().Train(sample, params, stop_));
    copies = {};
    list_of_.resize(static_cast<size_t>(rows_.rows));
    const int64_t together =
        std::max<int64_t>(1, kAssignBytes / (dimension_ * static_cast<int64_t>(sizeof(float))));
    for (int64_t first = 0; first < rows_.rows; first += together) {
      const TrainingRows some{.vectors = VectorOf(first),
                              .rows = std::min(together, rows_.rows - first),
                              .dimension = rows_.dimension};
      RETURN_IF_ERROR(
          math_.centroids().Assign(some, centroids_, false, stop_, list_of_.data() + first));
    }
    list_rows_.assign(header_.lists, 0);
    for (const uint32_t list : list_of_) ++list_rows_[list];
    const int64_t block_rows = BlockRows(params_.codes);
    int64_t places = 0;
    for (const uint32_t count : list_rows_) {
      places += (count + block_rows - 1) / block_rows * block_rows;
    }
    header_.places = static_cast<uint32_t>(places);
    return absl::OkStatus();
  }

  // What is left of a row's vector, padded with zeros.
  void Residual(int64_t row, float* residual) const {
    const float* const vector = VectorOf(row);
    const float* const centroid = CentroidOf(row);
    for (int64_t j = 0; j < dimension_; ++j) residual[j] = vector[j] - centroid[j];
  }
  const float* CentroidOf(int64_t row) const {
    return centroids_.data() + list_of_[static_cast<size_t>(row)] * dimension_;
  }

  absl::Status TrainBook() {
    const int64_t values = int64_t{shape_.parts} * shape_.part;  // whole parts
    const int64_t count = std::clamp(rows_.rows, shape_.centroids(), BookRowsMax(shape_));
    std::vector<float> residuals(static_cast<size_t>(count * values));
    for (int64_t i = 0; i < count; ++i) {
      Residual(SampleRow(i, count, rows_.rows), residuals.data() + i * values);
    }
    ASSIGN_OR_RETURN(trained_, TrainProductBooks({.vectors = residuals.data(),
                                                  .rows = count,
                                                  .dimension = static_cast<int32_t>(values)},
                                                 shape_.parts, shape_.bits, stop_));
    return absl::OkStatus();
  }

  void FitBytes() {
    bytes_book_.resize(static_cast<size_t>(3 * dimension_));
    float* const low = bytes_book_.data();
    const CodeBookFit fit = FitCodeBook(rows_, low, low + dimension_, low + 2 * dimension_);
    header_.squares = fit.squares ? 1 : 0;
  }

  template <class T>
  T* Array(std::byte* data, int64_t offset) const {
    return reinterpret_cast<T*>(data + offset);
  }

  // All but the codes and terms.
  void Allocate() {
    const Layout layout(header_);
    buffer_ =
        HugeBuffer(static_cast<size_t>(layout.end + kLineBytes - 1) / kLineBytes * kLineBytes);
    std::byte* const data = buffer_.data();
    *Array<Header>(data, 0) = header_;
    std::copy(centroids_.begin(), centroids_.end(), Array<float>(data, layout.centroids));
    std::copy(list_rows_.begin(), list_rows_.end(), Array<uint32_t>(data, layout.list_rows));
    const int64_t block_rows = BlockRows(params_.codes);
    std::vector<uint32_t> next;
    uint32_t begin = 0;
    for (const uint32_t count : list_rows_) {
      next.push_back(begin);
      begin += static_cast<uint32_t>((count + block_rows - 1) / block_rows * block_rows);
    }
    auto* const rows = Array<uint32_t>(data, layout.rows);
    std::fill_n(rows, header_.places, kNoRow);
    place_of_.resize(list_of_.size());
    for (size_t row = 0; row < list_of_.size(); ++row) {
      place_of_[row] = next[list_of_[row]]++;
      rows[place_of_[row]] = static_cast<uint32_t>(row);
    }
    if (HasProductCodes(params_.codes)) {
      ArrangeBook(shape_, trained_, Array<float>(data, layout.book));
      auto* const origin = Array<float>(data, layout.origin);
      std::vector<double> sums(static_cast<size_t>(dimension_));
      for (int64_t row = 0; row < rows_.rows; ++row) {
        for (size_t j = 0; j < sums.size(); ++j) sums[j] += VectorOf(row)[j];
      }
      for (size_t j = 0; j < sums.size(); ++j) {
        origin[j] = static_cast<float>(sums[j] / static_cast<double>(rows_.rows));
      }
    } else {
      std::copy(bytes_book_.begin(), bytes_book_.begin() + dimension_,
                Array<float>(data, layout.low));
      std::copy(bytes_book_.begin() + dimension_, bytes_book_.begin() + 2 * dimension_,
                Array<float>(data, layout.step));
      std::copy(bytes_book_.begin() + 2 * dimension_, bytes_book_.end(),
                Array<float>(data, layout.origin));
    }
  }

  absl::Status EncodePqRows(IvfIndex& index) const {
    const Layout& layout = index.layout_;
    std::byte* const data = index.buffer_.data();
    const bool dot = rows_.metric == Metric::kDot;
    return math_.Encode(
        {.rows = {.vectors = rows_.vectors, .rows = rows_.rows, .dimension = rows_.dimension},
         .lists = header_.lists,
         .centroids = centroids_.data(),
         .list_of = list_of_.data(),
         .place_of = place_of_.data(),
         .places = header_.places,
         .book = index.pq_book(),
         .origin = dot ? nullptr : index.Array<float>(layout.origin),
         .codes = Array<uint8_t>(data, layout.codes),
         .terms = dot ? nullptr : Array<float>(data, layout.terms)},
        stop_);
  }

  absl::Status EncodeByteRows(IvfIndex& index) const {
    const CodeBook book = index.code_book();
    const Layout& layout = index.layout_;
    std::byte* const data = index.buffer_.data();
    const int64_t stride = CodeStride(dimension_);
    float* const terms = rows_.metric == Metric::kL2 && header_.squares == 0
                             ? Array<float>(data, layout.terms)
                             : nullptr;
    for (int64_t row = 0; row < rows_.rows; ++row) {
      if (row % kRowsPerStop == 0 && stop_()) return absl::CancelledError("building was stopped");
      const int64_t place = place_of_[static_cast<size_t>(row)];
      const float norm =
          EncodeRow(book, VectorOf(row), Array<uint8_t>(data, layout.codes) + place * stride);
      if (terms != nullptr) terms[place] = norm;
    }
    return absl::OkStatus();
  }

  static constexpr int64_t kRowsPerStop = 1024;

  const GraphRows rows_;
  const IvfParams params_;
  const IvfMath& math_;
  const StopTraining stop_;
  const int64_t dimension_;
  Header header_;
  PqShape shape_;
  std::vector<float> centroids_;     // [lists, dimension]
  std::vector<uint32_t> list_of_;    // [rows]
  std::vector<uint32_t> list_rows_;  // [lists]
  std::vector<uint32_t> place_of_;   // [rows]
  std::vector<float> trained_;       // [parts, centroids, part]
  std::vector<float> bytes_book_;    // low, step, origin: [3, dimension]
  HugeBuffer buffer_;
};

absl::StatusOr<std::unique_ptr<IvfIndex>> IvfIndex::Build(const GraphRows& rows,
                                                          const IvfParams& params,
                                                          const IvfMath& math,
                                                          absl::FunctionRef<bool()> stop) {
  return Builder(rows, params, math, stop).Build();
}

}  // namespace baton
