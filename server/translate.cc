#include "server/translate.h"

#include <charconv>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

// gRPC drops trailing metadata above 8 KiB, and percent-encoding can triple a message.
constexpr size_t kMessageBytesMax = 2048;

constexpr std::string_view kMetadataPrefix = "baton-";

// The protos number enums from 1, the engine from 0.
static_assert(v1::PLATFORM_CPU == static_cast<int>(Platform::kCpu) + 1);
static_assert(v1::PLATFORM_FPGA == static_cast<int>(Platform::kFpga) + 1);
static_assert(v1::Platform_MAX == kPlatformCount);
static_assert(v1::FALLBACK_NONE == static_cast<int>(Fallback::kNone) + 1);
static_assert(v1::FALLBACK_RETRY == static_cast<int>(Fallback::kRetry) + 1);
static_assert(v1::POLICY_LATENCY_OPTIMIZED == static_cast<int>(Policy::kLatencyOptimized) + 1);
static_assert(v1::POLICY_BALANCED == static_cast<int>(Policy::kBalanced) + 1);
static_assert(v1::WORK_CLASS_PREFILL == static_cast<int>(WorkClass::kPrefill) + 1);
static_assert(v1::WORK_CLASS_EMBED == static_cast<int>(WorkClass::kEmbed) + 1);
static_assert(v1::WORK_CLASS_KMEANS == static_cast<int>(WorkClass::kKmeans) + 1);
static_assert(v1::WorkClass_MAX == kWorkClassCount);

