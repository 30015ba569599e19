#include "server/batonctl/payload_text.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/util/json_util.h"
#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {

constexpr size_t kPayloadChars = 100;

std::string ValueText(const v1::PayloadValue& value) {
  switch (value.kind_case()) {
    case v1::PayloadValue::kText:
      return value.text();
    case v1::PayloadValue::kInteger:
      return absl::StrCat(value.integer());
    case v1::PayloadValue::kNumber:
      return absl::StrCat(value.number());
    case v1::PayloadValue::kBoolean:
      return value.boolean() ? "true" : "false";
    case v1::PayloadValue::kTexts:
      return absl::StrCat("[", absl::StrJoin(value.texts().values(), ", "), "]");
    case v1::PayloadValue::kIntegers:
      return absl::StrCat("[", absl::StrJoin(value.integers().values(), ", "), "]");
    case v1::PayloadValue::KIND_NOT_SET:
      break;
  }
  return "";
}

// False where a payload cannot hold it.
bool ToValue(const nlohmann::json& json, v1::PayloadValue& value) {
  const auto all = [&json](auto is) { return std::all_of(json.begin(), json.end(), is); };
  if (json.is_string()) {
    value.set_text(json.get<std::string>());
  } else if (json.is_boolean()) {
    value.set_boolean(json.get<bool>());
  } else if (json.is_number_integer()) {
    value.set_integer(json.get<int64_t>());
  } else if (json.is_number()) {
    value.set_number(json.get<double>());
  } else if (json.is_array() && all([](const auto& each) { return each.is_string(); })) {
    value.mutable_texts();
    for (const auto& each : json) value.mutable_texts()->add_values(each.get<std::string>());
  } else if (json.is_array() && all([](const auto& each) { return each.is_number_integer(); })) {
    for (const auto& each : json) value.mutable_integers()->add_values(each.get<int64_t>());
  } else {
    return false;
  }
  return true;
}

}  // namespace

std::string PayloadText(const PayloadMap& payload) {
  std::map<std::string, std::string> sorted;  // protobuf's maps have no order
  for (const auto& [key, value] : payload) {
    sorted[key] = ValueText(value);
  }
  return OneLine(absl::StrJoin(sorted, ", ", absl::PairFormatter("=")), kPayloadChars);
}

std::string MatchText(const v1::MatchValue& value) {
  switch (value.kind_case()) {
    case v1::MatchValue::kText:
      return value.text();
    case v1::MatchValue::kInteger:
      return absl::StrCat(value.integer());
    case v1::MatchValue::kBoolean:
      return value.boolean() ? "true" : "false";
    case v1::MatchValue::KIND_NOT_SET:
      break;
  }
  return "";
}

absl::Status ParseFilter(const std::string& json, v1::Filter& filter) {
  const auto status = google::protobuf::util::JsonStringToMessage(json, &filter);
  if (status.ok()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--filter is no filter: ",
                   absl::string_view(status.message().data(), status.message().size())));
}

absl::Status ParsePayload(const std::string& json, PayloadMap& payload) {
  const nlohmann::json object = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) {
    return absl::InvalidArgumentError("--set is no JSON object");
  }
  for (const auto& [key, value] : object.items()) {
    if (!ToValue(value, payload[key])) {
      return absl::InvalidArgumentError(
          absl::StrCat("--set: \"", Printable(key),
                       "\" must be a text, a number, a boolean, or a list of texts or integers"));
    }
  }
  return absl::OkStatus();
}

}  // namespace baton::ctl
