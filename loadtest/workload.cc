#include "loadtest/workload.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton::load {
namespace {

constexpr size_t kLinesMax = 1'000'000;
constexpr size_t kDrawnInputs = 1'000;
constexpr size_t kVectorFloatsMax = 16 << 20;   // 64 MiB of query vectors
constexpr size_t kTraceWordsMax = 100'000'000;  // about 600 MB of prompts

// Calls `use` with each non-empty line and its number, until it fails.
absl::Status ForEachLine(const std::string& path,
                         const std::function<absl::Status(std::string, size_t)>& use) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(StrCat("cannot open ", path));
  std::string line;
  size_t number = 0;
  while (std::getline(file, line)) {
    ++number;
    if (number > kLinesMax) {
      return absl::InvalidArgumentError(StrCat(path, ": more than ", kLinesMax, " lines"));
    }
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    RETURN_IF_ERROR(use(std::move(line), number));
    line.clear();
  }
  return absl::OkStatus();
}

absl::Status CheckNotEmpty(const std::string& path, const std::vector<std::string>& texts) {
  return texts.empty() ? absl::InvalidArgumentError(StrCat(path, " holds nothing to send"))
                       : absl::OkStatus();
}

int32_t Draw(const LengthRange& range, std::mt19937_64& random) {
  const auto width = static_cast<uint64_t>(range.max - range.min) + 1;
  return range.min + static_cast<int32_t>(random() % width);
}

// Independent normal values, scaled to length 1, point in every direction alike.
void AppendRandomUnitVector(int32_t dimension, std::mt19937_64& random,
                            std::vector<float>& values) {
  std::normal_distribution<float> normal;
  const size_t begin = values.size();
  values.resize(begin + static_cast<size_t>(dimension));
  double square_sum = 0;
  while (square_sum == 0) {
    for (size_t i = begin; i < values.size(); ++i) {
      values[i] = normal(random);
      square_sum += static_cast<double>(values[i]) * values[i];
    }
  }
  const float scale = static_cast<float>(1.0 / std::sqrt(square_sum));
  for (size_t i = begin; i < values.size(); ++i) values[i] *= scale;
}

// Steele, Lea and Flood 2014: neighbouring seeds give unlike numbers.
uint64_t SplitMix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

std::string WordsOf(uint64_t seed, int32_t count) {
  static constexpr std::string_view kWords[] = {
      "the",  "ship",  "came", "to",    "an",   "old",  "port", "and",  "men",  "took", "salt",
      "wood", "from",  "it",   "rain",  "fell", "on",   "a",    "long", "road", "with", "grey",
      "hill", "at",    "its",  "end",   "some", "said", "that", "no",   "one",  "knew", "how",
      "far",  "north", "was",  "cold",  "but",  "we",   "went", "by",   "foot", "in",   "time",
      "for",  "bread", "tea",  "light", "of",   "day",  "so",   "they", "sat",  "down", "under",
      "tree", "when",  "wind", "rose",  "over", "this", "land", "then", "all"};
  std::string text;
  for (int32_t i = 0; i < count; ++i) {
    if (i > 0) text += ' ';
    text +=
        kWords[SplitMix(seed + static_cast<uint64_t>(i) * 0x632be59bd9b4e019) % std::size(kWords)];
  }
  return text;
}

std::string PromptOf(const TraceEntry& entry, uint64_t seed) {
  if (entry.hash_ids.empty()) return WordsOf(seed, entry.input_length);
  std::string text;
  int32_t left = entry.input_length;
  for (size_t i = 0; left > 0; ++i) {
    // Ids cover the prompt; where they do not, the rest is the request's own.
    const bool has_id = i < entry.hash_ids.size();
    const int32_t words = has_id ? std::min(left, kTraceBlockWords) : left;
    if (i > 0) text += ' ';
    text += WordsOf(has_id ? SplitMix(entry.hash_ids[i]) : seed, words);
    left -= words;
  }
  return text;
}

absl::StatusOr<std::vector<std::string>> ReadQuestions(const std::string& path) {
  std::vector<std::string> questions;
  RETURN_IF_ERROR(ForEachLine(path, [&](std::string line, size_t number) {
    const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const std::string* question = nullptr;
    if (object.is_object() && object.contains("question")) {
      question = object["question"].get_ptr<const std::string*>();
    }
    if (question == nullptr || question->empty()) {
      return absl::InvalidArgumentError(
          StrCat(path, ":", number, ": not a JSON object with a non-empty string \"question\""));
    }
    questions.push_back(*question);
    return absl::OkStatus();
  }));
  RETURN_IF_ERROR(CheckNotEmpty(path, questions));
  return questions;
}

absl::StatusOr<std::vector<std::string>> ReadPrompts(const std::string& path) {
  std::vector<std::string> prompts;
  RETURN_IF_ERROR(ForEachLine(path, [&](std::string line, size_t) {
    prompts.push_back(std::move(line));
    return absl::OkStatus();
  }));
  RETURN_IF_ERROR(CheckNotEmpty(path, prompts));
  return prompts;
}

