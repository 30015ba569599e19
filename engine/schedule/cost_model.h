#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/clock.h"
#include "engine/request/work.h"
#include "engine/schedule/cost_curve.h"
#include "engine/schedule/cost_model_options.h"
#include "engine/schedule/mixed_steps.h"

namespace baton {

// How well one class of work on one executor is known.
struct CostReport {
  WorkClass work_class = WorkClass::kPrefill;
  int executor = 0;
  int64_t samples = 0;
  double median_error = 0;  // |predicted / taken - 1|, predicted before; of the last batches
  int64_t drifts = 0;
};

// The times of every class of work on every executor: a CostCurve each. Pure, not thread safe.
class CostModel {
 public:
  // `executors`: a name for each, by which what was saved is found again.
  CostModel(const CostModelOptions& options, std::vector<std::string> executors);

  // A batch of this class has run. What cannot be, a time below zero, teaches nothing.
  void Observe(int executor, WorkClass work_class, const WorkShape& shape, TimeUs run_us,
               TimeUs now_us);
  // A batch of decodes and prompts has run: each is taught its part of the time (MixedSteps). What
  // that says of an error is not counted, for it is no prediction.
  void ObserveMixed(int executor, const WorkShape& decodes, const WorkShape& prompts, TimeUs run_us,
                    TimeUs now_us);
  // nullopt: nothing is known yet.
  std::optional<CostPrediction> Predict(int executor, WorkClass work_class,
                                        const WorkShape& shape) const;
  // Enough samples, and no wide interval.
  bool Sure(const CostPrediction& prediction) const;
  // Time since it last completed work of this class; a century where it never did.
  TimeUs SilentUs(int executor, WorkClass work_class, TimeUs now_us) const;

  // Of every class and executor that has completed work.
  std::vector<CostReport> Report() const;

  // All of it as text, versioned, with a checksum.
  std::string Save() const;
  // Takes over what was saved of the executors there are. DATA_LOSS: it is damaged, or of another
  // version; then nothing has changed.
  absl::Status Restore(std::string_view saved);

 private:
  static constexpr size_t kErrorsMax = 2048;
  struct Known {
    CostCurve curve;
    TimeUs last_us = 0;
    std::vector<float> errors;  // a ring once it is full
    size_t next_error = 0;
  };
  using Row = std::array<std::unique_ptr<Known>, kWorkClassCount>;

  const CostModelOptions options_;
  const std::vector<std::string> executors_;
  std::vector<Row> rows_;          // by executor
  std::vector<MixedSteps> mixed_;  // by executor; not saved, a few steps learn it again
};

}  // namespace baton
