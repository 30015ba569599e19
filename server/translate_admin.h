#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "baton/v1/admin.pb.h"
#include "engine/engine.h"
#include "engine/request/explain_request.h"

// AdminService's messages and the engine's.
namespace baton {

absl::StatusOr<ExplainRequest> ToExplain(const v1::ExplainRequest& proto, Envelope envelope);
absl::StatusOr<LoadModelRequest> ToLoadModel(const v1::LoadModelRequest& proto);
absl::StatusOr<UnloadModelRequest> ToUnloadModel(const v1::UnloadModelRequest& proto);

void ToProto(const DeviceReport& report, v1::Device& proto);
void ToProto(const PathReport& report, v1::TransferPath& proto);
void ToProto(const ExplainedStage& stage, v1::ExplainStage& proto);
void ToProto(const LearnedCost& cost, v1::LearnedCost& proto);
v1::PowerMode ToProto(PowerMode mode);

// nullopt: unspecified. INVALID_ARGUMENT: there is no such mode.
absl::StatusOr<std::optional<PowerMode>> ToPowerMode(const v1::PowerRequest& proto);

}  // namespace baton
