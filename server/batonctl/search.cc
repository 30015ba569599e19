#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/stages.h"
#include "server/batonctl/table.h"
#include "server/batonctl/text.h"
#include "server/batonctl/vector_text.h"

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
    case v1::PayloadValue::KIND_NOT_SET:
      break;
  }
  return "";
}

std::string PayloadText(const v1::ScoredPoint& point) {
  std::map<std::string, std::string> sorted;  // protobuf's maps have no order
  for (const auto& [key, value] : point.payload()) {
    sorted[key] = ValueText(value);
  }
  return OneLine(absl::StrJoin(sorted, ", ", absl::PairFormatter("=")), kPayloadChars);
}

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
    table.AddRow({absl::StrCat(++rank), absl::StrCat(point.id()),
                  absl::StrFormat("%.4f", point.score()), PayloadText(point)});
  }
  if (table.empty()) {
    out << "no points\n";
  } else {
    table.Print(out);
  }
  out << "\n";
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
  *request.mutable_options() = session.options.request;

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
