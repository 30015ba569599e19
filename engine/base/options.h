#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

// What an XOptions struct says of its fields. Each component owns such a struct and lists every
// field once, in Describe(): key, field, what values are allowed, one line of help. The config
// loader, the command-line flags, the help text and the validation all visit that one list:
//
//   struct SchedulerOptions {
//     int64_t step_tokens_max = 512;
//     template <class Visitor> void Describe(Visitor& v) {
//       v("step_tokens_max", step_tokens_max, Range{1, 65536}, "tokens in one step at most");
//     }
//   };
namespace baton {

// Allowed values of a number, both ends included.
struct Range {
  double min;
  double max;
};

// Allowed values of a string.
struct OneOf {
  OneOf(std::initializer_list<const char*> allowed) : values(allowed.begin(), allowed.end()) {}
  std::vector<std::string> values;
};

// Any value of the field's type.
struct AnyValue {};

}  // namespace baton
