#include "engine/transfer/staged_path.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <thread>

#include "engine/exec/cpu/kernels/kv_convert.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr MemorySpace kHost = {.kind = MemorySpace::Kind::kHost};
constexpr MemorySpace kGpu = {.kind = MemorySpace::Kind::kCuda};
constexpr MemorySpace kFpga = {.kind = MemorySpace::Kind::kFpga};

// A device's link, of which one poll in two says that it is not done; its memory is this
// machine's.
class FakeLink final : public CopyPath {
 public:
  FakeLink(MemorySpace device, bool to_device) : device_(device), to_device_(to_device) {}
  const std::string& name() const override { return name_; }
  bool Connects(const MemorySpace& source, const MemorySpace& destination) const override {
    return to_device_ ? source == kHost && destination == device_
                      : source == device_ && destination == kHost;
  }
  absl::StatusOr<Ticket> Post(const Job& job) override {
    if (fails_in == 0) return absl::InternalError("the link is cut");
    --fails_in;
    CHECK_FALSE(job.conversion);
    job_ = job;
    ++posted;
    return 77;
  }
  absl::StatusOr<bool> Poll(Ticket) override {
    asked_ = !asked_;
    if (asked_) return false;
    for (size_t i = 0; i < job_.sources.size(); ++i) {
      std::memcpy(job_.destinations[i], job_.sources[i], static_cast<size_t>(job_.block_bytes));
    }
    return true;
  }
  void Cancel(Ticket) override { ++cancelled; }

  int fails_in = 1000;
  int posted = 0;
  int cancelled = 0;

 private:
  const MemorySpace device_;
  const bool to_device_;
  const std::string name_ = "link";
  Job job_;
  bool asked_ = false;
};

absl::Status Finish(CopyPath& path, const CopyPath::Job& job) {
  const auto ticket = path.Post(job);
  if (!ticket.ok()) return ticket.status();
  for (int i = 0; i < 100000; ++i) {
    const auto done = path.Poll(*ticket);
    if (!done.ok()) return done.status();
    if (*done) return absl::OkStatus();
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  return absl::DeadlineExceededError("it does not end");
}

struct Side {
  Side(const KvLayout& of, int64_t tokens, float value) : layout(of) {
    const int64_t count = (tokens + of.block_tokens - 1) / of.block_tokens;
    memory.resize(static_cast<size_t>(count * of.block_bytes() / 4), value);
    for (int64_t i = 0; i < count; ++i) {
      blocks.push_back(reinterpret_cast<std::byte*>(memory.data()) + i * of.block_bytes());
    }
  }
  KvLayout layout;
  std::vector<float> memory;
  std::vector<void*> blocks;
};

}  // namespace

TEST_CASE("conversions on the way to and from devices give what a conversion here gives") {
  const KvLayout from = {
      .layers = 3, .kv_heads = 2, .head_dim = 16, .block_tokens = 16, .type = KvType::kF32};
  KvLayout to = from;
  to.type = KvType::kInt8;
  to.block_tokens = GENERATE(8, 16, 64);
  const int64_t tokens = GENERATE(1, 16, 100);
  const int64_t piece_bytes = GENERATE(int64_t{1}, int64_t{1} << 20);
  const bool fetches = GENERATE(false, true);
  CAPTURE(to.block_tokens, tokens, piece_bytes, fetches);
  Side source(from, tokens, 0);
  for (size_t i = 0; i < source.memory.size(); ++i) {
    source.memory[i] = static_cast<float>(i % 251) - 100;
  }
  const KvConversion whole = {.source = from,
                              .destination = to,
                              .tokens = tokens,
                              .layer_begin = 0,
                              .layer_end = from.layers};
  const KvRowConverter convert = KvConverterFor(SupportedSimdLevels().front());
  Side want(to, tokens, 0);
  const std::vector<const void*> sources(source.blocks.begin(), source.blocks.end());
  KvConversionRun run(whole, sources, want.blocks, convert);
  while (run.Step()) {
  }
  StagedPath::Legs legs;
  if (fetches) legs.fetch = std::make_unique<FakeLink>(kGpu, false);
  legs.bring = std::make_unique<FakeLink>(kFpga, true);
  StagedPath path({.name = "staged", .piece_bytes_max = piece_bytes}, std::move(legs), convert,
                  SystemClock());
  CHECK(path.Connects(fetches ? kGpu : kHost, kFpga));
  CHECK_FALSE(path.Connects(fetches ? kHost : kGpu, kFpga));
  CHECK(path.Converts());
  // Layer by layer, as a prefill goes ahead.
  Side got(to, tokens, 0);
  for (const auto& [begin, end] : {std::pair{0, 2}, std::pair{2, 3}}) {
    CopyPath::Job job = {.sources = sources, .destinations = got.blocks};
    job.conversion = whole;
    job.conversion->layer_begin = begin;
    job.conversion->layer_end = end;
    REQUIRE_OK(Finish(path, job));
  }
  CHECK(std::memcmp(got.memory.data(), want.memory.data(), got.memory.size() * 4) == 0);
}

