#include "loadtest/workload.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace baton::load {
namespace {

constexpr size_t kLinesMax = 1'000'000;
constexpr size_t kVectorsMax = 1'000;
constexpr size_t kVectorFloatsMax = 16 << 20;  // 64 MiB of query vectors

// Calls `use` with each non-empty line and its number, until it fails.
absl::Status ForEachLine(const std::string& path,
                         const std::function<absl::Status(std::string, size_t)>& use) {
  std::ifstream file(path);
  if (!file) {
    return absl::NotFoundError(absl::StrCat("cannot open ", path));
  }
  std::string line;
  size_t number = 0;
  while (std::getline(file, line)) {
    ++number;
    if (number > kLinesMax) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": more than ", kLinesMax, " lines"));
    }
    if (!line.empty() && line.back() == '\r') {
      line.pop_back();
    }
    if (line.find_first_not_of(" \t") == std::string::npos) {
      continue;
    }
    if (absl::Status status = use(std::move(line), number); !status.ok()) {
      return status;
    }
    line.clear();
  }
  return absl::OkStatus();
}

absl::Status CheckNotEmpty(const std::string& path, const std::vector<std::string>& texts) {
  return texts.empty() ? absl::InvalidArgumentError(absl::StrCat(path, " holds nothing to send"))
                       : absl::OkStatus();
}

// Independent normal values, scaled to length 1, point in every direction alike.
std::vector<float> RandomUnitVector(int32_t dimension, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(dimension));
  double square_sum = 0;
  while (square_sum == 0) {
    for (float& value : values) {
      value = normal(random);
      square_sum += static_cast<double>(value) * value;
    }
  }
  const float scale = static_cast<float>(1.0 / std::sqrt(square_sum));
  for (float& value : values) {
    value *= scale;
  }
  return values;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ReadQuestions(const std::string& path) {
  std::vector<std::string> questions;
  absl::Status status = ForEachLine(path, [&](std::string line, size_t number) {
    const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const std::string* question = nullptr;
    if (object.is_object() && object.contains("question")) {
      question = object["question"].get_ptr<const std::string*>();
    }
    if (question == nullptr || question->empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ":", number, ": not a JSON object with a non-empty string \"question\""));
    }
    questions.push_back(*question);
    return absl::OkStatus();
  });
  if (status.ok()) {
    status = CheckNotEmpty(path, questions);
  }
  if (!status.ok()) {
    return status;
  }
  return questions;
}

absl::StatusOr<std::vector<std::string>> ReadPrompts(const std::string& path) {
  std::vector<std::string> prompts;
  absl::Status status = ForEachLine(path, [&](std::string line, size_t) {
    prompts.push_back(std::move(line));
    return absl::OkStatus();
  });
  if (status.ok()) {
    status = CheckNotEmpty(path, prompts);
  }
  if (!status.ok()) {
    return status;
  }
  return prompts;
}

absl::StatusOr<Workload> MakeWorkload(const LoadOptions& options) {
  Workload workload;
  if (options.scenario == Scenario::kSearch) {
    const size_t dimension = static_cast<size_t>(options.dimension);
    const size_t count = std::clamp<size_t>(kVectorFloatsMax / dimension, 1, kVectorsMax);
    std::mt19937_64 random(options.seed);
    for (size_t i = 0; i < count; ++i) {
      workload.vectors.push_back(RandomUnitVector(options.dimension, random));
    }
    return workload;
  }
  auto texts = options.scenario == Scenario::kAsk ? ReadQuestions(options.questions_path)
                                                  : ReadPrompts(options.prompts_path);
  if (!texts.ok()) {
    return texts.status();
  }
  workload.texts = *std::move(texts);
  return workload;
}

}  // namespace baton::load
