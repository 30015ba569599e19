#pragma once

#include <vector>

#include "engine/exec/executor_abi.h"
#include "engine/model/language_model.h"
#include "engine/model/matrix_view.h"

namespace baton {

baton_matrix AbiMatrixOf(const MatrixView& view);

// A model as the ABI describes it. The model outlives it.
class PluginModel {
 public:
  explicit PluginModel(const LanguageModel& model);
  PluginModel(const PluginModel&) = delete;
  PluginModel& operator=(const PluginModel&) = delete;
  const baton_llm_model& get() const { return model_; }

 private:
  std::vector<baton_llm_layer> layers_;
  std::vector<double> frequency_;
  std::vector<double> window_frequency_;
  baton_llm_model model_ = {};
};

}  // namespace baton
