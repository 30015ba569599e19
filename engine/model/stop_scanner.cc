#include "engine/model/stop_scanner.h"

#include <algorithm>
#include <utility>

namespace baton {

StopScanner::StopScanner(std::span<const std::string> strings) {
  for (const std::string& string : strings) {
    std::vector<size_t> border(string.size() + 1, 0);
    for (size_t i = 1; i < string.size(); ++i) {
      size_t length = border[i];
      while (length > 0 && string[length] != string[i]) length = border[length];
      border[i + 1] = string[length] == string[i] ? length + 1 : 0;
    }
    automata_.push_back({.string = string, .border = std::move(border)});
  }
}

std::string StopScanner::Push(std::string_view text, bool may_stop) {
  if (found_.has_value()) return {};
  if (automata_.empty()) return std::string(text);
  held_.reserve(held_.size() + text.size());
  for (const char byte : text) {
    held_.push_back(byte);
    size_t found_bytes = 0;
    for (size_t a = 0; a < automata_.size(); ++a) {
      auto& [string, border, matched] = automata_[a];
      if (matched == string.size()) matched = border[matched];
      while (matched > 0 && string[matched] != byte) matched = border[matched];
      if (string[matched] == byte) ++matched;
      if (may_stop && matched == string.size() && matched > found_bytes) {
        found_ = a;
        found_bytes = matched;
      }
    }
    if (found_.has_value()) {
      held_.resize(held_.size() - found_bytes);
      return std::exchange(held_, {});
    }
  }
  size_t keep = 0;
  for (const auto& [string, border, matched] : automata_) {
    keep = std::max(keep, matched == string.size() ? border[matched] : matched);
  }
  std::string shown = held_.substr(0, held_.size() - keep);
  held_.erase(0, shown.size());
  return shown;
}

std::string StopScanner::Finish() { return std::exchange(held_, {}); }

}  // namespace baton
