#include "engine/plan/card_model.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/base/strings.h"

namespace baton::plan {
namespace {

constexpr double kBeatBytes = 64;
constexpr double kBulkQueriesMax = 512;

// Banks' timing in cycles of 225 MHz.
constexpr std::array<FpgaCard, 2> kCards = {
    FpgaCard{.name = "u55c",
             .clock_mhz = 225,
             .gemv_banks = 24,
             .kv_units = 8,
             .search_units = 4,
             .bank_bytes = int64_t{512} << 20,
             .separate_kv = true,
             .bank = {},
             .peak_gb_per_s = 460,
             .sources = "HBM2 as cycle_model.h has it: refresh of 260 ns each 3.9 us"},
    // tREFI 7.8 us, tRFC 350 ns (JESD79-4, 8 Gb).
    FpgaCard{.name = "u250",
             .clock_mhz = 225,
             .gemv_banks = 4,
             .kv_units = 4,
             .search_units = 4,
             .bank_bytes = int64_t{16} << 30,
             .separate_kv = false,
             .bank = {.refresh_period_cycles = 1755, .refresh_cycles = 79},
             .peak_gb_per_s = 77,
             .sources = "DDR4: refresh of 350 ns each 7.8 us"}};

int64_t KvBytesOf(const fpga::DecoderSize& model) {
  return static_cast<int64_t>(
      fpga::KvBlockBytes(static_cast<uint64_t>(model.layers), static_cast<uint64_t>(model.kv_heads),
                         fpga::KvAreaBytes(1, static_cast<uint64_t>(model.head_dim))));
}

// What its kernels cannot take; empty: all of it.
std::string LimitOf(const fpga::DecoderSize& model) {
  const auto above = [](std::string_view what, int64_t value, int64_t limit) {
    return StrCat("model: ", what, " is ", value, ", the kernels take at most ", limit);
  };
  if (model.dim > fpga::kDecodeDimMax) return above("dim", model.dim, fpga::kDecodeDimMax);
  if (model.ffn_dim > fpga::kDecodeFfnMax) {
    return above("ffn_dim", model.ffn_dim, fpga::kDecodeFfnMax);
  }
  if (model.head_dim > fpga::kDecodeHeadDimMax) {
    return above("head_dim", model.head_dim, fpga::kDecodeHeadDimMax);
  }
  if (model.qkv_rows() > fpga::kDecodeQkvMax) {
    return above("(heads + 2 * kv_heads) * head_dim", model.qkv_rows(), fpga::kDecodeQkvMax);
  }
  if (model.heads / model.kv_heads > fpga::kDecodeGroupMax) {
    return above("heads / kv_heads", model.heads / model.kv_heads, fpga::kDecodeGroupMax);
  }
  return "";
}

class CardModel {
 public:
  explicit CardModel(const CardUse& use) : use_(use), card_(*use.card), bank_(card_.bank) {
    figures_.card = std::string(card_.name);
    figures_.clock_mhz = use.clock_mhz > 0 ? use.clock_mhz : card_.clock_mhz;
    // Memory keeps its own time: at another clock its waits are other numbers of cycles.
    const double scale = figures_.clock_mhz / card_.clock_mhz;
    bank_.latency_cycles *= scale;
    bank_.refresh_period_cycles *= scale;
    bank_.refresh_cycles *= scale;
    figures_.ports = card_.gemv_banks;
    figures_.peak_gb_per_s = card_.peak_gb_per_s;
    // A port gives a beat a cycle, but no more than its part of the memory has.
    const double port_gb_per_s = kBeatBytes * figures_.clock_mhz / 1000;
    figures_.efficiency = bank_.beats_per_cycle();
    figures_.gb_per_s = static_cast<double>(figures_.ports) * port_gb_per_s * figures_.efficiency;
  }

  CardFigures Run() {
    if (use_.model) RunDecode(*use_.model);
    if (use_.collection) RunSearch(*use_.collection);
    AddAssumptions();
    return std::move(figures_);
  }

 private:
  double Ms(double cycles) const { return cycles / figures_.clock_mhz / 1000; }

  void RunDecode(const fpga::DecoderSize& model) {
    if (const std::string limit = LimitOf(model); !limit.empty()) {
      figures_.too_large.push_back(limit);
      return;
    }
    const auto weights = static_cast<int64_t>(fpga::WeightBytesOfBank(model, card_.gemv_banks));
    const int64_t kv_bytes = KvBytesOf(model);
    const auto kv_units = static_cast<int64_t>(card_.kv_units);
    const int64_t kv = (kv_bytes * use_.positions * use_.sequences + kv_units - 1) / kv_units;
    if (weights > card_.bank_bytes) {
      figures_.too_large.push_back(StrCat("the model: its weights take ", weights,
                                          " bytes of each of ", card_.gemv_banks,
                                          " banks, which have ", card_.bank_bytes));
      return;
    }
    kv_left_ = card_.bank_bytes - kv - (card_.separate_kv ? 0 : weights);
    if (kv_left_ < 0) {
      figures_.too_large.push_back(StrCat(
          "the model: keys and values of ", use_.sequences, " sequences of ", use_.positions,
          " positions take ", kv, " bytes of each of ", card_.kv_units, " banks, which have ",
          card_.bank_bytes - (card_.separate_kv ? 0 : weights), " left"));
      kv_left_ = card_.bank_bytes;
      return;
    }
    const fpga::TokenCycles cycles = fpga::CyclesOfToken(
        model, {.gemv_banks = card_.gemv_banks, .kv_units = card_.kv_units, .bank = bank_},
        use_.positions);
    CardDecode& decode = figures_.decode.emplace();
    decode.weight_bytes = weights * card_.gemv_banks;
    decode.kv_bytes = kv_bytes;
    decode.weights_ms = Ms(cycles.weights);
    decode.vectors_ms = Ms(cycles.vectors);
    decode.attention_ms = Ms(cycles.attention);
    decode.run_ms = use_.run_us / 1000;
    decode.memory_tokens_per_second =
        1e9 * figures_.gb_per_s / static_cast<double>(decode.weight_bytes);
  }