TEST_CASE("from one device to another without a conversion and straight where one leg does it") {
  std::vector<int> from(1000);
  std::vector<int> to(1000);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<int>(i);
  CopyPath::Job job = {.block_bytes = 400};
  for (int i = 0; i < 10; ++i) {
    job.sources.push_back(&from[100 * i]);
    job.destinations.push_back(&to[100 * i]);
  }
  const KvRowConverter convert = KvConverterFor(SupportedSimdLevels().front());
  auto fetch = std::make_unique<FakeLink>(kGpu, false);
  FakeLink& fetched = *fetch;
  StagedPath between({.name = "staged", .piece_bytes_max = 1000},
                     {.fetch = std::move(fetch), .bring = std::make_unique<FakeLink>(kFpga, true)},
                     convert, SystemClock());
  REQUIRE_OK(Finish(between, job));
  CHECK(from == to);
  CHECK(fetched.posted == 5);  // two blocks at a time

  std::fill(to.begin(), to.end(), 0);
  auto bring = std::make_unique<FakeLink>(kFpga, true);
  FakeLink& brought = *bring;
  StagedPath straight({.name = "straight", .piece_bytes_max = 1000},
                      {.fetch = nullptr, .bring = std::move(bring)}, convert, SystemClock());
  REQUIRE_OK(Finish(straight, job));
  CHECK(from == to);
  CHECK(brought.posted == 1);
  REQUIRE_OK(Finish(straight, {}));
}

TEST_CASE("a leg that fails ends the copy and a cancelled one is let go of") {
  std::vector<int> from(1000);
  std::vector<int> to(1000);
  CopyPath::Job job = {.block_bytes = 400};
  for (int i = 0; i < 10; ++i) {
    job.sources.push_back(&from[100 * i]);
    job.destinations.push_back(&to[100 * i]);
  }
  auto fetch = std::make_unique<FakeLink>(kGpu, false);
  auto bring = std::make_unique<FakeLink>(kFpga, true);
  FakeLink& fetched = *fetch;
  bring->fails_in = 2;
  StagedPath path({.name = "staged", .piece_bytes_max = 1000},
                  {.fetch = std::move(fetch), .bring = std::move(bring)},
                  KvConverterFor(SupportedSimdLevels().front()), SystemClock());
  CHECK(Finish(path, job).message() == "the link is cut");
  const auto ticket = path.Post(job);
  REQUIRE_OK(ticket);
  path.Cancel(*ticket);
  CHECK(fetched.cancelled == 1);
  CHECK(absl::IsNotFound(path.Poll(*ticket).status()));
  job.destinations.pop_back();
  CHECK(absl::IsInvalidArgument(path.Post(job).status()));
}

}  // namespace baton
