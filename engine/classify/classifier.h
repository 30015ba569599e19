#pragma once

#include <cstdint>

#include "engine/classify/classifier_options.h"
#include "engine/request/classification.h"
#include "engine/request/hints.h"

namespace baton {

// A piece of work before it has a class.
enum class WorkKind : uint8_t { kSearch, kPrefill, kDecode, kEmbed, kRerank, kWrite, kCluster };

// What class of work this is and which platform its shape asks for. Pure: the same input gives the
// same answer. `items`: queries, tokens, texts or points; hints.batch_size overrides it as the size
// of the batch. The first rule that applies decides:
//   pin              hints.platform
//   search-bulk      more queries than search_bulk_queries                  -> gpu
//   search-single    a single search with an SLA below search_sla_us        -> fpga
//   llm-prefill      prompt tokens                                          -> gpu
//   llm-decode       the next token                                         -> fpga
//   sla              SLA below sla_us                                       -> fpga
//   batch            more items than batch_items                            -> gpu
//   power            power budget below power_budget_w                      -> fpga
//   deterministic    hints.deterministic                                    -> fpga
//   default                                                                 -> gpu
Classification Classify(const ClassifierOptions& options, const Hints& hints, WorkKind kind,
                        int64_t items);

}  // namespace baton
