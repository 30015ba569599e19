#include "engine/exec/fpga/plugin/sampling.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace baton::fpga {
namespace {

// splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), as
// engine/model/sampler.cc has it.
uint64_t Draw(uint64_t* state) {
  *state += 0x9e3779b97f4a7c15;
  uint64_t z = *state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

uint32_t Q16(double share) {
  return static_cast<uint32_t>(std::lround(std::clamp(share, 0.0, 1.0) * 65536));
}

}  // namespace

SamplerArgs SamplerArgsFor(const baton_sampling* sampling, uint32_t vocabulary,
                           uint64_t* random_state) {
  SamplerArgs args = {};
  args.vocabulary = vocabulary;
  if (sampling == nullptr || !(sampling->temperature > 0)) return args;
  constexpr double kSharpnessMax = (1u << 30) - 1;
  const double sharpness = std::ldexp(std::numbers::log2e / sampling->temperature, 16);
  args.sharpness = static_cast<uint32_t>(std::lround(std::clamp(sharpness, 1.0, kSharpnessMax)));
  args.top_k = static_cast<uint32_t>(std::max(sampling->top_k, 0));
  args.top_p = Q16(sampling->top_p);
  args.min_p = Q16(sampling->min_p);
  args.random = static_cast<uint32_t>(Draw(random_state) >> 32);
  return args;
}

}  // namespace baton::fpga