absl::StatusOr<VectorRows> ReadFvecs(const std::string& path, size_t floats_max) {
  static_assert(std::endian::native == std::endian::little);
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(StrCat("cannot open ", path));
  VectorRows rows;
  int32_t dimension = 0;
  size_t row = 0;
  while (file.read(reinterpret_cast<char*>(&dimension), sizeof(dimension))) {
    if (dimension < 1 || dimension > 65'536 || (row > 0 && dimension != rows.dimension)) {
      return absl::InvalidArgumentError(
          StrCat(path, ": row ", row, " has dimension ", dimension,
                 row == 0 ? ", which must be 1 to 65536" : ", unlike those before"));
    }
    rows.dimension = dimension;
    const size_t begin = rows.values.size();
    if (begin + static_cast<size_t>(dimension) > floats_max) break;
    rows.values.resize(begin + static_cast<size_t>(dimension));
    const auto bytes = static_cast<std::streamsize>(static_cast<size_t>(dimension) * sizeof(float));
    if (!file.read(reinterpret_cast<char*>(rows.values.data() + begin), bytes)) {
      return absl::InvalidArgumentError(StrCat(path, ": ends within row ", row));
    }
    for (size_t i = begin; i < rows.values.size(); ++i) {
      if (!std::isfinite(rows.values[i])) {
        return absl::InvalidArgumentError(StrCat(path, ": row ", row, " holds no finite number"));
      }
    }
    ++row;
  }
  if (rows.values.empty()) {
    return absl::InvalidArgumentError(StrCat(path, " holds no vector"));
  }
  return rows;
}

absl::Status Workload::ReadTexts(const RequestMix& mix) {
  ASSIGN_OR_RETURN(auto texts, mix.kind == Kind::kAsk ? ReadQuestions(mix.questions_path)
                                                      : ReadPrompts(mix.prompts_path));
  for (std::string& text : texts) inputs_.push_back({.text = std::move(text), .vector = {}});
  return absl::OkStatus();
}

void Workload::DrawPrompts(const RequestMix& mix, std::mt19937_64& random) {
  const uint64_t base = random();
  for (size_t i = 0; i < kDrawnInputs; ++i) {
    const int32_t words = Draw(mix.prompt_words, random);
    std::string text;
    int32_t own = words;
    if (mix.shared_prefixes > 0) {
      own -= mix.shared_prefix_words;
      const uint64_t prefix = random() % static_cast<uint64_t>(mix.shared_prefixes);
      text = WordsOf(SplitMix(base + prefix), mix.shared_prefix_words);
      if (own > 0) text += ' ';
    }
    text += WordsOf(random(), own);
    inputs_.push_back({.text = std::move(text), .vector = {}});
  }
}

absl::Status Workload::MakeVectors(const RequestMix& mix, std::mt19937_64& random) {
  const size_t rows = mix.kind == Kind::kSearch ? 1 : static_cast<size_t>(mix.batch);
  if (!mix.vectors_path.empty()) {
    ASSIGN_OR_RETURN(const VectorRows file, ReadFvecs(mix.vectors_path, kVectorFloatsMax));
    const size_t width = static_cast<size_t>(file.dimension);
    const size_t count = file.values.size() / width;
    const size_t requests = std::max<size_t>(1, count / rows);
    for (size_t i = 0; i < requests; ++i) {
      Input& input = inputs_.emplace_back();
      for (size_t row = 0; row < rows; ++row) {
        const auto begin =
            file.values.begin() + static_cast<std::ptrdiff_t>((i * rows + row) % count * width);
        input.vector.insert(input.vector.end(), begin, begin + file.dimension);
      }
    }
    return absl::OkStatus();
  }
  const size_t floats = rows * static_cast<size_t>(mix.dimension);
  const size_t requests = std::clamp<size_t>(kVectorFloatsMax / floats, 1, kDrawnInputs);
  for (size_t i = 0; i < requests; ++i) {
    Input& input = inputs_.emplace_back();
    for (size_t row = 0; row < rows; ++row) {
      AppendRandomUnitVector(mix.dimension, random, input.vector);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Workload> Workload::Make(const RequestMix& mix, const std::vector<TraceEntry>* trace,
                                        uint64_t seed) {
  Workload workload;
  std::mt19937_64 random(seed);
  if (trace != nullptr) {
    size_t words = 0;
    for (size_t i = 0; i < trace->size(); ++i) {
      const TraceEntry& entry = (*trace)[i];
      words += static_cast<size_t>(entry.input_length);
      if (words > kTraceWordsMax) {
        return absl::InvalidArgumentError(
            StrCat("the trace's prompts are more than ", kTraceWordsMax, " words; cut it"));
      }
      workload.inputs_.push_back({.text = PromptOf(entry, SplitMix(seed ^ (i + 1))),
                                  .vector = {},
                                  .max_tokens = entry.output_length});
    }
    return workload;
  }
  switch (mix.kind) {
    case Kind::kAsk:
      RETURN_IF_ERROR(workload.ReadTexts(mix));
      break;
    case Kind::kGenerate:
    case Kind::kChat:
      if (mix.prompts_path.empty()) {
        workload.DrawPrompts(mix, random);
      } else {
        RETURN_IF_ERROR(workload.ReadTexts(mix));
      }
      break;
    case Kind::kSearch:
    case Kind::kSearchBulk:
    case Kind::kUpsert:
      RETURN_IF_ERROR(workload.MakeVectors(mix, random));
  }
  for (Input& input : workload.inputs_) input.max_tokens = Draw(mix.max_tokens, random);
  return workload;
}

}  // namespace baton::load
