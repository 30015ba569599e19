#pragma once

// Stands in for the toolkit's header of this name; see cuda_runtime.h beside it.

#include <cmath>
#include <cstdint>
#include <cstring>

#include <vector_types.h>

struct __half {
  uint16_t bits;
};
struct alignas(4) __half2 {
  __half x, y;
};

// IEEE binary16, exact.
inline float __half2float(__half value) {
  const int exponent = value.bits >> 10 & 31;
  const int mantissa = value.bits & 1023;
  const float sign = (value.bits & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 31) return mantissa == 0 ? sign * INFINITY : NAN;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}
// To nearest, ties to even; infinite from 65,520 on.
inline __half __float2half_rn(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  if (std::isnan(x)) return {0x7FFF};
  const double magnitude = std::fabs(static_cast<double>(x));
  if (magnitude >= 65520.0) return {static_cast<uint16_t>(sign | 0x7C00)};
  const int exponent = magnitude > 0 ? std::ilogb(magnitude) : -15;
  if (exponent < -14) {  // denormal: units of 2^-24; 1024 of them are the smallest normal number
    return {static_cast<uint16_t>(sign | static_cast<int>(std::nearbyint(magnitude * 0x1p24)))};
  }
  const auto units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  return {static_cast<uint16_t>(sign | (((exponent + 15) << 10) + units - 1024))};
}
inline __half2 __floats2half2_rn(float x, float y) {
  return {__float2half_rn(x), __float2half_rn(y)};
}
inline float2 __half22float2(__half2 value) {
  return {__half2float(value.x), __half2float(value.y)};
}
