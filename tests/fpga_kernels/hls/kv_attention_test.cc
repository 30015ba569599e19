#include "fpga_kernels/hls/kv_attention.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <random>

#include "tests/fpga_kernels/naive_attention.h"
#include "tests/fpga_kernels/unit_chains.h"

namespace baton::fpga {
namespace {

struct Case {
  uint32_t units = 8;
  uint32_t heads = 4;
  uint32_t kv_heads = 2;
  uint32_t head_dim = 64;
  uint32_t block_tokens = 16;
  uint32_t position = 100;
  uint32_t window = 0;
  double query_size = 1;  // deviation
  double key_size = 1;
  double value_size = 1;
};

constexpr uint32_t kLayers = 3;
constexpr uint32_t kLayer = 1;
constexpr uint32_t kTableAt = 3;  // behind another sequence's

struct Vector {
  std::vector<int8_t> codes;
  float scale = 0;
};

Vector Pack(const std::vector<double>& values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  Vector packed;
  packed.scale = static_cast<float>(largest / 127);
  for (const double value : values) {
    packed.codes.push_back(largest == 0 ? int8_t{0}
                                        : static_cast<int8_t>(std::lround(value / largest * 127)));
  }
  return packed;
}

// A cache of all positions but the last one, which a run brings.
class Sequence {
 public:
  explicit Sequence(const Case& c)
      : c_(c), random_(c.head_dim * 1000 + c.position), banks_(c.units) {
    const uint32_t blocks = c.position / c.block_tokens + 1;
    for (uint32_t block = 0; block < blocks; ++block) {
      units_.push_back(static_cast<uint32_t>(random_() % c.units));
    }
    for (uint32_t unit = 0; unit < c.units; ++unit) {
      banks_[unit].blocks.assign(kTableAt, 1u << 30);
      // Slots in no order, and one that is another sequence's.
      auto slot = static_cast<uint32_t>(std::count(units_.begin(), units_.end(), unit));
      banks_[unit].bytes.assign((block_bytes() * (slot + 1) + 63) / 64 * 64, 0xa5);
      for (const uint32_t of : units_) {
        banks_[unit].blocks.push_back(of == unit ? slot-- : kKvElsewhere);
      }
      banks_[unit].blocks.push_back(1u << 30);  // none is read behind the last
    }
    for (uint32_t i = 0; i < 2 * c.kv_heads * (c.position + 1); ++i) {
      const bool key = i / c.kv_heads % 2 == 0;
      rows_.push_back(Pack(Random(key ? c.key_size : c.value_size)));
    }
    for (uint32_t p = 0; p < c.position; ++p) Place(p, banks_);
    for (uint32_t head = 0; head < c.heads; ++head) {
      const std::vector<double> values = Random(c.query_size);
      std::vector<int16_t> query;
      double largest = 1e-9;
      for (const double value : values) largest = std::max(largest, std::abs(value));
      shifts_.push_back(static_cast<int32_t>(std::floor(std::log2(32767 / largest))));
      for (const double value : values) {
        query.push_back(static_cast<int16_t>(std::lround(std::ldexp(value, shifts_.back()))));
      }
      queries_.push_back(query);
    }
  }

  // [heads * head_dim]
  std::vector<double> Run() {
    std::vector<KvBank> with_newest = banks_;
    Place(c_.position, with_newest);
    DecodeCommand command = {};
    command.op = kOpAttend;
    command.heads = c_.heads;
    command.kv_heads = c_.kv_heads;
    command.head_dim = c_.head_dim;
    command.layer = kLayer;
    command.layers = kLayers;
    command.window = c_.window;
    command.block_tokens = c_.block_tokens;
    command.position = c_.position;
    command.table_at = kTableAt;
    const double factor = std::log2(std::exp(1.0)) * scale();
    command.score_shift = 30 - std::ilogb(factor);
    command.score_mantissa = static_cast<uint32_t>(std::ldexp(factor, command.score_shift));
    std::vector<double> out;
    {
      KvChain chain(banks_);
      BATON_DATAFLOW(region);
      chain.Start(region);
      BATON_PROCESS(region, {
        chain.commands().write(command);
        chain.commands().write({});
      });
      BATON_PROCESS(region, Send(chain.heads()));
      BATON_PROCESS(region, out = Receive(chain.partials()));
    }
    CHECK(TakeDataflowFailure() == "");
    // The newest position is where it belongs, and nothing else was touched.
    for (uint32_t unit = 0; unit < c_.units; ++unit) {
      CHECK((banks_[unit].bytes == with_newest[unit].bytes));
    }
    return out;
  }

