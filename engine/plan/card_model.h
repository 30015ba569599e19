#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/plan/service_curve.h"
#include "fpga_kernels/card_cycles.h"

namespace baton::plan {

// An FPGA as fpga_kernels/cards/NAME.spec has it.
struct FpgaCard {
  std::string_view name;
  int clock_mhz = 0;  // asked of the linker, reached by nobody
  uint32_t gemv_banks = 0;
  uint32_t kv_units = 0;
  uint32_t search_units = 0;
  int64_t bank_bytes = 0;    // of one bank
  bool separate_kv = false;  // weights have banks to themselves; else each bank holds all kinds
  fpga::BankTiming bank;     // in cycles of the clock
  double peak_gb_per_s = 0;  // of all memory, as it is sold
  std::string_view sources;  // of the bank's timing
};
// Null: there is no such card.
const FpgaCard* FindFpgaCard(std::string_view name);
std::string FpgaCardNames();  // "u55c, u250"

// What a device file says of a card, beside its name.
struct CardUse {
  const FpgaCard* card = nullptr;
  double clock_mhz = 0;     // 0: the card's
  double run_us = 30;       // assumed: what the host takes to start a run and see its end
  int64_t positions = 512;  // of a sequence, its mean while it is decoded
  int64_t sequences = 8;    // whose keys and values the card has room for
  std::optional<fpga::DecoderSize> model;
  std::optional<fpga::GraphSize> collection;
};

// A token of a model on a card.
struct CardDecode {
  int64_t weight_bytes = 0;  // that a token reads, with scales
  int64_t kv_bytes = 0;      // of a position
  double weights_ms = 0;
  double vectors_ms = 0;
  double attention_ms = 0;
  double run_ms = 0;
  double token_ms() const { return weights_ms + vectors_ms + attention_ms + run_ms; }
  double tokens_per_second() const { return 1000 / token_ms(); }
  double memory_tokens_per_second = 0;  // were reading weights all there is to do
};

// A query of a collection on it.
struct CardSearch {
  int64_t bytes = 0;
  int64_t parts = 1;    // banks that the collection is spread over
  int64_t at_once = 1;  // queries
  double query_ms = 0;
};

// What the model of a card comes to. Times are of one card that does nothing else.
struct CardFigures {
  std::string card;
  double clock_mhz = 0;
  int64_t ports = 0;      // that read weights
  double efficiency = 0;  // share of a port's cycles that bring a beat
  double gb_per_s = 0;    // of all ports, with it
  double peak_gb_per_s = 0;
  std::optional<CardDecode> decode;
  std::optional<CardSearch> search;
  std::vector<std::string> too_large;  // what the card has no room for, with the bytes
  std::vector<std::string> assumptions;
};
CardFigures ModelCard(const CardUse& use);

// What of the figures a plan computes with: decode, search_single and search_bulk, as far as the
// card has room. Its units are taken to take turns.
std::vector<ServiceCurve> CurvesOf(const CardFigures& figures, const CardUse& use);

}  // namespace baton::plan
