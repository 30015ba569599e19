#include <catch2/catch.hpp>

#include "Vgemv_lane.h"
#include "tests/fpga_kernels/naive_gemv.h"
#include "tests/fpga_kernels/rtl/rtl_bench.h"
#include "tests/support/figure.h"

namespace baton::fpga {
namespace {

void AppendBeats(const std::vector<uint8_t>& bytes, std::vector<Item>& beats) {
  for (size_t at = 0; at < bytes.size(); at += 64) {
    beats.emplace_back(bytes.begin() + static_cast<int64_t>(at),
                       bytes.begin() + static_cast<int64_t>(at) + 64);
  }
}

Values SomeValues(std::mt19937_64& random) {
  return std::vector<Values>{Values::kRandom, Values::kRandom,  Values::kRandom,
                             Values::kLowest, Values::kHighest, Values::kZero}[random() % 6];
}

TEST_CASE("a lane gives what a naive product gives, bit by bit") {
  std::mt19937_64 random(1);
  int products = 0;
  int exact = 0;
  for (const double waits : {0.0, 0.3, 0.7}) {
    std::vector<Item> beats;
    std::vector<std::vector<int64_t>> want;
    size_t wanted = 0;
    for (int i = 0; i < 70; ++i) {
      const auto blocks = static_cast<int64_t>(i % 17 == 0 ? kGemvBlocksMax : 1 + random() % 40);
      const auto rows = static_cast<int64_t>(random() % (blocks > 40 ? 3 : 30));
      const NaiveMatrix matrix = MakeMatrix({rows, blocks}, SomeValues(random), random);
      const std::vector<int16_t> x = MakeX(matrix.cols(), SomeValues(random), random);
      std::vector<uint8_t> head(64);
      for (int byte = 0; byte < 4; ++byte) {
        head[byte] = static_cast<uint8_t>(rows >> (8 * byte));
        head[4 + byte] = static_cast<uint8_t>(blocks >> (8 * byte));
      }
      for (const int16_t value : x) {
        head.push_back(static_cast<uint8_t>(value));
        head.push_back(static_cast<uint8_t>(static_cast<uint16_t>(value) >> 8));
      }
      AppendBeats(head, beats);
      AppendBeats(BankImages(matrix, 1)[0], beats);
      if (i % 9 == 0) beats.emplace_back(64);  // a header that is passed over
      want.push_back(NaiveGemv(matrix, x));
      wanted += want.back().size();
    }
    Vgemv_lane model;
    ListSource in(beats, waits, random());
    const RtlRun run = RunRtl(
        model, in, nullptr,
        {.wanted = wanted, .out_wait_share = waits, .cycles_max = 2'000'000, .seed = random()});
    CHECK(run.failure == "");
    REQUIRE(run.out.size() == wanted);
    size_t at = 0;
    for (const std::vector<int64_t>& sums : want) {
      ++products;
      bool same = true;
      for (const int64_t sum : sums) same = static_cast<int64_t>(run.out[at++]) == sum && same;
      if (same) ++exact;
    }
  }
  WARN(exact << " of " << products << " products exact");
  PrintFigure("rtl.exact_share", static_cast<double>(exact) / products);
  CHECK(products >= 200);
  CHECK(exact == products);
}

}  // namespace
}  // namespace baton::fpga