template <class T>
bool ParseNumber(std::string_view text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

// What a client sent as metadata.
struct MetadataFields {
  Hints hints;
  std::optional<int32_t> priority;
  std::optional<std::string> tenant;
};

// False where `value` is none of the field's type.
template <class T>
bool ParseField(std::string_view value, std::optional<T>& field) {
  T parsed{};
  if constexpr (std::is_same_v<T, std::string>) {
    parsed = value;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (value != "true" && value != "false") return false;
    parsed = value == "true";
  } else if constexpr (std::is_enum_v<T> || std::is_same_v<T, PlatformSet>) {
    if (!Parse(value, &parsed)) return false;
  } else {
    if (!ParseNumber(value, &parsed)) return false;
  }
  field = std::move(parsed);
  return true;
}

absl::Status ParseMetadataField(std::string_view key, std::string_view value,
                                MetadataFields& fields) {
  const std::string_view name = key.substr(kMetadataPrefix.size());
  bool parsed;
  std::string_view expected;
  if (name == "latency-sla-us") {
    parsed = ParseField(value, fields.hints.latency_sla_us);
    expected = "an integer";
  } else if (name == "batch-size") {
    parsed = ParseField(value, fields.hints.batch_size);
    expected = "an integer";
  } else if (name == "power-budget-w") {
    parsed = ParseField(value, fields.hints.power_budget_w);
    expected = "a number";
  } else if (name == "deterministic") {
    parsed = ParseField(value, fields.hints.deterministic);
    expected = "true or false";
  } else if (name == "platform") {
    parsed = ParseField(value, fields.hints.platform);
    expected = "cpu, gpu or fpga";
  } else if (name == "fallback") {
    parsed = ParseField(value, fields.hints.fallback);
    expected = "none, cpu, alternate or retry";
  } else if (name == "retries") {
    parsed = ParseField(value, fields.hints.retries);
    expected = "an integer";
  } else if (name == "exclude") {
    parsed = ParseField(value, fields.hints.exclude);
    expected = "a list of cpu, gpu and fpga, such as gpu,fpga";
  } else if (name == "policy") {
    parsed = ParseField(value, fields.hints.policy);
    expected = "latency_optimized, throughput_optimized, power_optimized or balanced";
  } else if (name == "sla-required") {
    parsed = ParseField(value, fields.hints.sla_required);
    expected = "true or false";
  } else if (name == "on-handoff-failure") {
    parsed = ParseField(value, fields.hints.on_handoff_failure);
    expected = "fail, recompute or local";
  } else if (name == "priority") {
    parsed = ParseField(value, fields.priority);
    expected = "an integer";
  } else if (name == "tenant") {
    parsed = ParseField(value, fields.tenant);
  } else {
    return absl::InvalidArgumentError(StrCat(
        "metadata ", Escaped(key),
        " is not known; there are baton-latency-sla-us, "
        "-batch-size, -power-budget-w, -deterministic, -platform, -fallback, -retries, -exclude, "
        "-policy, -sla-required, -on-handoff-failure, -priority and -tenant"));
  }
  if (!parsed) {
    return absl::InvalidArgumentError(
        StrCat("metadata ", key, " must be ", expected, ", but is \"", Escaped(value), "\""));
  }
  return absl::OkStatus();
}

absl::StatusOr<MetadataFields> ParseMetadata(const GrpcMetadata& metadata) {
  MetadataFields fields;
  const grpc::string_ref first(kMetadataPrefix.data(), kMetadataPrefix.size());
  std::string_view previous;
  for (auto it = metadata.lower_bound(first); it != metadata.end(); ++it) {
    const std::string_view key(it->first.data(), it->first.size());
    if (!key.starts_with(kMetadataPrefix)) break;
    if (key == previous) {
      return absl::InvalidArgumentError(StrCat("metadata ", Escaped(key), " is sent twice"));
    }
    previous = key;
    RETURN_IF_ERROR(ParseMetadataField(key, {it->second.data(), it->second.size()}, fields));
  }
  return fields;
}

absl::StatusOr<Hints> ToHints(const v1::Hints& proto) {
  Hints hints;
  if (proto.has_latency_sla_us()) hints.latency_sla_us = proto.latency_sla_us();
  if (proto.has_batch_size()) hints.batch_size = proto.batch_size();
  if (proto.has_power_budget_w()) hints.power_budget_w = proto.power_budget_w();
  if (proto.has_deterministic()) hints.deterministic = proto.deterministic();
  if (proto.platform() != v1::PLATFORM_UNSPECIFIED) {
    if (!v1::Platform_IsValid(proto.platform())) {
      return absl::InvalidArgumentError(
          StrCat("hints.platform must be 1 to 3 (cpu, gpu, fpga), but is ",
                 static_cast<int>(proto.platform())));
    }
    hints.platform = static_cast<Platform>(proto.platform() - 1);
  }
  if (proto.fallback() != v1::FALLBACK_UNSPECIFIED) {
    if (!v1::Fallback_IsValid(proto.fallback())) {
      return absl::InvalidArgumentError(
          StrCat("hints.fallback must be 1 to 4 (none, cpu, alternate, retry), but is ",
                 static_cast<int>(proto.fallback())));
    }
    hints.fallback = static_cast<Fallback>(proto.fallback() - 1);
  }
  if (proto.has_retries()) hints.retries = proto.retries();
  for (const int platform : proto.exclude()) {
    if (platform == v1::PLATFORM_UNSPECIFIED || !v1::Platform_IsValid(platform)) {
      return absl::InvalidArgumentError(
          StrCat("hints.exclude must hold 1 to 3 (cpu, gpu, fpga), but has ", platform));
    }
    if (!hints.exclude) hints.exclude.emplace();
    hints.exclude->Add(static_cast<Platform>(platform - 1));
  }
  if (proto.policy() != v1::POLICY_UNSPECIFIED) {
    if (!v1::Policy_IsValid(proto.policy())) {
      return absl::InvalidArgumentError(
          StrCat("hints.policy must be 1 to 4 (latency_optimized, throughput_optimized, "
                 "power_optimized, balanced), but is ",
                 static_cast<int>(proto.policy())));
    }
    hints.policy = static_cast<Policy>(proto.policy() - 1);
  }
  if (proto.has_sla_required()) hints.sla_required = proto.sla_required();
  if (proto.on_handoff_failure() != v1::HANDOFF_FAILURE_UNSPECIFIED) {
    if (!v1::HandoffFailure_IsValid(proto.on_handoff_failure())) {
      return absl::InvalidArgumentError(
          StrCat("hints.on_handoff_failure must be 1 to 3 (fail, recompute, local), but is ",
                 static_cast<int>(proto.on_handoff_failure())));
    }
    hints.on_handoff_failure = static_cast<HandoffFailure>(proto.on_handoff_failure() - 1);
  }
  return hints;
}

// A field of RequestOptions given in the message, as metadata, or both.
template <class T>
absl::StatusOr<T> MergeOption(std::string_view name, std::optional<T> message,
                              std::optional<T> metadata) {
  if (message.has_value() && metadata.has_value() && *message != *metadata) {
    return absl::InvalidArgumentError(StrCat("options.", name, ": the message says ", *message,
                                             " but the metadata says ", *metadata,
                                             "; send it one way or equal"));
  }
  return message.value_or(metadata.value_or(T{}));
}

void ToProto(const Stage& stage, v1::Stage& proto) {
  proto.set_name(stage.name);
  ToProto(stage.route, *proto.mutable_route());
  proto.set_start_us(stage.start_us);
  proto.set_queue_us(stage.queue_us);
  proto.set_run_us(stage.run_us);
  proto.set_items(stage.items);
  proto.set_joules(stage.joules);
  proto.set_joules_measured(stage.joules_measured);
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // Both number the canonical codes alike.
  std::string message(status.message());
  if (message.size() > kMessageBytesMax) {
    size_t end = kMessageBytesMax;
    while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xc0) == 0x80) --end;
    message.resize(end);
    message += "...";
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message);
}

