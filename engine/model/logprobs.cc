#include "engine/model/logprobs.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace baton {

TokenLogprobs LogprobsOf(std::span<const float> logits, TokenId token, int32_t top) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - max);
  const double log_sum = std::log(sum);
  const auto logprob = [&](TokenId id) {
    return TokenLogprob{
        .id = id, .logprob = static_cast<float>((logits[static_cast<size_t>(id)] - max) - log_sum)};
  };
  TokenLogprobs result{.token = logprob(token)};

  // The best so far, best first. Few: what is not among them is passed over at one comparison.
  const auto wanted = std::min(static_cast<size_t>(top), logits.size());
  std::vector<TokenId> best;
  best.reserve(wanted + 1);
  const auto logit_of = [logits](TokenId id) { return logits[static_cast<size_t>(id)]; };
  for (size_t i = 0; i < logits.size() && wanted > 0; ++i) {
    if (best.size() == wanted && logits[i] <= logit_of(best.back())) continue;
    const auto place = std::find_if(best.begin(), best.end(),
                                    [&](TokenId id) { return logit_of(id) < logits[i]; });
    best.insert(place, static_cast<TokenId>(i));
    if (best.size() > wanted) best.pop_back();
  }
  for (const TokenId id : best) result.top.push_back(logprob(id));
  return result;
}

}  // namespace baton