  std::vector<double> Want() const {
    const uint32_t positions = c_.position + 1;
    const uint32_t first = c_.window == 0 ? 0 : positions - std::min(positions, c_.window);
    std::vector<double> want;
    for (uint32_t head = 0; head < c_.heads; ++head) {
      const uint32_t kv_head = head / (c_.heads / c_.kv_heads);
      std::vector<double> query;
      for (const int16_t q : queries_[head]) query.push_back(std::ldexp(q, -shifts_[head]));
      std::vector<double> keys;
      std::vector<double> values;
      for (uint32_t p = first; p < positions; ++p) {
        for (const int8_t code : row(p, 0, kv_head).codes) {
          keys.push_back(double{row(p, 0, kv_head).scale} * code);
        }
        for (const int8_t code : row(p, 1, kv_head).codes) {
          values.push_back(double{row(p, 1, kv_head).scale} * code);
        }
      }
      const std::vector<double> out = NaiveAttention(query, keys, values, scale());
      want.insert(want.end(), out.begin(), out.end());
    }
    return want;
  }

 private:
  double scale() const { return 1 / std::sqrt(c_.head_dim); }
  size_t area_bytes() const { return c_.block_tokens * (c_.head_dim + sizeof(float)); }
  size_t block_bytes() const { return kLayers * 2 * c_.kv_heads * area_bytes(); }
  const Vector& row(uint32_t p, uint32_t plane, uint32_t kv_head) const {
    return rows_[(p * 2 + plane) * c_.kv_heads + kv_head];
  }
  std::vector<double> Random(double deviation) {
    std::normal_distribution<double> normal(0, deviation);
    std::vector<double> values(c_.head_dim);
    for (double& value : values) value = deviation == 0 ? 0 : normal(random_);
    return values;
  }
  void Place(uint32_t p, std::vector<KvBank>& banks) const {
    const uint32_t block = p / c_.block_tokens;
    KvBank& bank = banks[units_[block]];
    for (uint32_t plane = 0; plane < 2; ++plane) {
      for (uint32_t kv_head = 0; kv_head < c_.kv_heads; ++kv_head) {
        const Vector& vector = row(p, plane, kv_head);
        uint8_t* const area = bank.bytes.data() + bank.blocks[kTableAt + block] * block_bytes() +
                              ((kLayer * 2 + plane) * c_.kv_heads + kv_head) * area_bytes();
        std::memcpy(area + p % c_.block_tokens * c_.head_dim, vector.codes.data(), c_.head_dim);
        std::memcpy(area + size_t{c_.block_tokens} * c_.head_dim + p % c_.block_tokens * 4,
                    &vector.scale, 4);
      }
    }
  }
  static void SendBytes(const void* data, size_t bytes, Stream<Beat>& out) {
    for (size_t at = 0; at < bytes; at += kBeatBytes) {
      Beat beat = {};
      std::memcpy(beat.bytes, static_cast<const char*>(data) + at,
                  std::min<size_t>(kBeatBytes, bytes - at));
      out.write(beat);
    }
  }
  void Send(Stream<Beat>& heads) const {
    for (uint32_t kv_head = 0; kv_head < c_.kv_heads; ++kv_head) {
      const Vector& key = row(c_.position, 0, kv_head);
      const Vector& value = row(c_.position, 1, kv_head);
      const float scales[2] = {key.scale, value.scale};
      SendBytes(scales, sizeof(scales), heads);
      SendBytes(key.codes.data(), c_.head_dim, heads);
      SendBytes(value.codes.data(), c_.head_dim, heads);
      const uint32_t group = c_.heads / c_.kv_heads;
      for (uint32_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        SendBytes(&shifts_[head], 4, heads);
        SendBytes(queries_[head].data(), 2 * size_t{c_.head_dim}, heads);
      }
    }
  }
  std::vector<double> Receive(Stream<Beat>& partials) const {
    std::vector<double> out;
    for (uint32_t head = 0; head < c_.heads; ++head) {
      const double weight = std::ldexp(GetI64(partials.read(), 1), -30);
      for (uint32_t at = 0; at < c_.head_dim; at += 8) {
        const Beat beat = partials.read();
        for (uint32_t i = 0; i < 8 && at + i < c_.head_dim; ++i) {
          out.push_back(std::ldexp(GetI64(beat, static_cast<int>(i)), -28) / weight);
        }
      }
    }
    return out;
  }

