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

// "0.8123 (#2)", or "-" where a hit was not found by that part.
std::string PartText(bool has, float score, int rank) {
  return has ? absl::StrFormat("%.4f (#%d)", score, rank) : "-";
}

// Of a search by vector and words: how each hit was found.
void PrintParts(std::ostream& out, const v1::SearchResponse& response) {
  Table table({">rank", ">id", ">score", ">by vector", ">by words", "payload"});
  int rank = 0;
  for (const v1::ScoredPoint& point : response.points()) {
    const v1::ScoreParts& parts = point.parts();
    table.AddRow({absl::StrCat(++rank), PointIdText(point), absl::StrFormat("%.4f", point.score()),
                  PartText(parts.has_dense_rank(), parts.dense_score(), parts.dense_rank()),
                  PartText(parts.has_text_rank(), parts.text_score(), parts.text_rank()),
                  PayloadText(point.payload())});
  }
  table.Print(out);
  out << "\n";
}

template <class Points>
void PrintPoints(std::ostream& out, const Points& points) {
  Table table({">rank", ">id", ">score", "payload"});
  int rank = 0;
  for (const v1::ScoredPoint& point : points) {
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

void PrintUnsearched(std::ostream& out, int64_t points) {
  if (points > 0) {
    out << points << " points could not be searched\n\n";
  }
}

int SearchRange(Session& session, const SearchOptions& search, const v1::SearchRequest& single) {
  v1::SearchRangeRequest request;
  request.set_collection(single.collection());
  *request.mutable_vector() = single.vector();
  request.set_vector_name(single.vector_name());
  request.set_score_threshold(single.params().score_threshold());
  if (search.limit) {
    request.set_limit(*search.limit);
  }
  *request.mutable_params() = single.params();
  request.mutable_params()->clear_k();
  request.mutable_params()->clear_score_threshold();
  *request.mutable_options() = single.options();
  v1::SearchRangeResponse response;
  const grpc::Status status =
      session.client.vectors().SearchRange(session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {search.collection, search.model});
  }
  std::ostream& out = session.terminal.out;
  if (session.options.json) {
    PrintJson(out, response);
    return kExitOk;
  }
  PrintPoints(out, response.points());
  if (response.more()) {
    out << "there are more within the threshold\n\n";
  }
  PrintUnsearched(out, response.unsearched_points());
  PrintStages(out, response.timings());
  return kExitOk;
}

int SearchGroups(Session& session, const SearchOptions& search, const v1::SearchRequest& single) {
  v1::SearchGroupsRequest request;
  request.set_collection(single.collection());
  *request.mutable_vector() = single.vector();
  request.set_vector_name(single.vector_name());
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
    PrintUnsearched(session.terminal.out, response.unsearched_points());
    PrintStages(session.terminal.out, response.timings());
  }
  return kExitOk;
}

}  // namespace

int RunSearch(Session& session, const SearchOptions& search) {
  const Client::Subject subject{search.collection, search.model};
  v1::SearchRequest request;
  request.set_collection(search.collection);
  request.set_vector_name(search.vector_name);
  v1::EmbedResponse embedded;
  if (!search.vector.empty()) {
    const auto vector = ParseVector(search.vector);
    if (!vector.ok()) {
      return FailUsage(session.terminal, absl::InvalidArgumentError(absl::StrCat(
                                             "--vector: ", vector.status().message())));
    }
    request.mutable_vector()->Add(vector->begin(), vector->end());
  } else if (!search.text.empty()) {
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
  if (!search.words.empty()) {
    *request.mutable_text() = search.word_query;
    request.mutable_text()->set_text(search.words);
    *request.mutable_fusion() = search.fusion;
  }
  request.mutable_params()->set_k(search.k);
  request.mutable_params()->set_exact(search.exact);
  if (search.ef) {
    request.mutable_params()->set_ef(*search.ef);
  }
  if (search.recall_target) {
    request.mutable_params()->set_recall_target(*search.recall_target);
  }
  if (search.nprobe) {
    request.mutable_params()->set_nprobe(*search.nprobe);
  }
  SetPartition(search.partition, *request.mutable_params());
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
  request.mutable_params()->set_allow_partial(search.allow_partial);
  *request.mutable_options() = session.options.request;
  if (search.range) {
    return SearchRange(session, search, request);
  }
  if (!search.group_by.empty()) {
    if (request.has_text()) {
      return FailUsage(session.terminal,
                       absl::InvalidArgumentError("--group-by: groups are not found by --words"));
    }
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
  if (request.vector_size() > 0 && request.has_text() && response.points_size() > 0) {
    PrintParts(out, response);
  } else {
    PrintPoints(out, response.points());
  }
  PrintUnsearched(out, response.unsearched_points());
  if (embedded.has_timings()) {
    PrintStages(out, embedded.timings());
  }
  PrintStages(out, response.timings());
  return kExitOk;
}

}  // namespace baton::ctl
