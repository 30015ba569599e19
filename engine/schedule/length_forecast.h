#pragma once

#include <cstdint>

namespace baton {

// How many tokens a sequence is expected to generate: the share of max_tokens that sequences have
// used, those that ended lately counting most, of what is left to it. A preemption says that too
// little was expected; it counts like a sequence that used all. (As SGLang's new-token ratio does,
// which decays by time instead.) Not thread safe.
class LengthForecast {
 public:
  // Everybody is expected to generate max_tokens, whatever is observed.
  static LengthForecast WorstCase() { return LengthForecast(1, 0); }
  // Begins at a half; each observation moves the share by 1/16 of the difference.
  static LengthForecast Learning() { return LengthForecast(0.5, 1.0 / 16); }

  // From generated + 1 to max_tokens, where generated < max_tokens; else max_tokens.
  int32_t Expect(int32_t generated, int32_t max_tokens) const;

  void ObserveEnd(int32_t generated, int32_t max_tokens);
  void ObservePreemption() { ObserveEnd(1, 1); }

 private:
  LengthForecast(double share, double weight) : share_(share), weight_(weight) {}

  double share_;
  double weight_;
};

}  // namespace baton
