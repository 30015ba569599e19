// A trained model in every quantisation: what the products of rounded weights and rounded
// activations cost, beside the same rounded weights in F32.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "engine/exec/cpu/decoder_forward.h"
#include "engine/model/gguf.h"
#include "tests/engine/exec/forward_harness.h"

namespace baton {
namespace {

constexpr const char* kModel = "deploy/demo/model/baton-reader.gguf";
constexpr size_t kTexts = 8;
constexpr size_t kTextTokens = 384;
constexpr int32_t kStepTokens = 64;
constexpr double kBound = 0.005;  // of the perplexity

std::string ReadWhole(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in.good());
  return {std::istreambuf_iterator<char>(in), {}};
}

// The keys and values of a GGUF file as they lie in it: behind the header, before the first
// tensor's name.
std::string_view RawKeys(std::string_view bytes, const GgufFile& file) {
  constexpr size_t kHeaderBytes = 24;
  const std::string_view name = file.tensors().front().name;
  const uint64_t length = name.size();
  std::string first(sizeof length, '\0');
  std::memcpy(first.data(), &length, sizeof length);
  first += name;
  const size_t end = bytes.find(first, kHeaderBytes);
  REQUIRE(end != std::string_view::npos);
  return bytes.substr(kHeaderBytes, end - kHeaderBytes);
}

std::vector<float> Weights(TensorType type, const GgufTensor& tensor) {
  const int64_t cols = tensor.dims.front();
  const int64_t rows = tensor.dims.size() > 1 ? tensor.dims[1] : 1;
  std::vector<float> weights(static_cast<size_t>(rows * cols));
  for (int64_t row = 0; row < rows; ++row) {
    DequantizeRow(type, tensor.data.data() + row * RowBytes(type, cols), cols,
                  weights.data() + row * cols);
  }
  return weights;
}

struct Pair {
  std::shared_ptr<const LanguageModel> quantised;
  std::shared_ptr<const LanguageModel> f32;  // of the same weights, rounded alike
};

// The bundled model with its matrices rounded to `type`, or, where their rows are no whole blocks
// of it, to `fallback`, as published files do.
Pair Requantised(TensorType type, TensorType fallback) {
  const std::string bytes = ReadWhole(kModel);
  const auto file = GgufFile::Open(kModel);
  REQUIRE_OK(file);
  uint64_t key_count = 0;
  std::memcpy(&key_count, bytes.data() + 16, sizeof key_count);
  const std::string_view keys = RawKeys(bytes, **file);
  GgufWriter quantised;
  GgufWriter f32;
  quantised.AddRawKeys(key_count, keys);
  f32.AddRawKeys(key_count, keys);
  for (const GgufTensor& tensor : (*file)->tensors()) {
    const std::vector<float> weights = Weights(*TensorTypeOf(tensor.type), tensor);
    TensorType rounded = TensorType::kF32;
    if (tensor.dims.size() > 1) {
      rounded = tensor.dims.front() % BlockWeights(type) == 0 ? type : fallback;
    }
    const std::string data = EncodeWeights(rounded, weights);
    quantised.AddRawTensor(tensor.name, tensor.dims, static_cast<uint32_t>(rounded), data);
    const GgufTensor again = {.name = tensor.name,
                              .type = static_cast<uint32_t>(rounded),
                              .dims = tensor.dims,
                              .data = std::as_bytes(std::span(data))};
    f32.AddTensor(tensor.name, tensor.dims, TensorType::kF32, Weights(rounded, again));
  }
  const TempFile quantised_file(quantised.Bytes());
  const TempFile f32_file(f32.Bytes());
  auto model = LoadLanguageModel("quantised", quantised_file.path());
  REQUIRE_OK(model);
  auto exact = LoadLanguageModel("f32", f32_file.path());
  REQUIRE_OK(exact);
  return {.quantised = *std::move(model), .f32 = *std::move(exact)};
}

// Beginnings of the demo's documents, in the order of their names.
std::vector<std::vector<TokenId>> Texts(const Tokenizer& tokenizer) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator("deploy/demo/corpus")) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::vector<TokenId>> texts;
  for (const auto& path : paths) {
    auto tokens = EncodePrompt(tokenizer, ReadWhole(path));
    if (tokens.size() < kTextTokens) continue;
    tokens.resize(kTextTokens);
    texts.push_back(std::move(tokens));
    if (texts.size() == kTexts) break;
  }
  REQUIRE(texts.size() == kTexts);
  return texts;
}

// Of the texts as prompts, or as if they had been generated.
double Perplexity(const std::shared_ptr<const LanguageModel>& model, SimdLevel level,
                  bool generated) {
  const LlmShape& shape = model->shape();
  ThreadTeam team(2);
  DecoderForward forward(model, KernelsFor(level), team, kStepTokens);
  const KvLayout layout = LayoutOf(shape, 16);
  double loss = 0;
  size_t count = 0;
  for (const std::vector<TokenId>& text : Texts(model->tokenizer())) {
    SequenceBlocks blocks(layout, shape.context_tokens);
    for (size_t at = 0; at < text.size(); at += kStepTokens) {
      const auto tokens =
          std::span(text).subspan(at, std::min<size_t>(kStepTokens, text.size() - at));
      const ForwardItem item = {.tokens = tokens,
                                .generated = generated ? static_cast<int32_t>(tokens.size()) : 0,
                                .position = static_cast<int32_t>(at),
                                .blocks = blocks.blocks,
                                .logits = static_cast<int32_t>(tokens.size())};
      size_t next = at + 1;
      REQUIRE_OK(forward.Run(layout, {&item, 1}, [&](size_t, std::span<const float> logits) {
        if (next == text.size()) return;
        const float largest = *std::max_element(logits.begin(), logits.end());
        double sum = 0;
        for (const float logit : logits) sum += std::exp(double{logit} - largest);
        loss += std::log(sum) + largest - logits[static_cast<size_t>(text[next])];
        ++next;
        ++count;
      }));
    }
  }
  CHECK(count == kTexts * (kTextTokens - 1));
  return std::exp(loss / static_cast<double>(count));
}

}  // namespace

TEST_CASE("the products of every quantisation keep the perplexity of its weights") {
  const auto [type, fallback] = GENERATE(table<TensorType, TensorType>({
      {TensorType::kQ8_0, TensorType::kQ8_0},
      {TensorType::kQ4_0, TensorType::kQ4_0},
      {TensorType::kQ4_1, TensorType::kQ4_1},
      {TensorType::kQ5_0, TensorType::kQ5_0},
      {TensorType::kQ5_1, TensorType::kQ5_1},
      {TensorType::kQ4K, TensorType::kQ5_0},
      {TensorType::kQ5K, TensorType::kQ5_1},
      {TensorType::kQ6K, TensorType::kQ8_0},
  }));
  const Pair pair = Requantised(type, fallback);
  const SimdLevel level = SupportedSimdLevels().back();
  const double exact = Perplexity(pair.f32, level, false);
  const double of_prompts = Perplexity(pair.quantised, level, false);
  const double generated = Perplexity(pair.quantised, level, true);
  std::cout << Name(type) << " " << Name(level) << ": perplexity " << of_prompts << " of prompts, "
            << generated << " generated, " << exact << " in F32\n";
  CHECK(of_prompts == Approx(exact).epsilon(kBound));
  CHECK(generated == Approx(exact).epsilon(kBound));
}

}  // namespace baton
