#include <map>
#include <string>
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

struct AskShown {
  bool passages = false;
  bool several = false;  // answers
};

// Prints a stream's events. One answer is shown as it grows; of several, each when it ends.
class AnswerPrinter {
 public:
  AnswerPrinter(std::ostream& out, const AskShown& shown) : out_(out), shown_(shown) {}

  void Print(v1::AskResponse& event) {
    switch (event.event_case()) {
      case v1::AskResponse::kRetrieved:
        retrieved_ = std::move(*event.mutable_retrieved());
        if (shown_.passages) {
          PrintPassages(out_, retrieved_);
        }
        break;
      case v1::AskResponse::kTokens: {
        Answer& answer = answers_[event.tokens().index()];
        answer.begun = true;
        answer.logprobs.MergeFrom(event.tokens().logprobs());
        if (shown_.several) {
          answer.text += event.tokens().text();
        } else {
          out_ << Printable(event.tokens().text()) << std::flush;
        }
        break;
      }
      case v1::AskResponse::kFinished:
        Finish(event.finished());
        break;
      case v1::AskResponse::EVENT_NOT_SET:  // an event of a later version
        break;
    }
  }

 private:
  struct Answer {
    std::string text;
    Logprobs logprobs;
    bool begun = false;
  };

  void Finish(const v1::AskFinished& finished) {
    const Answer& answer = answers_[finished.index()];
    if (shown_.several && finished.mode() == v1::AskFinished::GENERATED) {
      out_ << absl::StreamFormat("\n(%d) ", finished.index()) << Printable(answer.text);
    }
    PrintLogprobs(out_, answer.logprobs);
    if (answer.begun) {
      out_ << "\n\n";
    }
    // Without a model the passages are the answer.
    if (finished.mode() == v1::AskFinished::RETRIEVAL_ONLY && !shown_.passages) {
      PrintPassages(out_, retrieved_);
    }
    PrintFinished(out_, finished);
  }

  std::ostream& out_;
  const AskShown shown_;
  v1::Retrieved retrieved_;
  std::map<int32_t, Answer> answers_;
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
  if (ask.answers) request.set_n(*ask.answers);
  SetTokens(ask.tokens, request);
  *request.mutable_sampling() = ask.sampling;
  *request.mutable_options() = session.options.request;

  const auto context = session.client.NewContext();
  const auto reader = session.client.rag().Ask(context.get(), request);
  int left = ask.answers.value_or(1);
  AnswerPrinter printer(session.terminal.out, {.passages = ask.show_passages, .several = left > 1});
  v1::AskResponse event;
  while (reader->Read(&event)) {
    if (event.has_finished()) {
      left = event.finished().mode() == v1::AskFinished::GENERATED ? left - 1 : 0;
    }
    if (session.options.json) {
      PrintJson(session.terminal.out, event, /*one_line=*/true);
    } else {
      printer.Print(event);
    }
  }
  grpc::Status status = reader->Finish();
  if (status.ok() && left > 0) {
    status = grpc::Status(grpc::StatusCode::DATA_LOSS, "the answer broke off before its end");
  }
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {ask.collection, ask.model});
  }
  return kExitOk;
}

}  // namespace baton::ctl
