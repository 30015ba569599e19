#include "engine/vector/pq_code.h"

#include <algorithm>

namespace baton {
namespace {

// What is divided by it stays finite.
constexpr float kRangeMin = 1e-34f;

int32_t RoundedUp(int32_t value, int32_t unit) { return (value + unit - 1) / unit * unit; }

// Of as many centroids as a code tells apart: loops of a known length.
template <int64_t kCentroids>
void EncodeParts(const PqBook& book, const float* vector, uint8_t* codes) {
  const float* centroids = book.values;
  for (int32_t m = 0; m < book.shape.sub_quantizers; ++m) {
    float distances[kCentroids] = {};
    for (int32_t j = 0; j < book.shape.part; ++j, ++vector, centroids += kCentroids) {
      for (int64_t c = 0; c < kCentroids; ++c) {
        const float difference = *vector - centroids[c];
        distances[c] += difference * difference;
      }
    }
    codes[m] =
        static_cast<uint8_t>(std::min_element(distances, distances + kCentroids) - distances);
  }
}

}  // namespace

PqShape PqShapeFor(int32_t dimension, int32_t code_bytes, int32_t bits) {
  PqShape shape{.dimension = dimension, .bits = bits};
  const int32_t parts_wanted = 8 / bits * std::clamp(code_bytes, 1, kPqBytesMax);
  shape.part = (dimension + parts_wanted - 1) / parts_wanted;
  shape.parts = (dimension + shape.part - 1) / shape.part;
  shape.sub_quantizers = RoundedUp(shape.parts, static_cast<int32_t>(shape.group()));
  return shape;
}

void ArrangeBook(const PqShape& shape, const std::vector<float>& trained, float* book) {
  std::fill_n(book, shape.book_values(), 0.0f);
  const int64_t centroids = shape.centroids();
  for (int64_t m = 0; m < shape.parts; ++m) {
    for (int64_t c = 0; c < centroids; ++c) {
      for (int64_t j = 0; j < shape.part; ++j) {
        book[(m * shape.part + j) * centroids + c] =
            trained[static_cast<size_t>((m * centroids + c) * shape.part + j)];
      }
    }
  }
}

void EncodePq(const PqBook& book, const float* vector, uint8_t* codes) {
  if (book.shape.bits == 8) {
    EncodeParts<256>(book, vector, codes);
  } else {
    EncodeParts<16>(book, vector, codes);
  }
}

void DecodePq(const PqBook& book, const uint8_t* codes, float* vector) {
  for (int64_t m = 0; m < book.shape.sub_quantizers; ++m) {
    for (int64_t j = m * book.shape.part; j < (m + 1) * book.shape.part; ++j) {
      vector[j] = book.values[j * book.shape.centroids() + codes[m]];
    }
  }
}

void StorePqCodes(const PqShape& shape, const uint8_t* codes, int64_t row, uint8_t* block) {
  if (shape.bits == 8) {
    for (int64_t m = 0; m < shape.sub_quantizers; ++m) block[m * kPqBlockRows + row] = codes[m];
    return;
  }
  for (int64_t m = 0; m < shape.sub_quantizers; m += 2) {
    block[m / 2 * kPqBlockRows + row] = static_cast<uint8_t>(codes[m] | codes[m + 1] << 4);
  }
}

void PqTables::Fill(const PqBook& book, const float* query, float factor) {
  if (book.shape.bits == 8) {
    FillOf<256>(book, query, factor, kPq8EntryMax);
  } else {
    FillOf<16>(book, query, factor, kPqEntryMax);
  }
}

template <size_t kCentroids>
void PqTables::FillOf(const PqBook& book, const float* query, float factor, int32_t entry_max) {
  const size_t entries = static_cast<size_t>(book.shape.sub_quantizers) * kCentroids;
  products_.assign(entries, 0);
  entries_.resize(entries);
  bias_ = 0;
  float range = 0;
  const float* centroids = book.values;
  for (size_t at = 0; at < entries; at += kCentroids) {
    float* const products = products_.data() + at;
    for (int32_t j = 0; j < book.shape.part; ++j, ++query, centroids += kCentroids) {
      for (size_t c = 0; c < kCentroids; ++c) products[c] += factor * *query * centroids[c];
    }
    const auto [least, largest] = std::minmax_element(products, products + kCentroids);
    bias_ += *least;
    range = std::max(range, *largest - *least);
  }
  const auto most = static_cast<float>(entry_max);
  const float to_entries = range > kRangeMin ? most / range : 0;
  scale_ = to_entries > 0 ? range / most : 0;
  for (size_t at = 0; at < entries; at += kCentroids) {
    const float* const products = products_.data() + at;
    const float least = *std::min_element(products, products + kCentroids);
    for (size_t c = 0; c < kCentroids; ++c) {
      const float entry = (products[c] - least) * to_entries + 0.5f;
      entries_[at + c] = static_cast<uint8_t>(std::min(entry, most));
    }
  }
}

}  // namespace baton
