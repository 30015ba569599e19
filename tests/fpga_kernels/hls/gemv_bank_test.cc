#include "fpga_kernels/hls/gemv_bank.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "tests/fpga_kernels/naive_gemv.h"
#include "tests/fpga_kernels/unit_chains.h"

namespace baton::fpga {
namespace {

struct Product {
  NaiveMatrix matrix;
  std::vector<int16_t> x;
};

// All matrices in one run, one behind the other in each bank.
std::vector<std::vector<int64_t>> Run(const std::vector<Product>& products, int64_t units) {
  std::vector<std::vector<Beat>> banks(units, std::vector<Beat>(3));
  std::vector<DecodeCommand> commands;
  for (const Product& product : products) {
    DecodeCommand command = {};
    command.op = kOpGemv;
    command.rows = static_cast<uint32_t>(product.matrix.rows);
    command.cols = static_cast<uint32_t>(product.matrix.cols());
    size_t at = 0;
    for (const std::vector<Beat>& bank : banks) at = std::max(at, bank.size());
    command.bank_beat = at;
    commands.push_back(command);
    const auto images = BankImages(product.matrix, units);
    for (int64_t bank = 0; bank < units; ++bank) {
      banks[bank].resize(at + images[bank].size() / kBeatBytes);
      if (images[bank].empty()) continue;
      std::memcpy(banks[bank].data() + at, images[bank].data(), images[bank].size());
    }
  }
  commands.push_back({});

  std::vector<std::vector<int64_t>> sums;
  {
    BankChain chain(banks);
    BATON_DATAFLOW(region);
    chain.Start(region);
    BATON_PROCESS(region, for (const DecodeCommand& command
                               : commands) chain.commands()
                              .write(command));
    BATON_PROCESS(
        region, for (const Product& product
                     : products) {
          for (size_t at = 0; at < product.x.size(); at += kGemvXPerBeat) {
            Beat beat;
            std::memcpy(beat.bytes, product.x.data() + at, sizeof(beat));
            chain.x().write(beat);
          }
        });
    BATON_PROCESS(
        region, for (const Product& product
                     : products) {
          sums.emplace_back();
          for (int64_t row = 0; row < product.matrix.rows; ++row) {
            sums.back().push_back(chain.sums().read());
          }
        });
  }
  CHECK(TakeDataflowFailure() == "");
  return sums;
}

TEST_CASE("banks give what one naive product gives, row by row") {
  std::mt19937_64 random(1);
  for (const int64_t units : {1, 3, 24}) {
    std::vector<Product> products;
    for (const NaiveMatrixShape shape : std::initializer_list<NaiveMatrixShape>{
             {1, 1}, {2, 3}, {7, 32}, {23, 33}, {24, 1}, {25, 31}, {49, 5}, {0, 2}, {100, 17}}) {
      products.push_back({.matrix = MakeMatrix(shape, Values::kRandom, random), .x = {}});
      products.back().x = MakeX(products.back().matrix.cols(), Values::kRandom, random);
    }
    const auto sums = Run(products, units);
    REQUIRE(sums.size() == products.size());
    for (size_t i = 0; i < products.size(); ++i) {
      INFO("units " << units << " product " << i);
      CHECK(sums[i] == NaiveGemv(products[i].matrix, products[i].x));
    }
  }
}

TEST_CASE("the longest rows of the largest numbers stay within 64 bits") {
  std::mt19937_64 random(2);
  std::vector<Product> products;
  for (const Values weights : {Values::kLowest, Values::kHighest, Values::kZero}) {
    for (const Values x : {Values::kLowest, Values::kHighest, Values::kZero}) {
      products.push_back({.matrix = MakeMatrix({2, kGemvBlocksMax}, weights, random),
                          .x = MakeX(int64_t{kGemvBlocksMax} * kGemvLanes, x, random)});
    }
  }
  const auto sums = Run(products, 2);
  for (size_t i = 0; i < products.size(); ++i) {
    const std::vector<int64_t> want = NaiveGemv(products[i].matrix, products[i].x);
    REQUIRE(want.size() == 2);
    CHECK(sums[i] == want);
  }
}

}  // namespace
}  // namespace baton::fpga
