#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/stages.h"
#include "server/batonctl/table.h"
#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {

constexpr size_t kDocumentChars = 90;

void PrintRanking(std::ostream& out, const v1::RerankResponse& response) {
  Table table({">rank", ">line", ">score", "document"});
  int rank = 0;
  for (const v1::RerankResult& result : response.results()) {
    table.AddRow({absl::StrCat(++rank), absl::StrCat(result.index() + 1),
                  absl::StrFormat("%.4f", result.score()),
                  OneLine(absl::StrCat(result.document(), result.truncated() ? " [cut]" : ""),
                          kDocumentChars)});
  }
  table.Print(out);
  out << "\nscored by " << Printable(response.model())
      << (response.method() == v1::RerankResponse::METHOD_CROSS_ENCODER
              ? ", which reads the query and each document together\n"
              : ", by the similarity of embeddings\n");
  if (response.query_truncated()) {
    out << "the query's end was not read: it is longer than the model's context allows\n";
  }
}

}  // namespace

int RunRerank(Session& session, const RerankOptions& rerank) {
  const auto query = ReadText(rerank.query, "query");
  if (!query.ok()) {
    return FailUsage(session.terminal, query.status());
  }
  const auto text = rerank.documents_file == "-" ? ReadText("-", "documents")
                                                 : ReadTextFile(rerank.documents_file, "documents");
  if (!text.ok()) {
    return FailUsage(session.terminal, text.status());
  }
  v1::RerankRequest request;
  request.set_model(rerank.model);
  request.set_query(*query);
  request.set_return_documents(true);
  if (rerank.top_n) {
    request.set_top_n(*rerank.top_n);
  }
  // Lines keep their numbers, so a blank one is left to the daemon to refuse by its number; only
  // what follows the last line break is no document.
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    request.add_documents(std::string(line));
  }
  if (request.documents(request.documents_size() - 1).empty()) {
    request.mutable_documents()->RemoveLast();
  }
  *request.mutable_options() = session.options.request;

  v1::RerankResponse response;
  const grpc::Status status =
      session.client.inference().Rerank(session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {"", rerank.model});
  }
  std::ostream& out = session.terminal.out;
  if (session.options.json) {
    PrintJson(out, response);
    return kExitOk;
  }
  PrintRanking(out, response);
  PrintStages(out, response.timings());
  return kExitOk;
}

}  // namespace baton::ctl
