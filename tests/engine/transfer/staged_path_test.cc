#include "engine/transfer/staged_path.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "engine/transfer/host_copy_path.h"
#include "engine/transfer/staging.h"
#include "tests/engine/transfer/scripted_path.h"
#include "tests/support/fake_clock.h"
#include "tests/support/naive_kv.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr uint32_t kSeed = 20261122;
constexpr MemorySpace kHost{};
constexpr MemorySpace kGpu{.kind = MemorySpace::Kind::kCuda};
constexpr MemorySpace kFpga{.kind = MemorySpace::Kind::kFpga};
constexpr auto kUntouched = std::byte{0x5a};

using Memory = std::vector<std::vector<std::byte>>;

Memory RandomMemory(size_t blocks, int64_t bytes, std::mt19937& random) {
  Memory memory(blocks, std::vector<std::byte>(static_cast<size_t>(bytes)));
  for (auto& block : memory) {
    for (std::byte& byte : block) byte = static_cast<std::byte>(random());
  }
  return memory;
}

// Blocks of keys and values that are finite in every type.
Memory RandomKv(const KvLayout& layout, size_t blocks, std::mt19937& random) {
  Memory memory = RandomMemory(blocks, layout.block_bytes(), random);
  if (layout.type == KvType::kInt8) {
    for (auto& block : memory) {
      for (int64_t area = 0; area < 2 * layout.kv_heads * layout.layers; ++area) {
        for (int64_t token = 0; token < layout.block_tokens; ++token) {
          const float scale = 0.01f * static_cast<float>(1 + random() % 9);
          std::memcpy(block.data() + area * layout.area_bytes() +
                          int64_t{layout.block_tokens} * layout.head_dim + token * 4,
                      &scale, sizeof(scale));
        }
      }
    }
    return memory;
  }
  std::uniform_real_distribution<float> values(-2, 2);
  for (auto& block : memory) {
    for (int64_t at = 0; at < layout.block_bytes(); at += 4) {
      const float value = values(random);  // two of bf16 or f16, if not one of f32
      std::memcpy(block.data() + at, &value, sizeof(value));
      if (layout.type != KvType::kF32) block[static_cast<size_t>(at) + 1] &= std::byte{0x3f};
      if (layout.type != KvType::kF32) block[static_cast<size_t>(at) + 3] &= std::byte{0x3f};
    }
  }
  return memory;
}

CopyPath::Job JobOf(const Memory& from, Memory& to) {
  CopyPath::Job job;
  for (const auto& block : from) job.sources.push_back(block.data());
  for (auto& block : to) job.destinations.push_back(block.data());
  return job;
}

struct Fixture {
  FakeClock clock;
  ScriptedPath in{"in"}, out{"out"};
  HostDirectPath converter{NaiveConvertRows, clock};
  std::unique_ptr<SharedPool> pool = *SharedPool::Create(1 << 20, {});
  StagedPath::Limits limits = {.timeout_us = 1000};

  StagedPath Path(const MemorySpace& source = kGpu, const MemorySpace& destination = kFpga) {
    return StagedPath({.source = source,
                       .destination = destination,
                       .in = source == kHost ? nullptr : &in,
                       .out = destination == kHost ? nullptr : &out},
                      converter, *pool, limits, clock);
  }
  // A source that converts before it sends.
  void LetInPack() {
    in.pack = [this](const CopyPath::Job& job) {
      const KvConversion& conversion = *job.conversion;
      const int64_t layer_bytes = conversion.destination.layer_bytes();
      for (void* block : job.destinations) {
        std::memset(
            static_cast<std::byte*>(block) + conversion.layer_begin * layer_bytes, 0,
            static_cast<size_t>((conversion.layer_end - conversion.layer_begin) * layer_bytes));
      }
      REQUIRE_OK(converter.Post(job));
    };
  }
  // Nothing is under way, and nothing is kept.
  void CheckQuiet() const {
    CHECK(in.open() == 0);
    CHECK(out.open() == 0);
    CHECK(pool->GetStats().buffers == 0);
  }
};

// Until it is done; its error.
absl::Status Finish(StagedPath& path, CopyPath::Ticket ticket) {
  for (int polls = 0; polls < 100'000; ++polls) {
    const auto done = path.Poll(ticket);
    if (!done.ok()) return done.status();
    if (*done) return absl::OkStatus();
  }
  return absl::InternalError("it never ends");
}

// Steps that take a while, and links that are full now and then.
std::function<ScriptedPath::Script()> Rough(std::mt19937& random) {
  return [&random] {
    ScriptedPath::Script script{.polls = static_cast<int>(random() % 4)};
    if (random() % 5 == 0) script.post = absl::ResourceExhaustedError("the link is full");
    return script;
  };
}

}  // namespace

