#include "engine/exec/fpga/plugin/card.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "engine/exec/fpga/plugin/sensors.h"
#include "engine/exec/fpga/plugin/xrt_guard.h"
#include "experimental/xrt_xclbin.h"
#include "fpga_kernels/card_args.h"
#include "fpga_kernels/xclbin_args.h"
#include "xrt/xrt_bo.h"
#include "xrt/xrt_device.h"
#include "xrt/xrt_kernel.h"

namespace baton::fpga {
namespace {

// Of each kernel: which arguments are pointers, and whether a card can do without it.
struct KernelTraits {
  const char* name;
  std::vector<int> pointers;
};
const KernelTraits& TraitsOf(Kernel kernel) {
  static const std::array<KernelTraits, kKernelCount> traits = {{
      {"sequencer", {kSequencerProgram, kSequencerSampling, kSequencerResult}},
      {"vector_unit", {kVectorUnitVectors, kVectorUnitEmbeddings}},
      {"sampler", {kSamplerLogitsOut}},
      {"gemv_bank", {kGemvBankBank}},
      {"kv_attention", {kKvAttentionKv, kKvAttentionBlocks}},
      {"hnsw_search",
       {kHnswSearchArgs, kHnswSearchQueries, kHnswSearchCodes, kHnswSearchBiases, kHnswSearchLinks,
        kHnswSearchUpperLinks, kHnswSearchLive, kHnswSearchFineQueries, kHnswSearchFine,
        kHnswSearchHits}},
  }};
  return traits[static_cast<size_t>(kernel)];
}

int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

const char* Name(Kernel kernel) { return TraitsOf(kernel).name; }

struct Card::Session {
  xrt::device device;
  xrt::xclbin image;
  xrt::uuid uuid;
  std::array<std::vector<xrt::kernel>, kKernelCount> units;
  std::map<int32_t, xrt::bo> arenas;
  std::map<std::pair<Kernel, uint32_t>, xrt::run> runs;
  std::vector<xrt::run> decoder;  // running; empty: not started

