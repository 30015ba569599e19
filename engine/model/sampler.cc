#include "engine/model/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace baton {
namespace {

constexpr uint64_t kSeedStep = 0x9e3779b97f4a7c15u;

bool Better(const std::pair<float, TokenId>& a, const std::pair<float, TokenId>& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

TokenId ArgMax(std::span<const float> logits) {
  size_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i) {
    if (logits[i] > logits[best]) {
      best = i;
    }
  }
  return static_cast<TokenId>(best);
}

// e^x for x <= 0 to about one unit in the last place. Only +, -, * and exact steps: the C library's
// exp may differ in its last bit between machines, and with it the token that a seed gives.
double ExpNonPositive(double x) {
  if (!(x > -700)) {
    return 0;
  }
  constexpr double kLog2E = 0x1.71547652b82fep0;
  constexpr double kLn2High = 0x1.62e42fefa3800p-1;  // its last bits are zero: k * high is exact
  constexpr double kLn2Low = 0x1.ef35793c76730p-45;
  const double k = std::floor(x * kLog2E + 0.5);
  const double r = (x - k * kLn2High) - k * kLn2Low;  // |r| <= ln(2) / 2
  double sum = 1;
  for (int n = 13; n >= 1; --n) {  // r^14 / 14! is below 2^-53
    sum = 1 + sum * r / n;
  }
  return std::ldexp(sum, static_cast<int>(k));
}

}  // namespace

Sampler::Sampler(const SamplerSetup& setup)
    : processor_(setup),
      params_(setup.params),
      // One draw for each token that was chosen before.
      state_(setup.params.seed.value_or(0) + kSeedStep * setup.generated.size()) {}

// splitmix64: a 64-bit counter through a mixing function, the same on every platform.
uint64_t Sampler::NextRandom() {
  state_ += kSeedStep;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

TokenId Sampler::Sample(std::span<const float> logits) {
  if (processor_.active()) {
    processed_.assign(logits.begin(), logits.end());
    processor_.Apply(processed_);
    logits = processed_;
  }
  const TokenId token = Choose(logits);
  processor_.Advance(token);
  return token;
}

std::optional<PlainSampling> Sampler::plain() const {
  const std::optional<LogitChanges> changes = processor_.changes();
  if (!changes.has_value()) return std::nullopt;
  return PlainSampling{.temperature = params_.temperature,
                       .top_k = params_.top_k,
                       .top_p = params_.top_p,
                       .min_p = params_.min_p,
                       .random_state = state_,
                       .changes = *changes};
}

void Sampler::TakeChosen(TokenId token, uint64_t random_state) {
  state_ = random_state;
  processor_.Advance(token);
}

TokenId Sampler::Choose(std::span<const float> logits) {
  if (params_.temperature == 0) {
    return ArgMax(logits);
  }
  candidates_.reserve(logits.size());
  candidates_.clear();
  float best = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > -std::numeric_limits<float>::infinity()) {
      candidates_.emplace_back(logits[i], static_cast<TokenId>(i));
      best = std::max(best, logits[i]);
    }
  }
  if (candidates_.empty()) {
    return ArgMax(logits);
  }
  const auto weight = [best](float logit, double temperature) {
    return ExpNonPositive((double{logit} - double{best}) / temperature);
  };

  // Each filter leaves the candidates in an order that depends on the logits only.
  const auto top_k = static_cast<size_t>(params_.top_k);
  if (top_k > 0 && top_k < candidates_.size()) {
    const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(top_k);
    std::nth_element(candidates_.begin(), end, candidates_.end(), Better);
    candidates_.erase(end, candidates_.end());
    std::sort(candidates_.begin(), candidates_.end(), Better);
  }
  if (params_.top_p < 1) {
    double total = 0;
    for (const auto& [logit, token] : candidates_) {
      total += weight(logit, 1);
    }
    // Takes the best ones off a heap, to the back, until they hold top_p of the probability.
    const auto worse = [](const auto& a, const auto& b) { return Better(b, a); };
    std::make_heap(candidates_.begin(), candidates_.end(), worse);
    auto kept = candidates_.end();
    for (double sum = 0; kept != candidates_.begin() && sum < params_.top_p * total;) {
      std::pop_heap(candidates_.begin(), kept, worse);
      --kept;
      sum += weight(kept->first, 1);
    }
    candidates_.erase(candidates_.begin(), kept);
  }
  if (params_.min_p > 0) {
    std::erase_if(candidates_, [&](const auto& candidate) {
      return weight(candidate.first, 1) < params_.min_p;
    });
  }

  double total = 0;
  for (const auto& [logit, token] : candidates_) {
    total += weight(logit, params_.temperature);
  }
  // A number in [0, total) picks the candidate in whose share it lies.
  double left = static_cast<double>(NextRandom() >> 11) * 0x1p-53 * total;
  for (const auto& [logit, token] : candidates_) {
    left -= weight(logit, params_.temperature);
    if (left < 0) {
      return token;
    }
  }
  // Rounding left a rest: the best one.
  return std::min_element(candidates_.begin(), candidates_.end(), Better)->second;
}

}  // namespace baton