  const Case c_;
  std::mt19937_64 random_;
  std::vector<uint32_t> units_;  // of each block
  std::vector<KvBank> banks_;
  std::vector<Vector> rows_;  // [positions, 2, kv_heads]
  std::vector<std::vector<int16_t>> queries_;
  std::vector<int32_t> shifts_;
};

// The largest error, as a share of the values' size.
double ErrorOf(const Case& c) {
  Sequence sequence(c);
  const std::vector<double> got = sequence.Run();
  const std::vector<double> want = sequence.Want();
  REQUIRE(got.size() == want.size());
  double error = 0;
  for (size_t i = 0; i < want.size(); ++i) error = std::max(error, std::abs(got[i] - want[i]));
  return c.value_size == 0 ? error : error / c.value_size;
}

TEST_CASE("attention over any number of positions, in any number of banks") {
  for (const uint32_t units : {1u, 3u, 8u}) {
    for (const uint32_t position : {0u, 1u, 15u, 16u, 17u, 127u, 128u, 130u, 700u}) {
      INFO("units " << units << " position " << position);
      CHECK(ErrorOf({.units = units, .position = position}) < 1e-4);
    }
  }
}

TEST_CASE("heads of any size and grouping, blocks of any length") {
  for (const uint32_t head_dim : {8u, 40u, 64u, 80u, 128u, 256u}) {
    for (const uint32_t block_tokens : {8u, 64u}) {
      INFO("head_dim " << head_dim << " block_tokens " << block_tokens);
      CHECK(ErrorOf({.head_dim = head_dim, .block_tokens = block_tokens}) < 1e-4);
    }
  }
  CHECK(ErrorOf({.heads = 16, .kv_heads = 1}) < 1e-4);
  CHECK(ErrorOf({.heads = 3, .kv_heads = 3}) < 1e-4);
  CHECK(ErrorOf({.heads = 32, .kv_heads = 8, .position = 40}) < 1e-4);
}

TEST_CASE("a window leaves out what lies before it") {
  for (const uint32_t window : {1u, 2u, 16u, 17u, 100u, 101u, 102u, 4096u}) {
    INFO("window " << window);
    CHECK(ErrorOf({.window = window}) < 1e-4);
  }
}

TEST_CASE("small, large and zero numbers") {
  CHECK(ErrorOf({.query_size = 30, .key_size = 30}) < 1e-4);  // nearly one position each
  CHECK(ErrorOf({.query_size = 3000, .key_size = 500}) < 1e-4);
  CHECK(ErrorOf({.query_size = 1e-4, .key_size = 1e-4}) < 1e-4);
  CHECK(ErrorOf({.query_size = 0}) < 1e-4);
  CHECK(ErrorOf({.key_size = 0}) < 1e-4);
  CHECK(ErrorOf({.value_size = 0}) == 0);
  CHECK(ErrorOf({.value_size = 5000}) < 1e-4);
  CHECK(ErrorOf({.value_size = 0.01}) < 1e-4);
}

}  // namespace
}  // namespace baton::fpga
