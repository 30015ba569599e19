#include "server/admin_service.h"

#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "server/translate_admin.h"
#include "server/translate_inference.h"

namespace baton {

grpc::ServerUnaryReactor* AdminService::Devices(grpc::CallbackServerContext* context,
                                                const v1::DevicesRequest*,
                                                v1::DevicesResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kDevices, context);
  for (const DeviceReport& report : parts_.engine.Devices()) {
    ToProto(report, *response->add_devices());
  }
  return call->Answered(absl::OkStatus());
}

grpc::ServerUnaryReactor* AdminService::Explain(grpc::CallbackServerContext* context,
                                                const v1::ExplainRequest* request,
                                                v1::ExplainResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kExplain, context);
  return call->Answered([&]() -> absl::Status {
    ASSIGN_OR_RETURN(Envelope envelope, call->ReadEnvelope(request->options()));
    ASSIGN_OR_RETURN(const ExplainRequest explain, ToExplain(*request, std::move(envelope)));
    ASSIGN_OR_RETURN(const std::vector<ExplainedStage> stages, parts_.engine.Explain(explain));
    for (const ExplainedStage& stage : stages) ToProto(stage, *response->add_stages());
    return absl::OkStatus();
  }());
}

grpc::ServerUnaryReactor* AdminService::LoadModel(grpc::CallbackServerContext* context,
                                                  const v1::LoadModelRequest* request,
                                                  v1::LoadModelResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kLoadModel, context);
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(LoadModelRequest load, ToLoadModel(*request));
    load.envelope.deadline_us = call->DeadlineUs();
    return parts_.engine.Submit(std::move(load),
                                call->Then<ModelReport>([response](const ModelReport& report) {
                                  ToProto(report, *response->mutable_model());
                                }));
  }());
}

grpc::ServerUnaryReactor* AdminService::UnloadModel(grpc::CallbackServerContext* context,
                                                    const v1::UnloadModelRequest* request,
                                                    v1::UnloadModelResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kUnloadModel, context);
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(UnloadModelRequest unload, ToUnloadModel(*request));
    unload.envelope.deadline_us = call->DeadlineUs();
    return parts_.engine.Submit(std::move(unload),
                                call->Then<ModelReport>([response](const ModelReport& report) {
                                  ToProto(report, *response->mutable_model());
                                }));
  }());
}

}  // namespace baton
