// How well times are predicted before they are observed.
//
//   cost_model.simulated_median_error  of a minute after 20 minutes of ten batches a second: the
//                                      worst of curves with knees, steps and noise that are not
//                                      of the model's own shapes (tests/engine/schedule)
//   cost_model.cpu_CLASS_error         of the last 2,048 batches on this machine's CPU executor,
//                                      after as many as it does in 20 minutes at five a second of
//                                      each class; as quickly as they go
//   cost_model.median_error            the worst of both; at most 0.10 is wanted
//   cost_model.tiny_decode_error       of steps of a tenth of a millisecond, which differ by what
//                                      else runs on the machine more than by their work: not in it

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/schedule/cost_model.h"
#include "tests/bench/bench_tools.h"
#include "tests/bench/hybrid_bench.h"
#include "tests/engine/schedule/device_curves.h"
#include "tests/support/plain_engine.h"

namespace baton {
namespace {

double SimulatedError(const BenchArgs& args) {
  const int minutes = args.tiny ? 1 : 20;
  constexpr int kPerMinute = 600;
  double worst = 0;
  for (const DeviceCurve& device : DeviceCurves()) {
    CostModel model(CostModelOptions(), {"device"});
    std::mt19937 random(static_cast<uint32_t>(args.seed));
    DeviceNoise noise(static_cast<uint32_t>(args.seed) + 1);
    std::vector<double> errors;
    for (int i = 0; i < (minutes + 1) * kPerMinute; ++i) {
      const WorkShape shape = device.traffic(random);
      const double run_us = std::max(1.0, device.run_us(shape) * noise.Next());
      const auto predicted = model.Predict(0, WorkClass::kSearchBulk, shape);
      if (i >= minutes * kPerMinute) errors.push_back(std::abs(predicted->run_us / run_us - 1));
      model.Observe(0, WorkClass::kSearchBulk, shape, std::llround(run_us), i * 100'000);
    }
    worst = std::max(worst, Median(errors));
  }
  return worst;
}

std::string Text(std::mt19937& random) {
  std::string text;
  for (auto words = 8 + random() % 200; words > 0; --words) {
    text += std::to_string(random() % 5000) + " ";
  }
  return text;
}

// A prompt of 8 to 400 tokens and up to 12 tokens behind it.
void Generate(Engine& engine, std::mt19937& random) {
  GenerateRequest request;
  std::vector<TokenId> prompt(static_cast<size_t>(LogUniform(random, 8, 401)));
  for (TokenId& token : prompt) token = 260 + static_cast<TokenId>(random() % 40);
  request.prompt = std::move(prompt);
  request.max_tokens = 1 + static_cast<int32_t>(random() % 12);
  request.ignore_eos = true;
  const auto sink = std::make_shared<Countdown>();
  OrDie(engine.Submit(std::move(request), sink).status());
  OrDie(sink->Wait());
}

// stories15M's shape, the smallest that tells a story: steps of about half a millisecond.
constexpr RandomModelOptions kModel = {.dim = 288,
                                       .ffn_dim = 768,
                                       .layers = 6,
                                       .heads = 6,
                                       .kv_heads = 6,
                                       .vocabulary = 32'000,
                                       .context_tokens = 512,
                                       .type = TensorType::kQ8_0,
                                       .distinct_rows = 64};
constexpr RandomModelOptions kTinyModel = {
    .dim = 256, .ffn_dim = 512, .layers = 4, .context_tokens = 512, .type = TensorType::kQ8_0};

// Searches of 1 to 64 queries, texts to embed and texts to go on with, one request after another.
double CpuError(const BenchArgs& args, BenchReport& report) {
  constexpr size_t kDimension = 96;
  const int points = args.tiny ? 200 : 20'000;
  const int batches = args.tiny ? 40 : 20 * 60 * 5;
  PlainEngine node;
  node.options.kv.memory_mb = 64;
  OrDie(node.AddRandomModel(args.tiny ? kTinyModel : kModel));
  OrDie(node.Start());
  Engine& engine = node.engine();
  std::mt19937 random(static_cast<uint32_t>(args.seed));
  std::normal_distribution<float> normal;
  const auto vector = [&] {
    std::vector<float> values(kDimension);
    for (float& value : values) value = normal(random);
    return values;
  };
  OrDie(PlainEngine::Call<CollectionInfo>([&](auto done) {
          return engine.SubmitCreate({.name = "c", .dimension = kDimension}, std::move(done));
        }).status());
  for (int from = 0; from < points; from += 200) {
    UpsertRequest upsert{.collection = "c"};
    for (int i = from; i < from + 200; ++i) {
      upsert.points.push_back({.id = PointId(static_cast<uint64_t>(i) + 1), .vector = vector()});
    }
    OrDie(PlainEngine::Call<UpsertResult>([&](auto done) {
            return engine.Submit(std::move(upsert), std::move(done));
          }).status());
  }
  for (int i = 0; i < batches; ++i) {
    SearchRequest search{.collection = "c"};
    search.params.k = 10;
    const auto queries = static_cast<int>(LogUniform(random, 1, 65));
    for (int q = 0; q < queries; ++q) search.queries.push_back(vector());
    OrDie(PlainEngine::Call<SearchResult>([&](auto done) {
            return engine.Submit(std::move(search), std::move(done));
          }).status());
    EmbedRequest embed;
    const auto texts = static_cast<int>(LogUniform(random, 1, 33));
    for (int t = 0; t < texts; ++t) embed.texts.push_back(Text(random));
    OrDie(PlainEngine::Call<EmbedResult>([&](auto done) {
            return engine.Submit(std::move(embed), std::move(done));
          }).status());
    Generate(engine, random);
  }
  double worst = 0;
  for (const LearnedCost& cost : engine.Costs()) {
    if (cost.samples < batches / 4) continue;  // beside the traffic
    report.Add("cost_model.cpu_" + std::string(Name(cost.work_class)) + "_error", cost.median_error,
               "");
    worst = std::max(worst, cost.median_error);
  }
  return worst;
}

double TinyDecodeError(const BenchArgs& args) {
  PlainEngine node;
  node.options.kv.memory_mb = 64;
  OrDie(node.AddRandomModel(kTinyModel));
  OrDie(node.Start());
  std::mt19937 random(static_cast<uint32_t>(args.seed));
  for (int i = 0; i < (args.tiny ? 40 : 2000); ++i) Generate(node.engine(), random);
  double error = 0;
  for (const LearnedCost& cost : node.engine().Costs()) {
    if (cost.work_class == WorkClass::kDecode) error = cost.median_error;
  }
  return error;
}

}  // namespace

void RunCosts(const BenchArgs& args, BenchReport& report) {
  const double simulated = SimulatedError(args);
  report.Add("cost_model.simulated_median_error", simulated, "of the worst curve");
  report.Add("cost_model.median_error", std::max(simulated, CpuError(args, report)), "");
  report.Add("cost_model.tiny_decode_error", TinyDecodeError(args), "");
}

}  // namespace baton
