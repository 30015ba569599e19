#include <grpcpp/impl/codegen/proto_utils.h>

#include <algorithm>

#include "baton/v1/inference.pb.h"
#include "baton/v1/rag.pb.h"
#include "baton/v1/vector.grpc.pb.h"
#include "engine/base/strings.h"
#include "loadtest/grpc_transport.h"

namespace baton::load {
namespace {

const char* PlatformName(v1::Platform platform) {
  switch (platform) {
    case v1::PLATFORM_CPU:
      return "cpu";
    case v1::PLATFORM_GPU:
      return "gpu";
    case v1::PLATFORM_FPGA:
      return "fpga";
    default:
      return "unknown";
  }
}

// The value of an enum whose names end in `word`, such as FALLBACK_CPU; -1: there is none.
int EnumValue(const google::protobuf::EnumDescriptor* type, std::string_view prefix,
              std::string word) {
  std::transform(word.begin(), word.end(), word.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  const auto* value = type->FindValueByName(StrCat(prefix, word));
  return value == nullptr || value->number() == 0 ? -1 : value->number();
}

absl::Status FillHints(const HintOptions& hints, v1::Hints* out) {
  const auto unknown = [](std::string_view key, const std::string& word) {
    return absl::InvalidArgumentError(
        StrCat("hints.", key, ": the daemon knows no \"", word, "\""));
  };
  if (hints.latency_sla_us) out->set_latency_sla_us(*hints.latency_sla_us);
  if (hints.batch_size) out->set_batch_size(*hints.batch_size);
  if (hints.power_budget_w) out->set_power_budget_w(*hints.power_budget_w);
  if (hints.deterministic) out->set_deterministic(*hints.deterministic);
  if (hints.sla_required) out->set_sla_required(*hints.sla_required);
  if (!hints.platform.empty()) {
    const int value = EnumValue(v1::Platform_descriptor(), "PLATFORM_", hints.platform);
    if (value < 0) return unknown("platform", hints.platform);
    out->set_platform(static_cast<v1::Platform>(value));
  }
  if (!hints.fallback.empty()) {
    const int value = EnumValue(v1::Fallback_descriptor(), "FALLBACK_", hints.fallback);
    if (value < 0) return unknown("fallback", hints.fallback);
    out->set_fallback(static_cast<v1::Fallback>(value));
  }
  if (!hints.policy.empty()) {
    const int value = EnumValue(v1::Policy_descriptor(), "POLICY_", hints.policy);
    if (value < 0) return unknown("policy", hints.policy);
    out->set_policy(static_cast<v1::Policy>(value));
  }
  return absl::OkStatus();
}

template <class Request>
absl::StatusOr<Body> Finish(const RequestMix& mix, Request& request) {
  v1::RequestOptions options;
  if (absl::Status filled = FillHints(mix.hints, options.mutable_hints()); !filled.ok()) {
    return filled;
  }
  if (options.hints().ByteSizeLong() == 0) options.clear_hints();
  if (mix.priority) options.set_priority(*mix.priority);
  if (!mix.tenant.empty()) options.set_tenant(mix.tenant);
  if (options.ByteSizeLong() > 0) *request.mutable_options() = options;
  return std::make_shared<const std::string>(request.SerializeAsString());
}

void FillParams(const RequestMix& mix, bool exact, v1::SearchParams* params) {
  params->set_k(mix.k);
  if (mix.ef > 0 && !exact) params->set_ef(mix.ef);
  if (exact) params->set_exact(true);
}

absl::StatusOr<Body> EncodeUpsert(const RequestMix& mix, const Input& input, uint64_t sequence) {
  v1::UpsertRequest request;
  request.set_collection(mix.collection);
  const size_t width = input.vector.size() / static_cast<size_t>(mix.batch);
  for (int32_t i = 0; i < mix.batch; ++i) {
    v1::Point* point = request.add_points();
    // Ids from 1; a run of the same length writes the same points again.
    point->set_id(sequence * static_cast<uint64_t>(mix.batch) + static_cast<uint64_t>(i) + 1);
    const float* row = input.vector.data() + static_cast<size_t>(i) * width;
    if (mix.vector_name.empty()) {
      point->mutable_vector()->Add(row, row + width);
    } else {
      v1::NamedVector* named = point->add_vectors();
      named->set_name(mix.vector_name);
      named->mutable_values()->Add(row, row + width);
    }
  }
  return Finish(mix, request);
}

void AddStages(const v1::Timings& timings, RequestRecord& record) {
  constexpr int kStagesMax = 64;
  for (const v1::Stage& stage : timings.stages()) {
    if (record.stages.size() >= kStagesMax) return;
    record.stages.push_back({.name = stage.name().substr(0, 64),
                             .platform = PlatformName(stage.route().platform()),
                             .fallback = stage.route().fallback(),
                             .queue_us = stage.queue_us(),
                             .run_us = stage.run_us()});
  }
}

template <class Message>
bool Parse(grpc::ByteBuffer& buffer, Message& message) {
  return grpc::GenericDeserialize<grpc::ProtoBufferReader, Message>(&buffer, &message).ok();
}

// Of Generate and of Ask.
template <class Response>
GrpcCodec::Seen ObserveStream(const Response& response, int64_t now_ns, RequestRecord& record) {
  if (response.has_tokens()) {
    record.AddTokens(response.tokens().ids_size(), now_ns);
    return GrpcCodec::Seen::kMore;
  }
  if constexpr (std::is_same_v<Response, v1::AskResponse>) {
    if (response.has_retrieved()) record.retrieved_ns = now_ns;
  }
  if (!response.has_finished()) return GrpcCodec::Seen::kMore;
  record.prompt_tokens = response.finished().prompt_tokens();
  AddStages(response.finished().timings(), record);
  return GrpcCodec::Seen::kFinished;
}

class BatonCodec final : public GrpcCodec {
 public:
  const char* Method(Kind kind) const override {
    switch (kind) {
      case Kind::kAsk:
        return "/baton.v1.RagService/Ask";
      case Kind::kGenerate:
      case Kind::kChat:
        return "/baton.v1.InferenceService/Generate";
      case Kind::kSearch:
        return "/baton.v1.VectorService/Search";
      case Kind::kSearchBulk:
        return "/baton.v1.VectorService/SearchBatch";
      case Kind::kUpsert:
        return "/baton.v1.VectorService/Upsert";
    }
    return "";
  }

  bool IsStream(Kind kind) const override {
    return kind == Kind::kAsk || kind == Kind::kGenerate || kind == Kind::kChat;
  }

  const char* TokenKey() const override { return "authorization"; }
  std::string TokenValue(const std::string& token) const override { return "Bearer " + token; }

  absl::StatusOr<Body> Encode(const RequestMix& mix, const Input& input, uint64_t sequence,
                              bool exact) const override {
    switch (mix.kind) {
      case Kind::kAsk: {
        v1::AskRequest request;
        request.set_collection(mix.collection);
        request.set_question(input.text);
        request.set_k(mix.k);
        request.set_model(mix.model);
        request.set_max_tokens(input.max_tokens);
        return Finish(mix, request);
      }
      case Kind::kGenerate:
      case Kind::kChat: {
        v1::GenerateRequest request;
        if (mix.kind == Kind::kGenerate) {
          request.set_text(input.text);
        } else {
          v1::ChatMessage* message = request.mutable_messages()->add_messages();
          message->set_role("user");
          message->set_content(input.text);
          request.mutable_messages()->set_template_(mix.chat_template);
        }
        request.set_model(mix.model);
        request.set_max_tokens(input.max_tokens);
        request.set_ignore_eos(mix.ignore_eos);
        return Finish(mix, request);
      }
      case Kind::kSearch: {
        v1::SearchRequest request;
        request.set_collection(mix.collection);
        request.set_vector_name(mix.vector_name);
        request.mutable_vector()->Add(input.vector.begin(), input.vector.end());
        FillParams(mix, exact, request.mutable_params());
        return Finish(mix, request);
      }
      case Kind::kSearchBulk: {
        v1::SearchBatchRequest request;
        request.set_collection(mix.collection);
        request.set_vector_name(mix.vector_name);
        const size_t width = input.vector.size() / static_cast<size_t>(mix.batch);
        for (size_t begin = 0; begin < input.vector.size(); begin += width) {
          const float* row = input.vector.data() + begin;
          request.add_queries()->mutable_vector()->Add(row, row + width);
        }
        FillParams(mix, exact, request.mutable_params());
        return Finish(mix, request);
      }
      case Kind::kUpsert:
        return EncodeUpsert(mix, input, sequence);
    }
    return absl::InternalError("unknown kind");
  }

  Seen Observe(Kind kind, grpc::ByteBuffer& message, int64_t now_ns, bool keep_found,
               RequestRecord& record) const override {
    switch (kind) {
      case Kind::kAsk: {
        v1::AskResponse response;
        return Parse(message, response) ? ObserveStream(response, now_ns, record) : Seen::kGarbled;
      }
      case Kind::kGenerate:
      case Kind::kChat: {
        v1::GenerateResponse response;
        return Parse(message, response) ? ObserveStream(response, now_ns, record) : Seen::kGarbled;
      }
      case Kind::kSearch: {
        v1::SearchResponse response;
        if (!Parse(message, response)) return Seen::kGarbled;
        AddStages(response.timings(), record);
        if (keep_found) {
          for (const auto& point : response.points()) record.found.push_back(point.id());
        }
        return Seen::kFinished;
      }
      case Kind::kSearchBulk: {
        v1::SearchBatchResponse response;
        if (!Parse(message, response)) return Seen::kGarbled;
        AddStages(response.timings(), record);
        return Seen::kFinished;
      }
      case Kind::kUpsert: {
        v1::UpsertResponse response;
        if (!Parse(message, response)) return Seen::kGarbled;
        AddStages(response.timings(), record);
        return Seen::kFinished;
      }
    }
    return Seen::kGarbled;
  }

  absl::StatusOr<int32_t> Dimension(const std::shared_ptr<grpc::Channel>& channel,
                                    grpc::ClientContext& context,
                                    const RequestMix& mix) const override {
    v1::DescribeCollectionRequest request;
    request.set_collection(mix.collection);
    v1::DescribeCollectionResponse response;
    const grpc::Status status =
        v1::VectorService::NewStub(channel)->DescribeCollection(&context, request, &response);
    if (!status.ok()) {
      return absl::Status(
          static_cast<absl::StatusCode>(status.error_code()),
          StrCat("describing collection \"", mix.collection, "\": ", status.error_message()));
    }
    const v1::CollectionSpec& spec = response.collection().spec();
    int32_t dimension = mix.vector_name.empty() ? spec.dimension() : 0;
    for (const auto& named : spec.vectors()) {
      if (named.name() == mix.vector_name) dimension = named.dimension();
    }
    if (dimension < 1 || dimension > 65'536) {
      return absl::InvalidArgumentError(StrCat("collection \"", mix.collection,
                                               "\" has no vector \"", mix.vector_name,
                                               "\"; name its dimension"));
    }
    return dimension;
  }
};

}  // namespace

std::unique_ptr<GrpcCodec> MakeBatonCodec() { return std::make_unique<BatonCodec>(); }

}  // namespace baton::load
