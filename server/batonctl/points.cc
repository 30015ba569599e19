#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/payload_text.h"
#include "server/batonctl/table.h"

namespace baton::ctl {
namespace {

// Reads --filter, if there is one, into a request.
template <class Request>
absl::Status SetFilter(const std::string& json, Request& request) {
  return json.empty() ? absl::OkStatus() : ParseFilter(json, *request.mutable_filter());
}

// Each as what it is.
template <class Request>
void SetIds(const std::vector<std::string>& ids, Request& request) {
  for (const std::string& text : ids) {
    uint64_t id = 0;
    if (absl::SimpleAtoi(text, &id)) {
      request.add_ids(id);
    } else {
      request.add_uuids(text);
    }
  }
}

}  // namespace

int RunCount(Session& session, const CountOptions& count) {
  v1::CountRequest request;
  request.set_collection(count.collection);
  SetPartition(count.partition, request);
  if (const absl::Status read = SetFilter(count.filter, request); !read.ok()) {
    return FailUsage(session.terminal, read);
  }
  v1::CountResponse response;
  const grpc::Status status =
      session.client.vectors().Count(session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {count.collection, ""});
  }
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else {
    session.terminal.out << response.points() << "\n";
  }
  return kExitOk;
}

int RunScroll(Session& session, const ScrollOptions& scroll) {
  v1::ScrollRequest request;
  request.set_collection(scroll.collection);
  request.set_offset(scroll.offset);
  if (scroll.limit) {
    request.set_limit(*scroll.limit);
  }
  SetPartition(scroll.partition, request);
  if (const absl::Status read = SetFilter(scroll.filter, request); !read.ok()) {
    return FailUsage(session.terminal, read);
  }
  v1::ScrollResponse response;
  const grpc::Status status =
      session.client.vectors().Scroll(session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {scroll.collection, ""});
  }
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
    return kExitOk;
  }
  Table table({">id", "payload"});
  for (const v1::Point& point : response.points()) {
    table.AddRow({PointIdText(point), PayloadText(point.payload())});
  }
  if (table.empty()) {
    session.terminal.out << "no points\n";
  } else {
    table.Print(session.terminal.out);
  }
  if (!response.next_offset().empty()) {
    session.terminal.out << "\nmore: --offset " << response.next_offset() << "\n";
  }
  return kExitOk;
}

int RunFacet(Session& session, const FacetOptions& facet) {
  v1::FacetRequest request;
  request.set_collection(facet.collection);
  request.set_field(facet.field);
  if (facet.limit) {
    request.set_limit(*facet.limit);
  }
  SetPartition(facet.partition, request);
  if (const absl::Status read = SetFilter(facet.filter, request); !read.ok()) {
    return FailUsage(session.terminal, read);
  }
  v1::FacetResponse response;
  const grpc::Status status =
      session.client.vectors().Facet(session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {facet.collection, ""});
  }
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
    return kExitOk;
  }
  Table table({"value", ">points"});
  for (const v1::FacetHit& hit : response.hits()) {
    table.AddRow({MatchText(hit.value()), absl::StrCat(hit.points())});
  }
  table.Print(session.terminal.out);
  return kExitOk;
}

int RunDeletePoints(Session& session, const DeletePointsOptions& points) {
  v1::DeleteRequest request;
  request.set_collection(points.collection);
  SetIds(points.ids, request);
  *request.mutable_options() = session.options.request;
  SetPartition(points.partition, request);
  if (const absl::Status read = SetFilter(points.filter, request); !read.ok()) {
    return FailUsage(session.terminal, read);
  }
  v1::DeleteResponse response;
  const grpc::Status status =
      session.client.vectors().Delete(session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {points.collection, ""});
  }
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else {
    session.terminal.out << "deleted " << response.deleted() << "\n";
  }
  return kExitOk;
}

int RunPatch(Session& session, const PatchOptions& patch) {
  v1::PatchPayloadRequest request;
  request.set_collection(patch.collection);
  SetIds(patch.ids, request);
  request.set_clear(patch.clear);
  for (const std::string& key : patch.delete_keys) request.add_delete_keys(key);
  *request.mutable_options() = session.options.request;
  SetPartition(patch.partition, request);
  absl::Status read = SetFilter(patch.filter, request);
  if (read.ok() && !patch.set.empty()) read = ParsePayload(patch.set, *request.mutable_set());
  if (!read.ok()) {
    return FailUsage(session.terminal, read);
  }
  v1::PatchPayloadResponse response;
  const grpc::Status status =
      session.client.vectors().PatchPayload(session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {patch.collection, ""});
  }
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else {
    session.terminal.out << "patched " << response.points() << "\n";
  }
  return kExitOk;
}

}  // namespace baton::ctl