  void RunSearch(const fpga::GraphSize& graph) {
    const int64_t left = std::max<int64_t>(0, kv_left_ < 0 ? card_.bank_bytes : kv_left_);
    const auto units = static_cast<int64_t>(card_.search_units);
    if (graph.code_beats() > fpga::kSearchBeatsMax) {
      figures_.too_large.push_back(StrCat("the collection: dimension is ", graph.dimension,
                                          ", the kernels take at most ",
                                          64 * fpga::kSearchBeatsMax));
      return;
    }
    // Each part is a graph of its own.
    int64_t parts = (graph.vectors + fpga::kGraphNodesMax - 1) / fpga::kGraphNodesMax;
    if (left > 0) parts = std::max(parts, (graph.bytes() + left - 1) / left);
    if (left == 0 || parts > units) {
      figures_.too_large.push_back(
          StrCat("the collection: it takes ", graph.bytes(), " bytes, and ", units, " banks have ",
                 left, " left each, for at most ", fpga::kGraphNodesMax, " vectors"));
      return;
    }
    fpga::GraphSize part = graph;
    part.vectors = (graph.vectors + parts - 1) / parts;
    CardSearch& search = figures_.search.emplace();
    search.bytes = graph.bytes();
    search.parts = parts;
    search.at_once = units / parts;
    search.query_ms = Ms(fpga::CyclesOfWalk(part, bank_));
  }

  void AddAssumptions() {
    std::vector<std::string>& lines = figures_.assumptions;
    lines.push_back(StrCat("never synthesised, never run: ", figures_.clock_mhz,
                           " MHz is asked for, not reached"));
    lines.push_back(StrCat(card_.gemv_banks, " ports of 64 bytes a cycle, of which ",
                           std::lround(100 * figures_.efficiency), " % bring weights; ",
                           card_.sources));
    lines.push_back(
        "weights: the cycle model that is held against the lane's RTL behind a simulated bank");
    if (figures_.decode) {
      lines.push_back(
          "vectors and attention: trip counts of the HLS kernels at the intervals that they ask "
          "for, without RTL");
      lines.push_back(StrCat("a sequence at a time, ", use_.positions,
                             " positions before the token; ", use_.run_us,
                             " us of the host for each run, assumed"));
    }
    if (figures_.search) {
      lines.push_back(StrCat("a walk scores ", use_.collection->codes_per_query,
                             " codes, those of a step read together"));
    }
    if (figures_.decode && figures_.search) lines.push_back("decodes and searches take turns");
  }

  const CardUse& use_;
  const FpgaCard& card_;
  fpga::BankTiming bank_;
  CardFigures figures_;
  int64_t kv_left_ = -1;  // of a bank that holds keys and values; -1: there is no model
};

}  // namespace

const FpgaCard* FindFpgaCard(std::string_view name) {
  for (const FpgaCard& card : kCards) {
    if (card.name == name) return &card;
  }
  return nullptr;
}

std::string FpgaCardNames() {
  std::string names;
  for (const FpgaCard& card : kCards) names += StrCat(names.empty() ? "" : ", ", card.name);
  return names;
}

CardFigures ModelCard(const CardUse& use) { return CardModel(use).Run(); }

std::vector<ServiceCurve> CurvesOf(const CardFigures& figures, const CardUse& use) {
  std::vector<ServiceCurve> curves;
  if (figures.decode) {
    // Each sequence's token is a run of its own.
    const auto sequences = static_cast<double>(use.sequences);
    const double token_ms = figures.decode->token_ms();
    ServiceCurve& decode = curves.emplace_back();
    decode.work_class = WorkClass::kDecode;
    decode.points.push_back({1, token_ms});
    if (sequences > 1) decode.points.push_back({sequences, sequences * token_ms});
  }
  if (figures.search) {
    const double run_ms = use.run_us / 1000;
    const auto at_once = static_cast<double>(figures.search->at_once);
    ServiceCurve& single = curves.emplace_back();
    single.work_class = WorkClass::kSearchSingle;
    single.points.push_back({1, figures.search->query_ms + run_ms});
    ServiceCurve& bulk = curves.emplace_back();
    bulk.work_class = WorkClass::kSearchBulk;
    bulk.points.push_back({at_once, figures.search->query_ms + run_ms});
    bulk.points.push_back(
        {kBulkQueriesMax, kBulkQueriesMax / at_once * figures.search->query_ms + run_ms});
  }
  return curves;
}

}  // namespace baton::plan