int64_t RetryAfterMs(const absl::Status& status) {
  constexpr std::string_view kBefore = "retry in ";
  const std::string_view message(status.message().data(), status.message().size());
  const size_t at = message.rfind(kBefore);
  if (at == message.npos) return -1;
  const std::string_view rest = message.substr(at + kBefore.size());
  int64_t value = -1;
  return rest.ends_with(" ms") && ParseNumber(rest.substr(0, rest.size() - 3), &value) ? value : -1;
}

TimeUs ToDeadlineUs(std::chrono::system_clock::time_point deadline, const Clock& clock) {
  if (deadline == std::chrono::system_clock::time_point::max()) return kNoDeadline;
  const auto now = std::chrono::system_clock::now();
  if (deadline <= now) return clock.NowUs();
  const TimeUs left = std::chrono::duration_cast<std::chrono::microseconds>(deadline - now).count();
  // A century is as good as none, and cannot overflow when added.
  constexpr TimeUs kForeverUs = TimeUs{100} * 365 * 24 * 3600 * 1'000'000;
  return left > kForeverUs ? kNoDeadline : clock.NowUs() + left;
}

absl::StatusOr<Envelope> ToEnvelope(const v1::RequestOptions& options, const GrpcMetadata& metadata,
                                    TimeUs deadline_us) {
  ASSIGN_OR_RETURN(const MetadataFields fields, ParseMetadata(metadata));
  ASSIGN_OR_RETURN(const Hints hints, ToHints(options.hints()));
  Envelope envelope;
  ASSIGN_OR_RETURN(envelope.hints, MergeHints(hints, fields.hints));
  std::optional<int32_t> priority;
  if (options.has_priority()) priority = options.priority();
  ASSIGN_OR_RETURN(envelope.priority, MergeOption("priority", priority, fields.priority));
  std::optional<std::string> tenant;
  if (options.has_tenant()) tenant = options.tenant();
  ASSIGN_OR_RETURN(envelope.tenant, MergeOption("tenant", tenant, fields.tenant));
  envelope.deadline_us = deadline_us;
  RETURN_IF_ERROR(ValidateEnvelope(envelope));
  return envelope;
}

v1::Platform ToProto(Platform platform) {
  return static_cast<v1::Platform>(static_cast<int>(platform) + 1);
}

v1::WorkClass ToProto(WorkClass work_class) {
  return static_cast<v1::WorkClass>(static_cast<int>(work_class) + 1);
}

