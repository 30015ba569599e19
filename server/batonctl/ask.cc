#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/payload_text.h"
#include "server/batonctl/stages.h"
#include "server/batonctl/text.h"
#include "server/batonctl/token_text.h"

namespace baton::ctl {
namespace {

constexpr size_t kIndent = 4;

std::string NameOf(const std::string& title, const std::string& document_id) {
  return title.empty() || title == document_id
             ? Printable(document_id)
             : absl::StrCat(Printable(title), " (", Printable(document_id), ")");
}

void PrintPassages(std::ostream& out, const v1::Retrieved& retrieved) {
  int number = 0;
  for (const v1::Passage& passage : retrieved.passages()) {
    out << absl::StreamFormat("passage %d, score %.3f: %s\n", ++number, passage.score(),
                              NameOf(passage.title(), passage.document_id()))
        << Wrap(passage.text(), kIndent);
  }
  out << "\n";
}

void PrintFinished(std::ostream& out, const v1::AskFinished& finished) {
  if (finished.mode() != v1::AskFinished::GENERATED) {
    out << (finished.mode() == v1::AskFinished::NOTHING_FOUND ? "Nothing found: "
                                                              : "No text was generated: ")
        << Printable(finished.mode_reason()) << "\n\n";
  }
  for (const v1::Citation& citation : finished.citations()) {
    out << absl::StreamFormat("[%d] %s, bytes %d to %d\n", citation.number(),
                              NameOf(citation.title(), citation.document_id()), citation.begin(),
                              citation.end())
        << Wrap(absl::StrCat("\"", citation.quote(), "\""), kIndent);
  }
  if (finished.citations_size() > 0) {
    out << "\n";
  }
  PrintStages(out, finished.timings());
  if (finished.mode() == v1::AskFinished::GENERATED) {
    out << absl::StreamFormat(
        "%s: %d prompt tokens, %d generated, ended by %s%s\n", Printable(finished.model()),
        finished.prompt_tokens(), finished.generated_tokens(),
        EnumWord(v1::FinishReason_Name(finished.finish_reason()), "FINISH_REASON_"),
        StopText(finished));
  }
}

// Prints the events of one answer as they come.
class AnswerPrinter {
 public:
  AnswerPrinter(std::ostream& out, bool show_passages) : out_(out), show_passages_(show_passages) {}

  void Print(v1::AskResponse& event) {
    switch (event.event_case()) {
      case v1::AskResponse::kRetrieved:
        retrieved_ = std::move(*event.mutable_retrieved());
        if (show_passages_) {
          PrintPassages(out_, retrieved_);
        }
        break;
      case v1::AskResponse::kTokens:
        text_begun_ = true;
        out_ << Printable(event.tokens().text()) << std::flush;
        logprobs_.MergeFrom(event.tokens().logprobs());
        break;
      case v1::AskResponse::kFinished:
        PrintLogprobs(out_, logprobs_);
        if (text_begun_) {
          out_ << "\n\n";
        }
        // Without a model the passages are the answer.
        if (event.finished().mode() == v1::AskFinished::RETRIEVAL_ONLY && !show_passages_) {
          PrintPassages(out_, retrieved_);
        }
        PrintFinished(out_, event.finished());
        break;
      case v1::AskResponse::EVENT_NOT_SET:  // an event of a later version
        break;
    }
  }

 private:
  std::ostream& out_;
  const bool show_passages_;
  v1::Retrieved retrieved_;
  Logprobs logprobs_;
  bool text_begun_ = false;
};

}  // namespace

int RunAsk(Session& session, const AskOptions& ask) {
  auto question = ReadText(ask.question, "question");
  if (!question.ok()) {
    return FailUsage(session.terminal, question.status());
  }
  v1::AskRequest request;
  request.set_collection(ask.collection);
  request.set_question(*std::move(question));
  request.set_model(ask.model);
  request.set_retrieval_only(ask.retrieval_only);
  request.set_vector_name(ask.vector_name);
  if (ask.retrieval) {
    request.set_retrieval(*ask.retrieval);
  }
  if (ask.k) {
    request.set_k(*ask.k);
  }
  SetPartition(ask.partition, request);
  if (!ask.filter.empty()) {
    const absl::Status read = ParseFilter(ask.filter, *request.mutable_filter());
    if (!read.ok()) {
      return FailUsage(session.terminal, read);
    }
  }
  if (ask.max_tokens) {
    request.set_max_tokens(*ask.max_tokens);
  }
  if (const absl::Status status = SetConstraint(ask.constraint, request); !status.ok()) {
    return FailUsage(session.terminal, status);
  }
  if (ask.verbatim) request.set_verbatim(*ask.verbatim);
  SetTokens(ask.tokens, request);
  *request.mutable_sampling() = ask.sampling;
  *request.mutable_options() = session.options.request;

  const auto context = session.client.NewContext();
  const auto reader = session.client.rag().Ask(context.get(), request);
  AnswerPrinter printer(session.terminal.out, ask.show_passages);
  v1::AskResponse event;
  bool finished = false;
  while (reader->Read(&event)) {
    finished = finished || event.has_finished();
    if (session.options.json) {
      PrintJson(session.terminal.out, event, /*one_line=*/true);
    } else {
      printer.Print(event);
    }
  }
  grpc::Status status = reader->Finish();
  if (status.ok() && !finished) {
    status = grpc::Status(grpc::StatusCode::DATA_LOSS, "the answer broke off before its end");
  }
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {ask.collection, ask.model});
  }
  return kExitOk;
}

}  // namespace baton::ctl
