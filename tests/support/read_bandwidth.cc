#include "tests/support/read_bandwidth.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

#include "engine/base/huge_buffer.h"
#include "engine/base/simd_level.h"
#include "tests/support/bench_report.h"

namespace baton {
namespace {

constexpr size_t kStreams = 4;
constexpr size_t kLine = 64;

using Wide = uint64_t __attribute__((vector_size(kLine), aligned(kLine)));
using Narrow = uint64_t __attribute__((vector_size(16), aligned(16)));

// The sum of all lanes of [data, data + bytes), which is read in `streams` places at once; bytes: a
// multiple of streams * 4 * sizeof(Vector).
template <class Vector>
[[gnu::always_inline]] inline uint64_t SumOf(const std::byte* data, size_t bytes, size_t streams) {
  const size_t apart = bytes / streams;
  Vector sums[4] = {};
  for (size_t i = 0; i < apart; i += 4 * sizeof(Vector)) {
    for (size_t stream = 0; stream < streams; ++stream) {
      const auto* const p = reinterpret_cast<const Vector*>(data + stream * apart + i);
      for (size_t lane = 0; lane < 4; ++lane) sums[lane] += p[lane];
    }
  }
  const Vector sum = sums[0] + sums[1] + sums[2] + sums[3];
  uint64_t all = 0;
  for (size_t i = 0; i < sizeof(Vector) / sizeof(uint64_t); ++i) all += sum[i];
  return all;
}

__attribute__((target("avx512f"))) uint64_t SumWide(const std::byte* data, size_t bytes,
                                                    size_t streams) {
  return SumOf<Wide>(data, bytes, streams);
}
uint64_t SumNarrow(const std::byte* data, size_t bytes, size_t streams) {
  return SumOf<Narrow>(data, bytes, streams);
}

double BestRate(const std::byte* data, size_t bytes, bool tiny) {
  const auto sum = DetectedSimdLevel() >= SimdLevel::kAvx512 ? SumWide : SumNarrow;
  volatile uint64_t kept = 0;  // so that the sum is needed
  double best = 0;
  for (const size_t streams : {size_t{1}, kStreams}) {
    const double seconds = BestSecondsPerCall(tiny, [&] { kept = sum(data, bytes, streams); });
    best = std::max(best, static_cast<double>(bytes) / seconds * 1e-9);
  }
  return best;
}

}  // namespace

double ReadBandwidth(int64_t wanted, bool tiny) {
  constexpr size_t kStep = kStreams * 4 * kLine;
  const size_t bytes = (static_cast<size_t>(wanted) + kStep - 1) / kStep * kStep;
  double best = 0;
  {
    const HugeBuffer huge(bytes);
    best = BestRate(huge.data(), bytes, tiny);
  }
  const std::unique_ptr<std::byte[], void (*)(std::byte*)> small(
      static_cast<std::byte*>(::operator new(bytes, std::align_val_t(kLine))),
      [](std::byte* p) { ::operator delete(p, std::align_val_t(kLine)); });
  std::memset(small.get(), 1, bytes);
  return std::max(best, BestRate(small.get(), bytes, tiny));
}

}  // namespace baton
