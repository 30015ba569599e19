#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "engine/base/options.h"
#include "spdlog/logger.h"

namespace baton {

struct LogOptions {
  std::string level = "info";
  std::string format = "text";

  template <class Visitor>
  void Describe(Visitor& v) {
    v("level", level, OneOf{"trace", "debug", "info", "warn", "error"},
      "least severe level logged");
    v("format", format, OneOf{"text", "json"}, "one line of text, or one JSON object, per record");
  }
};

// The process's logger: to stderr, thread safe. Before InitLog it logs text at level info.
spdlog::logger& Log();

// Applies options. Call once, early in main; not thread safe.
void InitLog(const LogOptions& options);
// LogOptions::level, from now on. Thread safe.
void SetLogLevel(std::string_view level);

}  // namespace baton
