#include "fpga_emulation/card_image.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <functional>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "fpga_emulation/card_spec.h"
#include "fpga_emulation/kernel_functions.h"
#include "fpga_emulation/kernel_table.h"

namespace baton::fpga {
namespace {

constexpr int kWaitsTold = 8;

// A stream whose depth the spec says.
template <class T>
class JoinStream : public Stream<T> {
 public:
  JoinStream(const char* name, int depth) : Stream<T>(name, depth) {}
};

// A kernel whose arguments are one word each: numbers, addresses, streams.
struct WordKernel {
  std::function<void(const uint64_t* words)> run;
  // For argument i, a stream; null: it is none.
  std::vector<std::shared_ptr<void> (*)(const char* name, int depth)> make_stream;
};

template <class A>
decltype(auto) FromWord(uint64_t word) {
  if constexpr (IsStream<A>) {
    return *reinterpret_cast<Stream<StreamItem<A>>*>(word);
  } else if constexpr (std::is_pointer_v<A>) {
    return reinterpret_cast<A>(word);
  } else {
    return static_cast<A>(word);
  }
}

template <class A>
std::shared_ptr<void> MakeStream(const char* name, int depth) {
  using Item = StreamItem<A>;
  // As the class that kernels take it for.
  std::shared_ptr<Stream<Item>> stream = std::make_shared<JoinStream<Item>>(name, depth);
  return stream;
}

template <class A>
constexpr auto StreamMaker() -> std::shared_ptr<void> (*)(const char*, int) {
  if constexpr (IsStream<A>) {
    return &MakeStream<A>;
  } else {
    return nullptr;
  }
}

template <class... A>
WordKernel WordKernelOf(void (*function)(A...)) {
  WordKernel kernel;
  kernel.run = [function](const uint64_t* words) {
    [&]<size_t... i>(std::index_sequence<i...>) { function(FromWord<A>(words[i])...); }
    (std::index_sequence_for<A...>());
  };
  kernel.make_stream = {StreamMaker<A>()...};
  return kernel;
}

class KernelsCard : public CardImage {
 public:
  explicit KernelsCard(CardSpec card) : card_(std::move(card)) {
    ForEachKernel([&](auto function, const auto&) { kernels_.push_back(WordKernelOf(function)); });
    for (const CardUnit& unit : card_.units) {
      words_.emplace_back(KernelTable()[unit.kernel].arguments.size());
    }
    names_.reserve(card_.joins.size());
    for (const CardJoin& join : card_.joins) {
      names_.push_back(NameOf(join.from_unit, join.from_argument));
      Join(join.from_unit, join.from_argument, names_.back().c_str(), join.depth);
      words_[join.to_unit][join.to_argument] = words_[join.from_unit][join.from_argument];
    }
    for (size_t unit = 0; unit < card_.units.size(); ++unit) {
      const Kernel& kernel = KernelTable()[card_.units[unit].kernel];
      for (size_t i = 0; i < kernel.arguments.size(); ++i) {
        if (!kernel.arguments[i].is_stream() || words_[unit][i] != 0) continue;
        Join(static_cast<int>(unit), static_cast<int>(i), "an open end", 1);
      }
      if (kernel.free_running) {
        threads_.emplace_back([this, unit] {
          while (!stopped_) RunWords(static_cast<int>(unit), words_[unit].data());
        });
      }
    }
  }
  ~KernelsCard() override {
    Stop();
    for (std::thread& thread : threads_) thread.join();
  }

  void Run(int unit, const uint64_t* arguments) override {
    std::vector<uint64_t> words(arguments, arguments + words_[unit].size());
    const Kernel& kernel = KernelTable()[card_.units[unit].kernel];
    for (size_t i = 0; i < words.size(); ++i) {
      if (kernel.arguments[i].is_stream()) words[i] = words_[unit][i];
    }
    RunWords(unit, words.data());
  }
  void Stop() override {
    stopped_ = true;
    space_.Stop();
  }
  std::string Waits() const override {
    std::string text;
    int count = 0;
    for (const std::string& wait : space_.Waits()) {
      const auto own = [&](const CardUnit& unit) {
        return KernelTable()[unit.kernel].free_running && wait.starts_with(unit.name + " ");
      };
      if (std::any_of(card_.units.begin(), card_.units.end(), own)) continue;
      if (++count > kWaitsTold) continue;
      text += (text.empty() ? "" : "; ") + wait;
    }
    if (count > kWaitsTold) text += "; and " + std::to_string(count - kWaitsTold) + " more";
    return text;
  }

 private:
  std::string NameOf(int unit, int argument) const {
    const Kernel& kernel = KernelTable()[card_.units[unit].kernel];
    return card_.units[unit].name + "." + std::string(kernel.arguments[argument].name);
  }
  void Join(int unit, int argument, const char* name, int depth) {
    const WordKernel& kernel = kernels_[card_.units[unit].kernel];
    streams_.push_back(kernel.make_stream[argument](name, depth));
    words_[unit][argument] = reinterpret_cast<uint64_t>(streams_.back().get());
  }
  void RunWords(int unit, const uint64_t* words) {
    space_.Run(card_.units[unit].name.c_str(),
               [&] { kernels_[card_.units[unit].kernel].run(words); });
  }

  const CardSpec card_;
  UnitSpace space_;
  std::vector<WordKernel> kernels_;  // as KernelTable()
  std::vector<std::string> names_;   // of joins
  std::vector<std::shared_ptr<void>> streams_;
  std::vector<std::vector<uint64_t>> words_;  // [units, arguments]: streams; all else is 0
  std::atomic<bool> stopped_{false};
  std::vector<std::thread> threads_;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) CardImage* baton_card_image(uint32_t version,
                                                                              const char* spec,
                                                                              char* error,
                                                                              size_t error_bytes) {
  if (version != kCardImageVersion) {
    std::snprintf(error, error_bytes, "the image speaks version %u of the emulation, not %u",
                  kCardImageVersion, version);
    return nullptr;
  }
  CardSpec card;
  std::string why;
  const auto read = [&](const std::string& name, std::string* text) {
    *text = spec;
    return name == "xclbin";
  };
  if (!ReadCardSpec("xclbin", read, &card, &why)) {
    std::snprintf(error, error_bytes, "%s", why.c_str());
    return nullptr;
  }
  return new KernelsCard(std::move(card));
}

}  // namespace baton::fpga
