#include "engine/schedule/cost_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr std::string_view kHeader = "baton-cost-model 4\n";
constexpr std::string_view kChecksum = "checksum ";
constexpr TimeUs kNeverUs = TimeUs{100} * 365 * 24 * 3600 * 1'000'000;

// FNV-1a, 64 bits: finds a torn or edited file; nobody gains by forging one.
uint64_t ChecksumOf(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

// Up to the next `end`, which is taken, too.
std::string_view Take(std::string_view& text, char end) {
  const size_t at = std::min(text.find(end), text.size());
  const std::string_view taken = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return taken;
}

bool ParseClass(std::string_view name, size_t* index) {
  for (size_t i = 0; i < kWorkClassCount; ++i) {
    if (Name(static_cast<WorkClass>(i)) != name) continue;
    *index = i;
    return true;
  }
  return false;
}

// What took less than the clock's step took half of it.
constexpr double kRunUsMin = 0.5;

}  // namespace

CostModel::CostModel(const CostModelOptions& options, std::vector<std::string> executors)
    : options_(options),
      executors_(std::move(executors)),
      rows_(executors_.size()),
      mixed_(executors_.size()) {}

void CostModel::Observe(int executor, WorkClass work_class, const WorkShape& shape, TimeUs run_us,
                        TimeUs now_us) {
  if (run_us < 0) return;
  auto& known = rows_[static_cast<size_t>(executor)][static_cast<size_t>(work_class)];
  if (known == nullptr) known = std::make_unique<Known>();
  const double taken_us = std::max(static_cast<double>(run_us), kRunUsMin);
  if (known->curve.samples() >= options_.samples_min) {
    const double error = std::abs(known->curve.Predict(shape).run_us / taken_us - 1);
    if (known->errors.size() < kErrorsMax) {
      known->errors.push_back(static_cast<float>(error));
    } else {
      known->errors[known->next_error++ % kErrorsMax] = static_cast<float>(error);
    }
  }
  known->curve.Observe(shape, taken_us);
  known->last_us = now_us;
}

void CostModel::ObserveMixed(int executor, const WorkShape& decodes, const WorkShape& prompts,
                             TimeUs run_us, TimeUs now_us) {
  const auto sure = [&](WorkClass work_class, const WorkShape& shape) {
    std::optional<CostPrediction> predicted = Predict(executor, work_class, shape);
    if (predicted && !Sure(*predicted)) predicted.reset();
    return predicted;
  };
  const MixedSteps::Times times = mixed_[static_cast<size_t>(executor)].Split(
      static_cast<double>(run_us), sure(WorkClass::kDecode, decodes),
      sure(WorkClass::kPrefill, prompts));
  const auto learn = [&](WorkClass work_class, const WorkShape& shape, double taken_us) {
    auto& known = rows_[static_cast<size_t>(executor)][static_cast<size_t>(work_class)];
    if (known == nullptr) known = std::make_unique<Known>();
    known->curve.Observe(shape, taken_us);
    known->last_us = now_us;
  };
  if (times.decode_us) learn(WorkClass::kDecode, decodes, *times.decode_us);
  if (times.prefill_us) learn(WorkClass::kPrefill, prompts, *times.prefill_us);
}

std::optional<CostPrediction> CostModel::Predict(int executor, WorkClass work_class,
                                                 const WorkShape& shape) const {
  const auto& known = rows_[static_cast<size_t>(executor)][static_cast<size_t>(work_class)];
  if (known == nullptr) return std::nullopt;
  return known->curve.Predict(shape);
}

bool CostModel::Sure(const CostPrediction& prediction) const {
  return prediction.samples >= options_.samples_min &&
         prediction.run_us_high <= prediction.run_us * options_.interval_max;
}

TimeUs CostModel::SilentUs(int executor, WorkClass work_class, TimeUs now_us) const {
  const auto& known = rows_[static_cast<size_t>(executor)][static_cast<size_t>(work_class)];
  return known == nullptr ? kNeverUs : now_us - known->last_us;
}

std::vector<CostReport> CostModel::Report() const {
  std::vector<CostReport> reports;
  for (size_t e = 0; e < rows_.size(); ++e) {
    for (size_t c = 0; c < kWorkClassCount; ++c) {
      const auto& known = rows_[e][c];
      if (known == nullptr) continue;
      std::vector<float> errors = known->errors;
      const auto middle = errors.begin() + static_cast<ptrdiff_t>(errors.size() / 2);
      std::nth_element(errors.begin(), middle, errors.end());
      reports.push_back({.work_class = static_cast<WorkClass>(c),
                         .executor = static_cast<int>(e),
                         .samples = known->curve.samples(),
                         .median_error = errors.empty() ? 0 : *middle,
                         .drifts = known->curve.drifts()});
    }
  }
  return reports;
}

std::string CostModel::Save() const {
  std::string text(kHeader);
  for (size_t e = 0; e < rows_.size(); ++e) {
    for (size_t c = 0; c < kWorkClassCount; ++c) {
      if (rows_[e][c] == nullptr) continue;
      text += StrCat(Name(static_cast<WorkClass>(c)), "\t", executors_[e], "\t",
                     rows_[e][c]->curve.Save(), "\n");
    }
  }
  text += StrCat(kChecksum, ChecksumOf(text), "\n");
  return text;
}

absl::Status CostModel::Restore(std::string_view saved) {
  const size_t end = saved.rfind(kChecksum);
  if (end == saved.npos ||
      saved.substr(end) != StrCat(kChecksum, ChecksumOf(saved.substr(0, end)), "\n")) {
    return absl::DataLossError("its checksum does not fit");
  }
  std::string_view text = saved.substr(0, end);
  if (!text.starts_with(kHeader)) {
    return absl::DataLossError(StrCat("it begins with \"", Escaped(Take(text, '\n')),
                                      "\" instead of \"baton-cost-model 4\""));
  }
  text.remove_prefix(kHeader.size());
  std::vector<Row> rows(executors_.size());
  while (!text.empty()) {
    std::string_view line = Take(text, '\n');
    size_t work_class = 0;
    const std::string_view class_name = Take(line, '\t');
    if (!ParseClass(class_name, &work_class)) {
      return absl::DataLossError(
          StrCat("it names the work class \"", Escaped(class_name), "\", which there is not"));
    }
    const std::string_view executor = Take(line, '\t');
    auto known = std::make_unique<Known>();
    const absl::Status read = known->curve.Restore(line);
    if (!read.ok()) return absl::DataLossError(std::string(read.message()));
    for (size_t e = 0; e < executors_.size(); ++e) {
      if (executors_[e] == executor) rows[e][work_class] = std::move(known);
      if (known == nullptr) break;
    }
  }
  rows_ = std::move(rows);
  return absl::OkStatus();
}

}  // namespace baton
