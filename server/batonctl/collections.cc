#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/table.h"
#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {

// The kind of index and what was chosen for it; 0 is left to the daemon.
template <class Spec>
std::string IndexText(const Spec& spec) {
  std::string kind = EnumWord(v1::IndexKind_Name(spec.index()), "INDEX_KIND_");
  switch (spec.index()) {
    case v1::INDEX_KIND_IVF_PQ:
      return absl::StrCat(kind, ", lists ", spec.ivf_lists(), ", bytes ", spec.ivf_pq_bytes(),
                          ", bits ", spec.ivf_pq_bits());
    case v1::INDEX_KIND_IVF_SQ:
      return absl::StrCat(kind, ", lists ", spec.ivf_lists());
    default:
      return absl::StrCat(kind, ", m ", spec.hnsw_m(), ", ef construction ",
                          spec.hnsw_ef_construction());
  }
}

std::string IndexesText(const v1::CollectionInfo& info) {
  std::string text;
  for (const v1::PayloadIndex& index : info.payload_indexes()) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", index.field(), ":",
                    EnumWord(v1::PayloadIndexKind_Name(index.kind()), "PAYLOAD_INDEX_KIND_"));
  }
  for (const v1::ComingPayloadIndex& coming : info.coming_payload_indexes()) {
    const int64_t percent = 100 * coming.points_done() / std::max<int64_t>(info.points(), 1);
    absl::StrAppend(
        &text, text.empty() ? "" : ", ", coming.index().field(), ":",
        EnumWord(v1::PayloadIndexKind_Name(coming.index().kind()), "PAYLOAD_INDEX_KIND_"), " (",
        percent, " %)");
  }
  return text.empty() ? "-" : text;
}

template <class Infos>
void PrintCollections(std::ostream& out, const Infos& infos) {
  Table table({"collection", ">points", ">unindexed", ">segments", ">dimension", "storage",
               "metric", "index", "embedder", "payload indexes", "aliases"});
  for (const v1::CollectionInfo& info : infos) {
    const v1::CollectionSpec& spec = info.spec();
    table.AddRow({spec.name(), absl::StrCat(info.points()), absl::StrCat(info.points_unindexed()),
                  absl::StrCat(info.segments()), absl::StrCat(spec.dimension()),
                  EnumWord(v1::VectorStorage_Name(spec.storage()), "VECTOR_STORAGE_"),
                  EnumWord(v1::Metric_Name(spec.metric()), "METRIC_"), IndexText(spec),
                  info.embedder().empty() ? "-" : info.embedder(), IndexesText(info),
                  info.aliases().empty() ? "-" : absl::StrJoin(info.aliases(), ", ")});
  }
  table.Print(out);
  Table vectors({"vector", ">points", ">unindexed", ">segments", ">dimension", "storage", "metric",
                 "index", "embedder"});
  for (const v1::CollectionInfo& info : infos) {
    for (int i = 0; i < info.vectors_size() && i < info.spec().vectors_size(); ++i) {
      const v1::NamedVectorInfo& vector = info.vectors(i);
      const v1::NamedVectorSpec& spec = info.spec().vectors(i);
      vectors.AddRow({absl::StrCat(info.spec().name(), "/", spec.name()),
                      absl::StrCat(vector.points()), absl::StrCat(vector.points_unindexed()),
                      absl::StrCat(vector.segments()), absl::StrCat(spec.dimension()),
                      EnumWord(v1::VectorStorage_Name(spec.storage()), "VECTOR_STORAGE_"),
                      EnumWord(v1::Metric_Name(spec.metric()), "METRIC_"), IndexText(spec),
                      spec.embedder().empty() ? "-" : spec.embedder()});
    }
  }
  if (!vectors.empty()) {
    out << "\n";
    vectors.Print(out);
  }
}

template <class Response>
void PrintAliases(Session& session, const Response& response) {
  if (session.options.json) return PrintJson(session.terminal.out, response);
  if (response.aliases().empty()) {
    session.terminal.out << "no aliases\n";
    return;
  }
  Table table({"alias", "collection"});
  for (const v1::Alias& alias : response.aliases()) {
    table.AddRow({alias.alias(), alias.collection()});
  }
  table.Print(session.terminal.out);
}

void PrintCollection(Session& session, const google::protobuf::Message& response,
                     const v1::CollectionInfo& info) {
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else {
    PrintCollections(session.terminal.out, std::initializer_list<v1::CollectionInfo>{info});
  }
}

}  // namespace

int RunListCollections(Session& session) {
  v1::ListCollectionsResponse response;
  const grpc::Status status =
      session.client.vectors().ListCollections(session.client.NewContext().get(), {}, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status);
  }
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else if (response.collections().empty()) {
    session.terminal.out << "no collections; batonctl ingest makes one\n";
  } else {
    PrintCollections(session.terminal.out, response.collections());
  }
  return kExitOk;
}

int RunDescribeCollection(Session& session, const DescribeCollectionOptions& describe) {
  v1::DescribeCollectionRequest request;
  request.set_collection(describe.name);
  v1::DescribeCollectionResponse response;
  const grpc::Status status = session.client.vectors().DescribeCollection(
      session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {describe.name, ""});
  }
  PrintCollection(session, response, response.collection());
  return kExitOk;
}

int RunDropCollection(Session& session, const DropCollectionOptions& drop) {
  v1::DropCollectionRequest request;
  request.set_collection(drop.name);
  v1::DropCollectionResponse response;
  const grpc::Status status = session.client.vectors().DropCollection(
      session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {drop.name, ""});
  }
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else {
    session.terminal.out << "dropped " << Printable(drop.name) << "\n";
  }
  return kExitOk;
}

int RunCreateCollection(Session& session, const CreateCollectionOptions& create) {
  v1::CreateCollectionRequest request;
  *request.mutable_spec() = create.spec;
  v1::CreateCollectionResponse response;
  const grpc::Status status = session.client.vectors().CreateCollection(
      session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status);
  }
  PrintCollection(session, response, response.collection());
  return kExitOk;
}

int RunListAliases(Session& session, const ListAliasesOptions& list) {
  v1::ListAliasesRequest request;
  request.set_collection(list.collection);
  v1::ListAliasesResponse response;
  const grpc::Status status =
      session.client.vectors().ListAliases(session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {list.collection, ""});
  }
  PrintAliases(session, response);
  return kExitOk;
}

int RunUpdateAliases(Session& session, const UpdateAliasesOptions& update) {
  v1::UpdateAliasesResponse response;
  const grpc::Status status = session.client.vectors().UpdateAliases(
      session.client.NewContext().get(), update.request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status);
  }
  PrintAliases(session, response);
  return kExitOk;
}

int RunCreateIndex(Session& session, const CreateIndexOptions& create) {
  v1::CreatePayloadIndexRequest request;
  request.set_collection(create.collection);
  request.set_field(create.field);
  request.set_kind(create.kind);
  v1::CreatePayloadIndexResponse response;
  const grpc::Status status = session.client.vectors().CreatePayloadIndex(
      session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {create.collection, ""});
  }
  PrintCollection(session, response, response.collection());
  return kExitOk;
}

int RunDropIndex(Session& session, const DropIndexOptions& drop) {
  v1::DropPayloadIndexRequest request;
  request.set_collection(drop.collection);
  request.set_field(drop.field);
  v1::DropPayloadIndexResponse response;
  const grpc::Status status = session.client.vectors().DropPayloadIndex(
      session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {drop.collection, ""});
  }
  PrintCollection(session, response, response.collection());
  return kExitOk;
}

}  // namespace baton::ctl
