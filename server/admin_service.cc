#include "server/admin_service.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/vector/snapshot.h"
#include "server/translate_admin.h"
#include "server/translate_inference.h"

namespace baton {
namespace {

constexpr size_t kProblemsMax = 1000;

void ToProto(const SnapshotInfo& info, v1::Snapshot& proto) {
  proto.set_name(info.name);
  proto.set_created_s(info.created_s);
  proto.set_sequence(info.sequence);
  proto.set_collections(static_cast<int32_t>(info.collections));
  proto.set_bytes(info.bytes);
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::Devices(grpc::CallbackServerContext* context,
                                                const v1::DevicesRequest*,
                                                v1::DevicesResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kDevices, context);
  if (call->Refused()) return call;
  for (const DeviceReport& report : parts_.engine.Devices()) {
    ToProto(report, *response->add_devices());
  }
  for (const PathReport& report : parts_.engine.TransferPaths()) {
    ToProto(report, *response->add_paths());
  }
  return call->Answered(absl::OkStatus());
}

grpc::ServerUnaryReactor* AdminService::Explain(grpc::CallbackServerContext* context,
                                                const v1::ExplainRequest* request,
                                                v1::ExplainResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kExplain, context);
  if (call->Refused()) return call;
  return call->Answered([&]() -> absl::Status {
    ASSIGN_OR_RETURN(Envelope envelope, call->ReadEnvelope(request->options()));
    ASSIGN_OR_RETURN(const ExplainRequest explain, ToExplain(*request, std::move(envelope)));
    ASSIGN_OR_RETURN(const std::vector<ExplainedStage> stages, parts_.engine.Explain(explain));
    for (const ExplainedStage& stage : stages) ToProto(stage, *response->add_stages());
    return absl::OkStatus();
  }());
}

grpc::ServerUnaryReactor* AdminService::Calibrate(grpc::CallbackServerContext* context,
                                                  const v1::CalibrateRequest*,
                                                  v1::CalibrateResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kCalibrate, context);
  if (call->Refused()) return call;
  return call->Submitted(parts_.engine.SubmitCalibrate(
      call->DeadlineUs(),
      call->Then<std::vector<LearnedCost>>([response](const std::vector<LearnedCost>& costs) {
        for (const LearnedCost& cost : costs) {
          ToProto(cost, *response->add_costs());
        }
      })));
}

grpc::ServerUnaryReactor* AdminService::Power(grpc::CallbackServerContext* context,
                                              const v1::PowerRequest* request,
                                              v1::PowerResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kPower, context);
  if (call->Refused()) return call;
  return call->Answered([&]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::optional<PowerMode> mode, ToPowerMode(*request));
    if (mode) parts_.engine.SetPowerMode(*mode);
    response->set_mode(ToProto(parts_.engine.power_mode()));
    response->set_watts(parts_.engine.NodeWatts());
    return absl::OkStatus();
  }());
}

grpc::ServerUnaryReactor* AdminService::LoadModel(grpc::CallbackServerContext* context,
                                                  const v1::LoadModelRequest* request,
                                                  v1::LoadModelResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kLoadModel, context);
  if (call->Refused()) return call;
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
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(UnloadModelRequest unload, ToUnloadModel(*request));
    unload.envelope.deadline_us = call->DeadlineUs();
    return parts_.engine.Submit(std::move(unload),
                                call->Then<ModelReport>([response](const ModelReport& report) {
                                  ToProto(report, *response->mutable_model());
                                }));
  }());
}

grpc::ServerUnaryReactor* AdminService::CreateSnapshot(grpc::CallbackServerContext* context,
                                                       const v1::CreateSnapshotRequest* request,
                                                       v1::CreateSnapshotResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kCreateSnapshot, context);
  if (call->Refused()) return call;
  snapshots_.Post([this, call, name = request->name(), response] {
    const auto info = store_.CreateSnapshot(name);
    if (info.ok()) ToProto(*info, *response->mutable_snapshot());
    call->Answered(info.status());
  });
  return call;
}

grpc::ServerUnaryReactor* AdminService::ListSnapshots(grpc::CallbackServerContext* context,
                                                      const v1::ListSnapshotsRequest*,
                                                      v1::ListSnapshotsResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kListSnapshots, context);
  if (call->Refused()) return call;
  snapshots_.Post([this, call, response] {
    const auto list = store_.ListSnapshots();
    if (list.ok()) {
      for (const SnapshotInfo& info : *list) ToProto(info, *response->add_snapshots());
    }
    call->Answered(list.status());
  });
  return call;
}

grpc::ServerUnaryReactor* AdminService::DeleteSnapshot(grpc::CallbackServerContext* context,
                                                       const v1::DeleteSnapshotRequest* request,
                                                       v1::DeleteSnapshotResponse*) {
  auto* call = new UnaryCall(parts_, Rpc::kDeleteSnapshot, context);
  if (call->Refused()) return call;
  snapshots_.Post(
      [this, call, name = request->name()] { call->Answered(store_.DeleteSnapshot(name)); });
  return call;
}

grpc::ServerUnaryReactor* AdminService::VerifySnapshot(grpc::CallbackServerContext* context,
                                                       const v1::VerifySnapshotRequest* request,
                                                       v1::VerifySnapshotResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kVerifySnapshot, context);
  if (call->Refused()) return call;
  snapshots_.Post([this, call, name = request->name(), response] {
    const auto report = name.empty() ? store_.Verify() : store_.VerifySnapshot(name);
    if (report.ok()) {
      response->set_collections(static_cast<int32_t>(report->collections));
      response->set_points(report->points);
      response->set_segments(static_cast<int32_t>(report->segments));
      response->set_bytes(report->bytes);
      for (size_t i = 0; i < std::min(report->problems.size(), kProblemsMax); ++i) {
        response->add_problems(report->problems[i]);
      }
    }
    call->Answered(report.status());
  });
  return call;
}

}  // namespace baton
