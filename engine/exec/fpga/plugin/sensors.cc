#include "engine/exec/fpga/plugin/sensors.h"

#include <charconv>
#include <cmath>
#include <cstddef>
#include <string_view>

namespace baton::fpga {
namespace {

// The number behind the next "key": at or behind `from`, in quotes or not; false: there is none.
bool NextNumber(std::string_view json, std::string_view key, size_t* from, double* number) {
  while ((*from = json.find(key, *from)) != std::string_view::npos) {
    *from += key.size();
    const size_t begin = json.find_first_not_of("\": \t\n", *from);
    if (begin == std::string_view::npos) return false;
    const char* const end = json.data() + json.size();
    const auto parsed = std::from_chars(json.data() + begin, end, *number);
    if (parsed.ec == std::errc() && std::isfinite(*number)) return true;
  }
  return false;
}

}  // namespace

void ReadSensors(const std::string& thermal, const std::string& electrical,
                 baton_device_sample* sample) {
  double number = 0;
  for (size_t at = 0; NextNumber(thermal, "\"temp_C\"", &at, &number);) {
    if (number > sample->temperature_c && number > 0) sample->temperature_c = number;
  }
  size_t at = 0;
  if (NextNumber(electrical, "\"power_consumption_watts\"", &at, &number) && number > 0) {
    sample->power_w = number;
  }
}

}  // namespace baton::fpga
