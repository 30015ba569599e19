#include "loadtest/request_record.h"

namespace baton::load {
namespace {

// A stream longer than this keeps only its first gaps; a hostile target must not fill the memory.
constexpr size_t kGapsPerRequestMax = 100'000;

}  // namespace

void RequestRecord::AddTokens(int64_t count, int64_t now_ns) {
  if (first_output_ns < 0) {
    first_output_ns = now_ns;
  } else if (gaps_ns.size() < kGapsPerRequestMax) {
    gaps_ns.push_back(now_ns - last_output_ns);
  }
  last_output_ns = now_ns;
  tokens += count;
}

}  // namespace baton::load
