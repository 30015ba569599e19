#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "baton/v1/vector.pb.h"
#include "google/protobuf/map.h"
#include "server/batonctl/text.h"

// Payloads and filters, from and to text.
namespace baton::ctl {

using PayloadMap = google::protobuf::Map<std::string, v1::PayloadValue>;

// "a=1, b=text": by key, on one line, cut where it is long.
std::string PayloadText(const PayloadMap& payload);

std::string MatchText(const v1::MatchValue& value);

// A filter in protobuf's JSON mapping. INVALID_ARGUMENT says what is wrong with it.
absl::Status ParseFilter(const std::string& json, v1::Filter& filter);

// A JSON object as a payload: texts, numbers (integers where they have no fraction), booleans, and
// lists of texts or of integers. INVALID_ARGUMENT names the key that holds anything else.
absl::Status ParsePayload(const std::string& json, PayloadMap& payload);

// The id of a Point or ScoredPoint.
template <class Point>
std::string PointIdText(const Point& point) {
  return point.uuid().empty() ? absl::StrCat(point.id()) : Printable(point.uuid());
}

}  // namespace baton::ctl
