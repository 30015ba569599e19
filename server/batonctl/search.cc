#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/payload_text.h"
#include "server/batonctl/stages.h"
#include "server/batonctl/table.h"
#include "server/batonctl/text.h"
#include "server/batonctl/vector_text.h"

namespace baton::ctl {
namespace {

// The query vector of --text, by the collection's own embedder unless another is named.
grpc::Status Embed(Session& session, const SearchOptions& search, const std::string& text,
                   v1::EmbedResponse& response) {
  v1::EmbedRequest request;
  request.set_model(search.model);
  if (search.model.empty()) {
    v1::DescribeCollectionRequest describe;
    describe.set_collection(search.collection);
    v1::DescribeCollectionResponse described;
    const grpc::Status status = session.client.vectors().DescribeCollection(
        session.client.NewContext().get(), describe, &described);
    if (!status.ok()) {
      return status;
    }
    request.set_model(described.collection().embedder());
  }
  request.add_texts(text);
  *request.mutable_options() = session.options.request;
  const grpc::Status status =
      session.client.inference().Embed(session.client.NewContext().get(), request, &response);
  if (status.ok() && response.embeddings_size() != 1) {
    return {grpc::StatusCode::INTERNAL,
            absl::StrCat("asked for 1 embedding, got ", response.embeddings_size())};
  }
  return status;
}

void PrintResult(std::ostream& out, const v1::SearchResponse& response) {
  Table table({">rank", ">id", ">score", "payload"});
  int rank = 0;
  for (const v1::ScoredPoint& point : response.points()) {
    table.AddRow({absl::StrCat(++rank), PointIdText(point), absl::StrFormat("%.4f", point.score()),
                  PayloadText(point.payload())});
  }
  if (table.empty()) {
    out << "no points\n";
  } else {
    table.Print(out);
  }
  out << "\n";
}

void PrintGroups(std::ostream& out, const v1::SearchGroupsResponse& response) {
  Table table({"group", ">id", ">score", "payload"});
  for (const v1::SearchGroup& group : response.groups()) {
    for (const v1::ScoredPoint& point : group.points()) {
      table.AddRow({MatchText(group.value()), PointIdText(point),
                    absl::StrFormat("%.4f", point.score()), PayloadText(point.payload())});
    }
  }
  if (table.empty()) {
    out << "no points\n";
  } else {
    table.Print(out);
  }
  out << "\n";
}

int SearchGroups(Session& session, const SearchOptions& search, const v1::SearchRequest& single) {
  v1::SearchGroupsRequest request;
  request.set_collection(single.collection());
  *request.mutable_vector() = single.vector();
  *request.mutable_params() = single.params();
  *request.mutable_options() = single.options();
  request.set_group_by(search.group_by);
  if (search.group_size) {
    request.set_group_size(*search.group_size);
  }
  v1::SearchGroupsResponse response;
  const grpc::Status status =
      session.client.vectors().SearchGroups(session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {search.collection, search.model});
  }
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else {
    PrintGroups(session.terminal.out, response);
    PrintStages(session.terminal.out, response.timings());
  }
  return kExitOk;
}

}  // namespace

int RunSearch(Session& session, const SearchOptions& search) {
  const Client::Subject subject{search.collection, search.model};
  v1::SearchRequest request;
  request.set_collection(search.collection);
  v1::EmbedResponse embedded;
  if (!search.vector.empty()) {
    const auto vector = ParseVector(search.vector);
    if (!vector.ok()) {
      return FailUsage(session.terminal, absl::InvalidArgumentError(absl::StrCat(
                                             "--vector: ", vector.status().message())));
    }
    request.mutable_vector()->Add(vector->begin(), vector->end());
  } else {
    const auto text = ReadText(search.text, "text");
    if (!text.ok()) {
      return FailUsage(session.terminal, text.status());
    }
    const grpc::Status status = Embed(session, search, *text, embedded);
    if (!status.ok()) {
      return session.client.Fail(session.terminal, status, subject);
    }
    *request.mutable_vector() = embedded.embeddings(0).values();
  }
  request.mutable_params()->set_k(search.k);
  request.mutable_params()->set_exact(search.exact);
  if (search.ef) {
    request.mutable_params()->set_ef(*search.ef);
  }
  if (search.nprobe) {
    request.mutable_params()->set_nprobe(*search.nprobe);
  }
  if (!search.filter.empty()) {
    const absl::Status read =
        ParseFilter(search.filter, *request.mutable_params()->mutable_filter());
    if (!read.ok()) {
      return FailUsage(session.terminal, read);
    }
  }
  if (search.score_threshold) {
    request.mutable_params()->set_score_threshold(*search.score_threshold);
  }
  if (search.offset) {
    request.mutable_params()->set_offset(*search.offset);
  }
  *request.mutable_options() = session.options.request;
  if (!search.group_by.empty()) {
    return SearchGroups(session, search, request);
  }

  v1::SearchResponse response;
  const grpc::Status status =
      session.client.vectors().Search(session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, subject);
  }
  std::ostream& out = session.terminal.out;
  if (session.options.json) {
    PrintJson(out, response);
    return kExitOk;
  }
  PrintResult(out, response);
  if (embedded.has_timings()) {
    PrintStages(out, embedded.timings());
  }
  PrintStages(out, response.timings());
  return kExitOk;
}

}  // namespace baton::ctl
