#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/fpga_kernels/rtl/rtl_bench.h"

namespace baton::fpga {

// One header, query and codes for a distance engine of `lanes`, and what it must give: computed
// without any of the kernels.
struct DistanceCase {
  struct Shape {
    int lanes = 64;
    int64_t count = 0;
    int64_t beats = 1;
    uint32_t kept = 0;
    bool twice = false;  // shift 1
    bool extreme = false;
    bool ties = false;
    const DistanceCase* query_of = nullptr;  // sends no query: the one before stays
  };
  template <class Random>
  DistanceCase(const Shape& s, Random& random) : shape(s) {
    const auto number = [&] {
      return static_cast<int8_t>(s.extreme ? (random() % 2 == 0 ? 127 : -128)
                                 : s.ties  ? static_cast<int>(random() % 2)
                                           : static_cast<int>(random()));
    };
    const int64_t width = s.beats * s.lanes;
    for (int64_t i = 0; i < width; ++i) query.push_back(number());
    if (s.query_of != nullptr) query = s.query_of->query;
    const auto u32 = [](Item& item, size_t at, uint64_t value) {
      for (int i = 0; i < 4; ++i) item[4 * at + i] = static_cast<uint8_t>(value >> (8 * i));
    };
    Item header(s.lanes);
    u32(header, 0, static_cast<uint64_t>(s.count));
    u32(header, 1, static_cast<uint64_t>(s.beats));
    u32(header, 2, s.kept);
    u32(header, 3, s.twice ? 1 : 0);
    u32(header, 4, s.query_of == nullptr ? static_cast<uint64_t>(s.beats) : 0);
    head.push_back(header);
    if (s.query_of == nullptr) Append(query, head);

    std::vector<uint32_t> ids(s.count);
    for (int64_t i = 0; i < s.count; ++i) ids[i] = static_cast<uint32_t>(3 * i);
    std::shuffle(ids.begin(), ids.end(), random);
    std::vector<std::pair<int64_t, uint32_t>> scores;
    std::vector<int8_t> code(width);
    for (int64_t row = 0; row < s.count; ++row) {
      const int32_t bias =
          s.ties || !s.twice ? 0 : static_cast<int32_t>(random() % 2000000) - 1000000;
      int64_t product = 0;
      for (int64_t i = 0; i < width; ++i) {
        code[i] = number();
        product += int64_t{code[i]} * query[i];
      }
      Append(code, codes);
      Item label(8);
      u32(label, 0, ids[row]);
      u32(label, 1, static_cast<uint32_t>(bias));
      labels.push_back(label);
      scores.emplace_back((s.twice ? 2 * product : product) + bias, ids[row]);
    }
    if (s.kept > 0) {
      std::sort(scores.begin(), scores.end(), [](const auto& a, const auto& b) {
        return a.first != b.first ? a.first > b.first : a.second < b.second;
      });
      scores.resize(s.kept, {INT32_MIN, UINT32_MAX});
    }
    for (const auto& [score, id] : scores) {
      want.push_back(static_cast<uint64_t>(id) << 32 | static_cast<uint32_t>(score));
    }
  }

  Shape shape;
  std::vector<int8_t> query;
  std::vector<Item> head;   // header, query
  std::vector<Item> codes;  // beats
  std::vector<Item> labels;
  std::vector<uint64_t> want;

 private:
  void Append(const std::vector<int8_t>& bytes, std::vector<Item>& to) const {
    for (size_t at = 0; at < bytes.size(); at += static_cast<size_t>(shape.lanes)) {
      to.emplace_back(bytes.begin() + static_cast<int64_t>(at),
                      bytes.begin() + static_cast<int64_t>(at) + shape.lanes);
    }
  }
};

}  // namespace baton::fpga
