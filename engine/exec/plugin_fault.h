#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <sstream>
#include <string>
#include <utility>

#include "engine/exec/executor_abi.h"

namespace baton::plugin {

// For plug-ins: how something in one ended, in the ABI's words. A value; thread safe as values are.
class [[nodiscard]] Fault {
 public:
  Fault() = default;  // none
  Fault(baton_code code, std::string message) : code_(code), message_(std::move(message)) {}

  bool failed() const { return code_ != BATON_OK; }
  baton_code code() const { return code_; }
  const std::string& message() const { return message_; }

  // The end of an ABI function: its code, with the message in the caller's error.
  int32_t Tell(baton_error* error) const {
    if (failed()) {
      const size_t length = std::min(message_.size(), sizeof(error->message) - 1);
      std::memcpy(error->message, message_.data(), length);
      error->message[length] = '\0';
    }
    return code_;
  }

 private:
  baton_code code_ = BATON_OK;
  std::string message_;
};

// The parts as one text.
template <class... Parts>
std::string Text(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

}  // namespace baton::plugin

// Returns from the enclosing function where `expr`, a Fault, is one.
#define BATON_PLUGIN_TRY(expr)                                                 \
  do {                                                                         \
    if (::baton::plugin::Fault baton_fault_ = (expr); baton_fault_.failed()) { \
      return baton_fault_;                                                     \
    }                                                                          \
  } while (false)
