// What a file of learned costs may hold: Restore takes it or refuses it, and what it has taken
// predicts finite times and reads back.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/base/check.h"
#include "engine/schedule/cost_curve.h"
#include "engine/schedule/cost_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CostModel model({}, {"cpu cpu0", "gpu g"});
  if (model.Restore(text).ok()) BATON_CHECK(model.Restore(model.Save()).ok());
  // Behind the checksum, which no fuzzer would guess.
  CostCurve curve;
  if (!curve.Restore(text).ok()) return 0;
  BATON_CHECK(std::isfinite(curve.Predict({.items = 7}).run_us));
  BATON_CHECK(CostCurve().Restore(curve.Save()).ok());
  for (int i = 0; i < 20; ++i) curve.Observe({.items = 1.0 + i}, 100);
  BATON_CHECK(std::isfinite(curve.Predict({.items = 7}).run_us));
  return 0;
}
