#pragma once

#include <cstdint>
#include <vector>

namespace baton {

// How queries and keys rotate with their position.
struct RopeParameters {
  float base = 10000;              // pair i rotates by base^(-2i / dims) radians per position ...
  const float* factors = nullptr;  // ... divided by factors[i]; [dims / 2], above 0; null: none
  float scale = 1;                 // ... and times this, save where yarn leaves it out
  float magnitude = 1;             // what has rotated is multiplied by this

  // YaRN: pairs that turn more than beta_fast times within the original context keep their
  // frequency, those that turn less than beta_slow times are scaled, between them it is blended.
  float yarn_mix = 0;  // 0: no yarn, all are scaled; 1: as published
  float yarn_beta_fast = 32;
  float yarn_beta_slow = 1;
  int32_t original_context_tokens = 0;
};

// Radians per position of each pair: [dims / 2]. YaRN as in Peng et al., "YaRN: Efficient Context
// Window Extension of Large Language Models" (2023), with whole pairs as the blend's ends. With
// yarn the base must be above 1.
std::vector<double> RopeFrequencies(const RopeParameters& rope, int32_t dims);

}  // namespace baton
