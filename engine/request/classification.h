#pragma once

#include <string_view>

#include "engine/request/work.h"

namespace baton {

// What the classifier says of a piece of work.
struct Classification {
  WorkClass work_class = WorkClass::kPrefill;
  Platform preferred = Platform::kCpu;
  std::string_view rule;  // static storage; one of the names in classify/classifier.h
};

}  // namespace baton