void ToProto(const Route& route, v1::Route& proto) {
  proto.set_work_class(ToProto(route.work_class));
  proto.set_preferred(ToProto(route.preferred));
  proto.set_rule(route.rule);
  proto.set_platform(ToProto(route.platform));
  proto.set_device(route.device);
  proto.set_emulated(route.emulated);
  proto.set_reason(route.reason);
  proto.set_fallback(route.fallback);
  for (const PassedOver& passed : route.passed_over) {
    v1::PassedOver& added = *proto.add_passed_over();
    added.set_platform(ToProto(passed.platform));
    added.set_device(passed.device);
    added.set_reason(passed.reason);
  }
}

void ToProto(const Timings& timings, v1::Timings& proto) {
  for (const Stage& stage : timings.stages) ToProto(stage, *proto.add_stages());
  proto.set_total_us(timings.total_us);
}

absl::StatusOr<Payload> ToPayload(const PayloadMap& proto, std::string_view field) {
  Payload payload;
  for (const auto& [key, value] : proto) {
    switch (value.kind_case()) {
      case v1::PayloadValue::kText:
        payload.emplace(key, value.text());
        break;
      case v1::PayloadValue::kInteger:
        payload.emplace(key, value.integer());
        break;
      case v1::PayloadValue::kNumber:
        payload.emplace(key, value.number());
        break;
      case v1::PayloadValue::kBoolean:
        payload.emplace(key, value.boolean());
        break;
      case v1::PayloadValue::kTexts: {
        const auto& texts = value.texts().values();
        payload.emplace(key, std::vector<std::string>(texts.begin(), texts.end()));
        break;
      }
      case v1::PayloadValue::kIntegers: {
        const auto& integers = value.integers().values();
        payload.emplace(key, std::vector<int64_t>(integers.begin(), integers.end()));
        break;
      }
      case v1::PayloadValue::KIND_NOT_SET:
        return absl::InvalidArgumentError(StrCat(
            field, "[\"", Escaped(key), "\"] must have a text, integer, number, boolean or list"));
    }
  }
  return payload;
}

void ToProto(Payload payload, PayloadMap& proto) {
  for (auto& [key, value] : payload) {
    v1::PayloadValue& added = proto[key];
    if (auto* text = std::get_if<std::string>(&value)) {
      added.set_text(std::move(*text));
    } else if (const auto* integer = std::get_if<int64_t>(&value)) {
      added.set_integer(*integer);
    } else if (const auto* number = std::get_if<double>(&value)) {
      added.set_number(*number);
    } else if (const auto* boolean = std::get_if<bool>(&value)) {
      added.set_boolean(*boolean);
    } else if (auto* texts = std::get_if<std::vector<std::string>>(&value)) {
      for (std::string& each : *texts) added.mutable_texts()->add_values(std::move(each));
      added.mutable_texts();  // there, even where it is empty
    } else {
      const auto& integers = std::get<std::vector<int64_t>>(value);
      added.mutable_integers()->mutable_values()->Add(integers.begin(), integers.end());
    }
  }
}

absl::Status CheckCount(std::string_view field, int64_t count, CountBounds bounds) {
  if (count >= bounds.min && count <= bounds.max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat(field, " must be ", bounds.min, " to ", bounds.max, ", but are ", count));
}

absl::Status CheckBytes(std::string_view field, std::string_view text, CountBounds bounds) {
  const auto bytes = static_cast<int64_t>(text.size());
  if (bytes >= bounds.min && bytes <= bounds.max) return absl::OkStatus();
  if (bytes == 0) return absl::InvalidArgumentError(StrCat(field, " must not be empty"));
  return absl::InvalidArgumentError(StrCat(field, " must be ", bounds.min, " to ", bounds.max,
                                           " bytes long, but is ", bytes, " bytes"));
}

absl::Status CheckCollection(const std::string& collection) {
  if (!collection.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("collection must be named, but is empty");
}

}  // namespace baton
