#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "engine/base/clock.h"
#include "engine/transfer/memory_space.h"

namespace baton {

// Where copies of one pair of spaces go.
struct SpacePair {
  MemorySpace source;
  MemorySpace destination;
  friend auto operator<=>(const SpacePair&, const SpacePair&) = default;
};

// A line of the table: what is known of copies of [bytes_min, bytes_max) bytes on one path. Of a
// path that was never taken, its name only.
struct PathReport {
  std::string path;
  MemorySpace source = {};
  MemorySpace destination = {};
  int64_t bytes_min = 0;
  int64_t bytes_max = 0;    // INT64_MAX: any
  int64_t copies = 0;       // completed
  int64_t failures = 0;     // of all sizes
  double latency_us = 0;    // of all sizes: what a copy takes beside its bytes
  double bytes_per_s = 0;   // of this size, latency included; 0 before the first copy
  double predicted_us = 0;  // of the mean copy of this size; 0 before the first copy
};

// What copies have cost, by path, pair of spaces and size, and which path to take next.
//
// For each path and pair a line, microseconds over bytes, by least squares of the relative error
// with exponential forgetting; for each class of size the mean of what the line misses it by, which
// follows a change within a few copies. The caller's thread updates and asks; Report() is thread
// safe.
class PathTable {
 public:
  // Upper ends of the size classes; the last is open.
  static constexpr std::array<int64_t, 5> kClassEnds = {64 << 10, 1 << 20, 16 << 20, 256 << 20,
                                                        INT64_MAX};
  // Copies that a path must have made of a pair before its cost is believed.
  static constexpr int64_t kSureFrom = 3;

  struct Candidate {
    size_t path = 0;              // as of Add
    int64_t bytes_in_flight = 0;  // posted there and not complete: they come first
  };

  // Paths are numbered in the order in which they are added.
  size_t Add(std::string name);

  // The candidate that is expected to complete first. Where the first one is not known well yet,
  // that one: better paths are registered first. Every kProbeEvery-th copy of a pair and class goes
  // to the one not taken for longest, sooner where it is not known at all, so that what was slow
  // once can come back. One that has failed several times in a row is left to that. `candidates` is
  // not empty and in the order of Add; returns an index into it.
  size_t Choose(const SpacePair& pair, int64_t bytes, std::span<const Candidate> candidates);
  // Expected time of a copy; nothing before the first one of this pair.
  std::optional<double> PredictUs(size_t path, const SpacePair& pair, int64_t bytes) const;
  // The same; nothing before kSureFrom copies.
  std::optional<double> PredictSureUs(size_t path, const SpacePair& pair, int64_t bytes) const;

  void Observe(size_t path, const SpacePair& pair, int64_t bytes, TimeUs copy_us);
  void ObserveFailure(size_t path, const SpacePair& pair);

  // In the order of Add, then by spaces and size. Sizes never copied are left out, paths are not.
  std::vector<PathReport> Report() const;

 private:
  struct SizeClass {
    int64_t copies = 0;
    double log_miss = 0;    // mean of log(measured / line), forgetting
    double mean_bytes = 0;  // forgetting
    uint64_t taken = 0;     // turn of the pair and class in which it was last chosen
  };
  struct Cost {
    // Sums of weight, and of weight times bytes, us and their products.
    double w = 0, x = 0, y = 0, xx = 0, xy = 0;
    int64_t copies = 0;
    int64_t failures = 0;
    int failures_in_row = 0;
    std::array<SizeClass, kClassEnds.size()> classes;
  };
  struct Line {
    double latency_us = 0;
    double us_per_byte = 0;
  };
  using Key = std::tuple<size_t, SpacePair>;

  static size_t ClassOf(int64_t bytes);
  static Line LineOf(const Cost& cost);
  static double PredictUs(const Cost& cost, size_t size_class, double bytes);

  mutable std::mutex mutex_;
  std::vector<std::string> names_;
  std::map<Key, Cost> costs_;
  std::map<std::tuple<SpacePair, size_t>, uint64_t> turns_;  // by pair and class
};

}  // namespace baton