  xrt::bo Part(const CardBuffer& buffer) {
    return xrt::bo(arenas.at(buffer.bank), buffer.bytes, buffer.at);
  }
};

Card::Card(const baton_host& host, Options options) : host_(host), options_(std::move(options)) {}

Fault Card::Open(const baton_host& host, const Options& options, std::unique_ptr<Card>* card) {
  if (options.xclbin.empty()) {
    return {BATON_NOT_FOUND, "no xclbin is configured: executors.fpga.xclbin names the file"};
  }
  std::unique_ptr<Card> opened(new Card(host, options));
  BATON_PLUGIN_TRY(opened->OpenSession());
  *card = std::move(opened);
  return {};
}

Card::~Card() {
  EndDecoder();
  // XRT throws from destructors of what is still busy, too.
  const Fault closed = Guarded("closing the card", [&]() -> Fault {
    session_.reset();
    return {};
  });
  if (closed.failed()) host_.log(BATON_LOG_WARN, closed.message().c_str());
}

Fault Card::OpenSession() {
  auto session = std::make_unique<Session>();
  const std::string xclbin = Text("xclbin \"", options_.xclbin, "\"");
  BATON_PLUGIN_TRY(CheckXclbin());  // XRT believes what a file's header says
  BATON_PLUGIN_TRY(Guarded(xclbin.c_str(), [&]() -> Fault {
    session->image = xrt::xclbin(options_.xclbin);
    return {};
  }));
  const Fault opened = Guarded("the card does not open", [&]() -> Fault {
    session->device = xrt::device(options_.index);
    name_ = session->device.get_info<xrt::info::device::name>();
    return {};
  });
  if (opened.failed()) return {BATON_UNAVAILABLE, opened.message()};
  session_ = std::move(session);
  // A card's driver refuses what is for another shell, in a number.
  const Fault loaded = Guarded(xclbin.c_str(), [&]() -> Fault {
    session_->uuid = session_->device.load_xclbin(session_->image);
    return {};
  });
  if (loaded.failed()) {
    std::string shell;
    BATON_PLUGIN_TRY(Guarded(xclbin.c_str(), [&]() -> Fault {
      shell = session_->image.get_xsa_name();
      return {};
    }));
    return {BATON_INVALID_ARGUMENT, Text(loaded.message(), "; it was made for ", shell,
                                         ", the card that refuses it is ", name_)};
  }
  BATON_PLUGIN_TRY(Guarded(xclbin.c_str(), [&]() -> Fault {
    emulated_ = session_->image.get_target_type() != xrt::xclbin::target_type::hw;
    return {};
  }));
  BATON_PLUGIN_TRY(Guarded(xclbin.c_str(), [&] { return DescribeUnits(); }));
  return MakeArenas();
}

Fault Card::CheckXclbin() const {
  std::ifstream stream(options_.xclbin, std::ios::binary);
  const std::string file((std::istreambuf_iterator<char>(stream)),
                         std::istreambuf_iterator<char>());
  if (!stream) {
    return {BATON_INVALID_ARGUMENT, Text("xclbin \"", options_.xclbin, "\" cannot be read")};
  }
  uint32_t version = 0;
  const char* const fault =
      FaultOfXclbin(reinterpret_cast<const uint8_t*>(file.data()), file.size(), &version);
  if (fault != nullptr) {
    return {BATON_INVALID_ARGUMENT, Text("xclbin \"", options_.xclbin, "\": ", fault)};
  }
  if (version == kContractVersion) return {};
  return {BATON_INVALID_ARGUMENT,
          Text("xclbin \"", options_.xclbin,
               "\" was not made for this daemon: it wants contract version ", kContractVersion,
               ", the file has ", version == 0 ? "none" : Text("version ", version))};
}

// Throws what XRT throws.
Fault Card::DescribeUnits() {
  std::vector<xrt::xclbin::kernel> kernels = session_->image.get_kernels();
  const bool first = banks_[0].empty();
  for (size_t k = 0; k < kKernelCount; ++k) {
    const KernelTraits& traits = TraitsOf(static_cast<Kernel>(k));
    const auto found = std::find_if(
        kernels.begin(), kernels.end(),
        [&](const xrt::xclbin::kernel& kernel) { return kernel.get_name() == traits.name; });
    if (found == kernels.end()) {
      return {BATON_INVALID_ARGUMENT,
              Text("xclbin \"", options_.xclbin, "\" has no kernel ", traits.name)};
    }
    const size_t units = found->get_cus().size();
    for (size_t unit = 0; unit < units; ++unit) {
      const std::string cu = Text(traits.name, ":{", traits.name, "_", unit, "}");
      session_->units[k].emplace_back(session_->device, session_->uuid, cu);
      std::vector<int32_t> banks;
      for (const int pointer : traits.pointers) {
        banks.resize(static_cast<size_t>(pointer) + 1, -1);
        banks.back() = static_cast<int32_t>(session_->units[k].back().group_id(pointer));
      }
      if (first) banks_[k].push_back(std::move(banks));
    }
  }
  return {};
}

Fault Card::MakeArenas() {
  std::map<int32_t, uint64_t> sizes;
  BATON_PLUGIN_TRY(Guarded("the card's banks", [&]() -> Fault {
    for (const xrt::xclbin::mem& mem : session_->image.get_mems()) {
      sizes[mem.get_index()] = mem.get_size_kb() * 1024;
    }
    return {};
  }));
  std::set<int32_t> used;
  for (const auto& kernel : banks_) {
    for (const auto& unit : kernel) {
      for (const int32_t bank : unit) {
        if (bank >= 0) used.insert(bank);
      }
    }
  }
  for (const int32_t bank : used) {
    uint64_t bytes = sizes[bank] / Ranges::kPage * Ranges::kPage;
    if (options_.bank_bytes_max > 0) bytes = std::min(bytes, options_.bank_bytes_max);
    const std::string what = Text("an arena of ", bytes, " bytes in bank ", bank);
    BATON_PLUGIN_TRY(Guarded(what.c_str(), [&]() -> Fault {
      session_->arenas.emplace(bank, xrt::bo(session_->device, bytes, xrt::bo::flags::normal,
                                             static_cast<xrt::memory_group>(bank)));
      return {};
    }));
    const std::lock_guard lock(arenas_mutex_);
    arenas_.try_emplace(bank, bytes);
  }
  return {};
}

Fault Card::Enter() const {
  const std::shared_lock lock(session_mutex_);
  if (session_ == nullptr) return {BATON_UNAVAILABLE, lost_};
  return {};
}

uint64_t Card::memory_bytes_total() const {
  const std::lock_guard lock(arenas_mutex_);
  uint64_t bytes = 0;
  for (const auto& [bank, arena] : arenas_) bytes += arena.bytes();
  return bytes;
}

uint64_t Card::memory_bytes_used() const {
  const std::lock_guard lock(arenas_mutex_);
  uint64_t bytes = 0;
  for (const auto& [bank, arena] : arenas_) bytes += arena.used();
  return bytes;
}

uint64_t Card::BytesLeft(int32_t bank) const {
  const std::lock_guard lock(arenas_mutex_);
  const Ranges& arena = arenas_.at(bank);
  return arena.bytes() - arena.used();
}

void Card::Sample(baton_device_sample* sample) {
  constexpr int64_t kSensorsEveryMs = 1000;
  sample->memory_bytes_used = memory_bytes_used();
  sample->memory_bytes_total = memory_bytes_total();
  const std::shared_lock lock(session_mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return;  // it is being reset
  if (session_ == nullptr) {
    sample->lost = 1;
    std::snprintf(sample->reason, sizeof(sample->reason), "%s", lost_.c_str());
    return;
  }
  const std::lock_guard sampling(sample_mutex_);
  if (sampled_at_ms_ < 0 || NowMs() - sampled_at_ms_ >= kSensorsEveryMs) {
    sampled_at_ms_ = NowMs();
    sampled_.temperature_c = sampled_.power_w = -1;
    // A card that does not tell throws, or says nothing.
    std::string thermal;
    std::string electrical;
    (void)Guarded("sensors", [&]() -> Fault {
      thermal = session_->device.get_info<xrt::info::device::thermal>();
      return {};
    });
    (void)Guarded("sensors", [&]() -> Fault {
      electrical = session_->device.get_info<xrt::info::device::electrical>();
      return {};
    });
    ReadSensors(thermal, electrical, &sampled_);
  }
  sample->temperature_c = sampled_.temperature_c;
  sample->power_w = sampled_.power_w;
}

uint32_t Card::UnitsOf(Kernel kernel) const {
  return static_cast<uint32_t>(banks_[static_cast<size_t>(kernel)].size());
}

int32_t Card::BankOf(Kernel kernel, uint32_t unit, int argument) const {
  return banks_[static_cast<size_t>(kernel)][unit][static_cast<size_t>(argument)];
}

std::vector<int32_t> Card::BanksOf(Kernel kernel, int argument) const {
  std::vector<int32_t> banks;
  for (uint32_t unit = 0; unit < UnitsOf(kernel); ++unit) {
    banks.push_back(BankOf(kernel, unit, argument));
  }
  return banks;
}

Fault Card::Allocate(const char* what, std::vector<int32_t> banks, uint64_t bytes,
                     CardMemory* memory) {
  const std::set<int32_t> distinct(banks.begin(), banks.end());
  const std::lock_guard lock(arenas_mutex_);
  std::vector<Ranges*> arenas;
  uint64_t left = UINT64_MAX;
  for (const int32_t bank : distinct) {
    Ranges& arena = arenas_.at(bank);
    arenas.push_back(&arena);
    left = std::min(left, arena.bytes() - arena.used());
  }
  const uint64_t at = bytes == 0 ? Ranges::kNone : TakeInAll(arenas, bytes);
  if (at == Ranges::kNone) {
    return {BATON_RESOURCE_EXHAUSTED,
            Text(what, " needs ", bytes, " bytes of each of ", distinct.size(),
                 " banks of the FPGA, of which the fullest has ", left)};
  }
  *memory = {.banks = {distinct.begin(), distinct.end()}, .at = at, .bytes = bytes};
  return {};
}

void Card::Free(const CardMemory& memory) {
  const std::lock_guard lock(arenas_mutex_);
  for (const int32_t bank : memory.banks) arenas_.at(bank).Give(memory.at);
}

Fault Card::Write(int32_t bank, uint64_t at, const void* data, uint64_t bytes) {
  const std::shared_lock lock(session_mutex_);
  if (session_ == nullptr) return {BATON_UNAVAILABLE, lost_};
  if (bytes == 0) return {};
  return Guarded("a copy to the FPGA", [&]() -> Fault {
    xrt::bo& arena = session_->arenas.at(bank);
    arena.write(data, bytes, at);
    arena.sync(XCL_BO_SYNC_BO_TO_DEVICE, bytes, at);
    return {};
  });
}

Fault Card::Read(int32_t bank, uint64_t at, void* data, uint64_t bytes) {
  const std::shared_lock lock(session_mutex_);
  if (session_ == nullptr) return {BATON_UNAVAILABLE, lost_};
  if (bytes == 0) return {};
  return Guarded("a copy from the FPGA", [&]() -> Fault {
    xrt::bo& arena = session_->arenas.at(bank);
    arena.sync(XCL_BO_SYNC_BO_FROM_DEVICE, bytes, at);
    arena.read(data, bytes, at);
    return {};
  });
}

xrt::run& Card::Start(const CardRun& wanted) {
  xrt::run* run = nullptr;
  {
    const std::lock_guard runs(runs_mutex_);
    auto [found, fresh] = session_->runs.try_emplace({wanted.kernel, wanted.unit});
    if (fresh) {
      found->second = xrt::run(session_->units[static_cast<size_t>(wanted.kernel)].at(wanted.unit));
    }
    run = &found->second;
  }
  for (const CardArgument& argument : wanted.arguments) {
    if (const auto* const scalar = std::get_if<uint32_t>(&argument.value)) {
      run->set_arg(argument.index, *scalar);
    } else {
      run->set_arg(argument.index, session_->Part(std::get<CardBuffer>(argument.value)));
    }
  }
  run->start();
  return *run;
}

Fault Card::Run(std::span<const CardRun> runs, uint64_t generation) {
  std::string what;
  Fault fault;
  {
    const std::shared_lock lock(session_mutex_);
    if (session_ == nullptr) return {BATON_UNAVAILABLE, lost_};
    if (generation != 0 && generation != generation_) {
      return {BATON_NOT_FOUND, "what was on the FPGA was lost when the card was reset"};
    }
    generation = generation_;
    std::vector<xrt::run*> started;
    const int64_t end_ms = NowMs() + options_.run_timeout_ms;
    for (size_t i = 0; i < 2 * runs.size() && !fault.failed(); ++i) {
      const CardRun& run = runs[i % runs.size()];
      what = Text(Name(run.kernel), "_", run.unit);
      fault = Guarded(what.c_str(), [&]() -> Fault {
        if (i < runs.size()) {
          started.push_back(&Start(run));
          return {};
        }
        const int64_t left_ms = std::max<int64_t>(end_ms - NowMs(), 1);
        const ert_cmd_state state =
            started[i - runs.size()]->wait(static_cast<unsigned int>(left_ms));
        if (state == ERT_CMD_STATE_COMPLETED) return {};
        if (state == ERT_CMD_STATE_ERROR || state == ERT_CMD_STATE_ABORT) {
          return {BATON_INTERNAL, Text("the FPGA's run ended in state ", static_cast<int>(state))};
        }
        return {BATON_INTERNAL, Text("the FPGA's run did not end within ", options_.run_timeout_ms,
                                     " ms (state ", static_cast<int>(state), ")")};
      });
    }
  }
  if (!fault.failed()) return {};
  const std::string why = Text(what, ": ", fault.message());
  Reset(generation, why);
  return {BATON_INTERNAL, Text(why, "; the card was reset")};
}

Fault Card::StartDecoder() {
  const std::unique_lock lock(session_mutex_);
  if (session_ == nullptr) return {BATON_UNAVAILABLE, lost_};
  if (!session_->decoder.empty()) return {};
  return Guarded("the units of a decoder", [&]() -> Fault {
    std::vector<xrt::run> runs;
    const auto start = [&](Kernel kernel, uint32_t unit, int index_argument) {
      xrt::run& run = runs.emplace_back(session_->units[static_cast<size_t>(kernel)].at(unit));
      for (const int pointer : TraitsOf(kernel).pointers) {
        run.set_arg(pointer, session_->arenas.at(BankOf(kernel, unit, pointer)));
      }
      if (index_argument >= 0) {
        run.set_arg(index_argument, unit);
        run.set_arg(index_argument + 1, UnitsOf(kernel));
      }
      run.start();
    };
    for (uint32_t i = 0; i < UnitsOf(Kernel::kGemvBank); ++i) {
      start(Kernel::kGemvBank, i, kGemvBankIndex);
    }
    for (uint32_t i = 0; i < UnitsOf(Kernel::kKvAttention); ++i) {
      start(Kernel::kKvAttention, i, kKvAttentionIndex);
    }
    start(Kernel::kVectorUnit, 0, -1);
    start(Kernel::kSampler, 0, -1);
    session_->decoder = std::move(runs);
    return {};
  });
}

// The sequencer sends all others home.
void Card::EndDecoder() {
  {
    const std::shared_lock lock(session_mutex_);
    if (session_ == nullptr || session_->decoder.empty()) return;
  }
  const int32_t bank = BankOf(Kernel::kSequencer, 0, kSequencerProgram);
  const CardBuffer nothing = {.bank = bank, .at = 0, .bytes = Ranges::kPage};
  const uint64_t generation = generation_;
  const CardArgument arguments[] = {{kSequencerProgram, nothing}, {kSequencerSampling, nothing},
                                    {kSequencerResult, nothing},  {kSequencerCommandCount, 0u},
                                    {kSequencerPosition, 0u},     {kSequencerEmbeddingAt, 0u},
                                    {kSequencerTableAt, 0u},      {kSequencerEnds, 1u}};
  const Fault ended = Run(Kernel::kSequencer, 0, arguments);
  if (ended.failed()) host_.log(BATON_LOG_WARN, ended.message().c_str());
  if (generation_ != generation) return;
  const std::unique_lock lock(session_mutex_);
  const Fault waited = Guarded("the units of a decoder", [&]() -> Fault {
    for (xrt::run& run : session_->decoder) {
      run.wait(static_cast<unsigned int>(options_.run_timeout_ms));
    }
    session_->decoder.clear();
    return {};
  });
  if (waited.failed()) host_.log(BATON_LOG_WARN, waited.message().c_str());
}

void Card::Reset(uint64_t generation, const std::string& why) {
  const std::unique_lock lock(session_mutex_);
  if (generation_ != generation || session_ == nullptr) return;
  host_.log(BATON_LOG_ERROR,
            Text("FPGA ", options_.index, ": ", why, "; resetting the card").c_str());
  const Fault reset = Guarded("resetting the card", [&]() -> Fault {
    session_->device.reset();
    return {};
  });
  const Fault closed = Guarded("closing the card", [&]() -> Fault {
    session_.reset();
    return {};
  });
  for (const Fault& fault : {reset, closed}) {
    if (fault.failed()) host_.log(BATON_LOG_WARN, fault.message().c_str());
  }
  ++generation_;
  const Fault opened = OpenSession();
  if (!opened.failed()) return;
  session_.reset();
  lost_ = Text("FPGA ", options_.index, " is lost to this process, restart needed: ", why,
               "; it does not open again: ", opened.message());
  host_.log(BATON_LOG_ERROR, lost_.c_str());
}

}  // namespace baton::fpga