TEST_CASE("blocks go through the host's memory as they are") {
  std::mt19937 random(kSeed);
  for (const size_t blocks : {0, 1, 2, 7, 65}) {
    for (const int64_t bytes : {0, 1, 8, 4095, 70'001}) {
      for (const int64_t piece_bytes : {1, 10'000, 4 << 20}) {
        CAPTURE(blocks, bytes, piece_bytes);
        Fixture f;
        f.limits.piece_bytes = piece_bytes;
        f.in.next = f.out.next = Rough(random);
        StagedPath path = f.Path();
        const Memory from = RandomMemory(blocks, bytes, random);
        Memory to(blocks, std::vector<std::byte>(static_cast<size_t>(bytes), kUntouched));
        CopyPath::Job job = JobOf(from, to);
        job.block_bytes = bytes;
        const auto ticket = path.Post(job);
        REQUIRE_OK(ticket);
        REQUIRE_OK(Finish(path, *ticket));
        CHECK(from == to);
        f.CheckQuiet();
      }
    }
  }
}

TEST_CASE("what is converted on the way is as if it were converted at once") {
  std::mt19937 random(kSeed + 1);
  const KvType types[] = {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8};
  int packed_rounds = 0;
  for (int round = 0; round < 300; ++round) {
    KvLayout from{.layers = 1 + static_cast<int32_t>(random() % 4),
                  .kv_heads = 1 + static_cast<int32_t>(random() % 2),
                  .head_dim = 8,
                  .block_tokens = 8 << random() % 4,
                  .type = types[random() % 4]};
    KvLayout to = from;
    to.block_tokens = 8 << random() % 4;
    to.type = types[random() % 4];
    const auto tokens = static_cast<int64_t>(random() % 200);
    const auto spare = random() % 3;  // blocks more than needed
    const auto blocks = [&](const KvLayout& layout) {
      return static_cast<size_t>((tokens + layout.block_tokens - 1) / layout.block_tokens) + spare;
    };
    const auto first = static_cast<int32_t>(random() % static_cast<uint32_t>(from.layers + 1));
    const auto last =
        first + static_cast<int32_t>(random() % static_cast<uint32_t>(from.layers - first + 1));
    Fixture f;
    f.limits.piece_bytes = random() % 2 ? 1 : 20'000;
    f.limits.pieces_max = 1 + random() % 4;
    f.in.next = f.out.next = Rough(random);
    const bool from_host = random() % 3 == 0;
    const bool to_host = !from_host && random() % 3 == 0;
    const bool may_pack = random() % 2 == 0;
    CAPTURE(round, from.block_tokens, to.block_tokens, tokens, first, last, from_host, to_host,
            may_pack);
    if (may_pack) f.LetInPack();
    StagedPath path = f.Path(from_host ? kHost : kGpu, to_host ? kHost : kFpga);

    const Memory source = RandomKv(from, blocks(from), random);
    const Memory empty(blocks(to),
                       std::vector<std::byte>(static_cast<size_t>(to.block_bytes()), kUntouched));
    Memory wanted = empty;
    Memory staged = empty;
    CopyPath::Job job = JobOf(source, wanted);
    job.conversion = {.source = from,
                      .destination = to,
                      .tokens = tokens,
                      .layer_begin = first,
                      .layer_end = last};
    REQUIRE_OK(f.converter.Post(job));
    job.destinations = JobOf(source, staged).destinations;
    const auto ticket = path.Post(job);
    REQUIRE_OK(ticket);
    REQUIRE_OK(Finish(path, *ticket));
    f.CheckQuiet();
    // Between devices, and where the link carries less so.
    const int64_t source_bytes = job.conversion->source_bytes();
    const int64_t packed_bytes = job.conversion->destination_bytes();
    const bool packs = may_pack && !from_host && !to_host && packed_bytes < source_bytes;
    CHECK(f.in.packed == (packs ? f.in.posted : 0));
    CHECK(path.BytesOf(job) == (packs ? packed_bytes : source_bytes));
    if (packs) ++packed_rounds;
    for (size_t block = 0; block < staged.size(); ++block) {
      for (size_t at = 0; at < staged[block].size(); ++at) {
        const std::byte got = staged[block][at];
        // Behind the last position it is zero where the block went through the staging memory.
        const bool behind = got == std::byte{0} && wanted[block][at] == kUntouched && !to_host;
        if (got != wanted[block][at] && !behind) FAIL("block " << block << " byte " << at);
      }
    }
  }
  CHECK(packed_rounds > 10);
}

TEST_CASE("one piece leaves while the next arrives, and no more of them than there is memory for") {
  std::mt19937 random(kSeed + 2);
  Fixture f;
  f.limits = {.piece_bytes = 100'000, .pieces_max = 8, .timeout_us = 1'000'000};
  f.in.next = f.out.next = [&] {
    return ScriptedPath::Script{.polls = 1 + static_cast<int>(random() % 8)};
  };
  StagedPath path = f.Path();
  const Memory from = RandomMemory(30, 100'000, random);
  Memory to(30, std::vector<std::byte>(100'000));
  CopyPath::Job job = JobOf(from, to);
  job.block_bytes = 100'000;
  const auto ticket = path.Post(job);
  REQUIRE_OK(ticket);
  CHECK(f.in.open() == 8);
  size_t both = 0;
  for (;;) {
    const auto done = path.Poll(*ticket);
    REQUIRE_OK(done);
    if (*done) break;
    CHECK(f.pool->GetStats().buffers <= 8);
    if (f.in.open() > 0 && f.out.open() > 0) ++both;
  }
  CHECK(both > 0);
  CHECK(from == to);

  // Two copies that want all of it: the second waits, and both end.
  f.limits.pieces_max = 100;
  StagedPath greedy = f.Path();
  Memory other(30, std::vector<std::byte>(100'000));
  const auto first = greedy.Post(job);
  job.destinations = JobOf(from, other).destinations;
  const auto second = greedy.Post(job);
  REQUIRE_OK(first);
  REQUIRE_OK(second);
  CHECK(f.in.open() == 10);
  REQUIRE_OK(Finish(greedy, *first));
  REQUIRE_OK(Finish(greedy, *second));
  CHECK(other == from);
  f.CheckQuiet();
}

TEST_CASE("a copy that fails, hangs or is cancelled on its way leaves nothing under way") {
  std::mt19937 random(kSeed + 3);
  const Memory from = RandomMemory(12, 1000, random);
  Memory to(12, std::vector<std::byte>(1000));
  CopyPath::Job job = JobOf(from, to);
  job.block_bytes = 1000;
  const std::string how = GENERATE("in fails", "out fails", "in hangs", "out hangs", "cancelled");
  CAPTURE(how);
  for (int at = 0; at < 12; ++at) {
    Fixture f;
    f.limits = {.piece_bytes = 1000, .pieces_max = 3, .timeout_us = 1000};
    ScriptedPath& bad = how.starts_with("in") ? f.in : f.out;
    int posts = 0;
    bad.next = [&]() -> ScriptedPath::Script {
      if (posts++ != at) return {.polls = 1};
      if (how.ends_with("fails")) return {.outcome = absl::DataLossError("torn")};
      return {.polls = 1'000'000};
    };
    StagedPath path = f.Path();
    const auto ticket = path.Post(job);
    absl::Status status = ticket.status();
    for (int polls = 0; status.ok() && polls < 1000; ++polls) {
      f.clock.AdvanceUs(10);
      status = path.Poll(*ticket).status();
      if (how == "cancelled" && polls == at) {
        path.Cancel(*ticket);
        break;
      }
    }
    if (how.ends_with("fails")) CHECK(status == absl::DataLossError("torn"));
    if (how.ends_with("hangs")) CHECK(absl::IsDeadlineExceeded(status));
    f.CheckQuiet();
    if (ticket.ok()) CHECK(absl::IsNotFound(path.Poll(*ticket).status()));
  }
}

TEST_CASE("copies that are none, or too large for the memory, are refused by name") {
  std::mt19937 random(kSeed + 4);
  Fixture f;
  f.limits.copies_max = 1;
  f.in.defaults = {.polls = 1'000'000};
  StagedPath path = f.Path();
  const Memory from = RandomMemory(2, 64, random);
  Memory to(3, std::vector<std::byte>(64));
  CopyPath::Job job = JobOf(from, to);
  job.block_bytes = 64;
  REQUIRE_STATUS(path.Post(job), absl::StatusCode::kInvalidArgument, "2 blocks of 64 bytes to 3");
  job.destinations.pop_back();
  job.block_bytes = 2 << 20;
  REQUIRE_STATUS(path.Post(job), absl::StatusCode::kResourceExhausted, "transfer.staging_mb");
  job.block_bytes = 64;
  REQUIRE_OK(path.Post(job));
  REQUIRE_STATUS(path.Post(job), absl::StatusCode::kResourceExhausted, "1 copies are under way");
  // From the host there is a path for what stays as it is.
  StagedPath converting = f.Path(kHost);
  CHECK(converting.OnlyConverts());
  REQUIRE_STATUS(converting.Post(job), absl::StatusCode::kInvalidArgument, "as they are");
}

TEST_CASE("staging joins the spaces that nothing joins which converts") {
  FakeClock clock;
  HostDirectPath converter{NaiveConvertRows, clock};
  ScriptedPath anything("anything");  // connects everything
  const auto make = [&](bool converts, int64_t megabytes) {
    anything.converts = converts;
    auto made = Staging::Create({.staging_mb = megabytes},
                                {.spaces = {kHost, kGpu, kFpga},
                                 .paths = {&anything},
                                 .devices = {},
                                 .converter = &converter},
                                clock);
    REQUIRE_OK(made);
    return *std::move(made);
  };
  const auto staging = make(false, 1);
  REQUIRE(staging != nullptr);
  std::vector<std::string> names;
  for (const auto& path : staging->paths()) names.push_back(path->name());
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{"staged_cuda:0_to_fpga:0/0", "staged_cuda:0_to_host",
                                          "staged_fpga:0/0_to_cuda:0", "staged_fpga:0/0_to_host",
                                          "staged_host_to_cuda:0", "staged_host_to_fpga:0/0"});
  CHECK(make(true, 1) == nullptr);
  CHECK(make(false, 0) == nullptr);
}

}  // namespace baton
