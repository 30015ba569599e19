#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/model/embedder.h"
#include "engine/model/text_features.h"

namespace baton {
namespace {

// Weights are integers, so that sums do not depend on order or on a machine's rounding. Chosen by
// retrieval on XQuAD and Cranfield; the optimum is flat.
constexpr double kOne = 4096;
constexpr double kWordShare = 1.0;
constexpr double kPairShare = 0.2;
constexpr double kPartsShare = 1.0;  // all n-grams of one word together
constexpr size_t kPartBytesMin = 3;
constexpr size_t kPartBytesMax = 5;
// Words at or below it tell nothing alone: they give no parts, and no pair with one another.
constexpr float kFillerWeight = 0.1f;
// Longer runs without a space are data, not words; their parts would drown the text.
constexpr size_t kPartsWordBytesMax = 64;

enum class FeatureKind : uint64_t { kWord = 1, kPair = 2, kPart = 3 };

// The stored vectors depend on these functions: changing one means embedding everything anew.
uint64_t HashBytes(std::string_view bytes, uint64_t hash) {
  for (const char c : bytes) {  // FNV-1a
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3;
  }
  return hash;
}
uint64_t HashBytes(std::string_view bytes, FeatureKind kind) {
  return HashBytes(bytes, 0xcbf29ce484222325 ^ static_cast<uint64_t>(kind));
}
uint64_t Mix(uint64_t hash) {  // splitmix64's finaliser
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
  return hash ^ (hash >> 31);
}
constexpr uint64_t kBucketSeed = 0x9e3779b97f4a7c15;
constexpr uint64_t kSignSeed = 0xd1b54a32d192ed03;

class FeatureBag {
 public:
  void Add(uint64_t hash, double weight) {
    Feature& feature = features_[hash];
    feature.weight = std::max<int64_t>(feature.weight, std::lround(kOne * weight));
    ++feature.count;
  }

  // Adds every feature to its signed bucket; a repeated one counts by the root of its number.
  void Scatter(std::vector<int64_t>& buckets) const {
    for (const auto& [hash, feature] : features_) {
      const int64_t value = std::llround(static_cast<double>(feature.weight) *
                                         std::sqrt(static_cast<double>(feature.count)));
      const bool negative = (Mix(hash ^ kSignSeed) & 1) != 0;
      buckets[Mix(hash ^ kBucketSeed) % buckets.size()] += negative ? -value : value;
    }
  }

 private:
  struct Feature {
    int64_t weight = 0;
    int64_t count = 0;
  };
  absl::flat_hash_map<uint64_t, Feature> features_;
};

// The n-grams of "^word$".
void AddParts(const TextWord& word, FeatureBag& bag) {
  if (word.surface.size() > kPartsWordBytesMax) return;
  const std::string marked = "^" + word.surface + "$";
  const size_t longest = std::min(kPartBytesMax, marked.size());
  size_t parts = 0;
  for (size_t n = kPartBytesMin; n <= longest; ++n) parts += marked.size() - n + 1;
  const double weight = kPartsShare * word.weight / std::sqrt(static_cast<double>(parts));
  for (size_t n = kPartBytesMin; n <= longest; ++n) {
    for (size_t i = 0; i + n <= marked.size(); ++i) {
      bag.Add(HashBytes(std::string_view(marked).substr(i, n), FeatureKind::kPart), weight);
    }
  }
}

FeatureBag Features(std::string_view text) {
  FeatureBag bag;
  const std::vector<TextWord> words = SplitWords(text);
  for (size_t i = 0; i < words.size(); ++i) {
    const TextWord& word = words[i];
    bag.Add(HashBytes(word.stem, FeatureKind::kWord), kWordShare * word.weight);
    if (word.weight > kFillerWeight) AddParts(word, bag);
    if (i == 0) continue;
    const TextWord& before = words[i - 1];
    if (std::max(word.weight, before.weight) <= kFillerWeight) continue;
    const uint64_t pair =
        HashBytes(word.stem, HashBytes(" ", HashBytes(before.stem, FeatureKind::kPair)));
    bag.Add(pair, kPairShare * std::sqrt(double{word.weight} * double{before.weight}));
  }
  return bag;
}

class HashedWords final : public LexicalEmbedder {
 public:
  explicit HashedWords(int32_t dimension)
      : name_("lexical-" + std::to_string(dimension)), dimension_(dimension) {}

  const std::string& name() const override { return name_; }
  int32_t dimension() const override { return dimension_; }

  void Embed(std::string_view text, std::span<float> out) const override {
    std::vector<int64_t> buckets(static_cast<size_t>(dimension_));
    Features(text).Scatter(buckets);
    double squares = 0;
    for (const int64_t value : buckets) {
      squares += static_cast<double>(value) * static_cast<double>(value);
    }
    if (squares == 0) {
      buckets[0] = 1;
      squares = 1;
    }
    const double length = std::sqrt(squares);
    for (size_t i = 0; i < buckets.size(); ++i) {
      out[i] = static_cast<float>(static_cast<double>(buckets[i]) / length);
    }
  }

 private:
  const std::string name_;
  const int32_t dimension_;
};

}  // namespace

std::unique_ptr<const LexicalEmbedder> MakeLexicalEmbedder(int32_t dimension) {
  return std::make_unique<HashedWords>(dimension);
}

}  // namespace baton
