#include "engine/reload_cost.h"

#include <algorithm>
#include <cmath>

#include "engine/base/strings.h"

namespace baton {

std::optional<double> ComputeUs(const ExecutorBoard& board, const PromptPart& part) {
  double us = 0;
  for (int32_t at = part.begin; at < part.end; at += part.chunk_tokens_max) {
    const int32_t tokens = std::min(part.chunk_tokens_max, part.end - at);
    const std::optional<CostPrediction> chunk =
        board.Expected({.executor = part.executor,
                        .work_class = WorkClass::kPrefill,
                        .shape = {.items = static_cast<double>(tokens),
                                  .context = static_cast<double>(at),
                                  .scale = part.parameters}});
    if (!chunk) return std::nullopt;
    us += chunk->run_us;
  }
  return us;
}

std::string ReloadCost::ToString() const {
  const auto say = [](const std::optional<double>& us) {
    return us ? StrCat(std::llround(*us), " us") : std::string("a time not known yet");
  };
  return StrCat("bringing ", tokens, " tokens back takes ", say(reload_us), ", computing them ",
                say(compute_us));
}

}  // namespace baton
