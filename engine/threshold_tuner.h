#pragma once

#include <vector>

#include "engine/classify/classifier_options.h"
#include "engine/request/work.h"
#include "engine/schedule/cost_model.h"

namespace baton {

// Moves the classifier's thresholds to where learned times cross; what is not known for sure leaves
// a threshold where it is configured. Pure. `platforms`: of the model's executors that are present.
//   search_bulk_queries  the most queries that another platform still searches quicker than the GPU
//   batch_items          the most texts that another platform still embeds quicker than the GPU
//   search_sla_us        below what the quickest executor other than the FPGA takes for one search
struct TunedExecutor {
  int index = 0;
  Platform platform = Platform::kCpu;
};
ClassifierOptions TuneThresholds(const ClassifierOptions& configured, const CostModel& costs,
                                 const std::vector<TunedExecutor>& executors);

}  // namespace baton
