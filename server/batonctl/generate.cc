#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/stages.h"
#include "server/batonctl/text.h"
#include "server/batonctl/token_text.h"

namespace baton::ctl {
namespace {

// Prints a stream's events. One completion is shown as it grows; of several, each when it ends.
class Printer {
 public:
  Printer(std::ostream& out, bool several) : out_(out), several_(several) {}

  void Print(const v1::GenerateResponse& event) {
    switch (event.event_case()) {
      case v1::GenerateResponse::kPrompt:
        out_ << Printable(event.prompt().text()) << std::flush;
        Keep(event.prompt().logprobs(), prompt_logprobs_);
        break;
      case v1::GenerateResponse::kTokens: {
        Completion& completion = completions_[event.tokens().index()];
        Keep(event.tokens().logprobs(), completion.logprobs);
        if (several_) {
          completion.text += event.tokens().text();
        } else {
          out_ << Printable(event.tokens().text()) << std::flush;
        }
        break;
      }
      case v1::GenerateResponse::kFinished:
        Finish(event.finished());
        break;
      case v1::GenerateResponse::EVENT_NOT_SET:
        break;
    }
  }

 private:
  struct Completion {
    std::string text;
    Logprobs logprobs;
  };

  static void Keep(const Logprobs& logprobs, Logprobs& kept) { kept.MergeFrom(logprobs); }

  void Finish(const v1::GenerateFinished& finished) {
    const Completion& completion = completions_[finished.index()];
    if (several_) {
      out_ << absl::StreamFormat("\n[%d] ", finished.index()) << Printable(completion.text);
    }
    PrintLogprobs(out_, prompt_logprobs_);
    prompt_logprobs_.Clear();
    PrintLogprobs(out_, completion.logprobs);
    out_ << "\n\n";
    PrintStages(out_, finished.timings());
    out_ << absl::StreamFormat("%s: %d prompt tokens, %d generated, ended by %s%s, seed %d\n",
                               Printable(finished.model()), finished.prompt_tokens(),
                               finished.generated_tokens(),
                               EnumWord(v1::FinishReason_Name(finished.reason()), "FINISH_REASON_"),
                               StopText(finished), finished.seed());
  }

  std::ostream& out_;
  const bool several_;
  Logprobs prompt_logprobs_;
  std::map<int32_t, Completion> completions_;
};

void SetMessages(const GenerateOptions& generate, std::string prompt, v1::ChatMessages& messages) {
  if (generate.system) {
    v1::ChatMessage& system = *messages.add_messages();
    system.set_role("system");
    system.set_content(*generate.system);
  }
  v1::ChatMessage& user = *messages.add_messages();
  user.set_role("user");
  user.set_content(std::move(prompt));
  messages.set_template_arguments(generate.template_arguments);
}

}  // namespace

int RunGenerate(Session& session, const GenerateOptions& generate) {
  auto prompt = ReadText(generate.prompt, "prompt");
  if (!prompt.ok()) {
    return FailUsage(session.terminal, prompt.status());
  }
  v1::GenerateRequest request;
  request.set_model(generate.model);
  if (generate.chat) {
    SetMessages(generate, *std::move(prompt), *request.mutable_messages());
  } else {
    request.set_text(*std::move(prompt));
  }
  request.set_ignore_eos(generate.ignore_eos);
  if (generate.max_tokens) {
    request.set_max_tokens(*generate.max_tokens);
  }
  SetTokens(generate.tokens, request);
  if (generate.completions) request.set_n(*generate.completions);
  request.set_echo(generate.echo);
  if (const absl::Status status = SetConstraint(generate.constraint, request); !status.ok()) {
    return FailUsage(session.terminal, status);
  }
  *request.mutable_sampling() = generate.sampling;
  *request.mutable_options() = session.options.request;

  const auto context = session.client.NewContext();
  const auto reader = session.client.inference().Generate(context.get(), request);
  v1::GenerateResponse event;
  Printer printer(session.terminal.out, generate.completions.value_or(1) > 1);
  int left = generate.completions.value_or(1);
  while (reader->Read(&event)) {
    if (event.has_finished()) --left;
    if (session.options.json) {
      PrintJson(session.terminal.out, event, /*one_line=*/true);
    } else {
      printer.Print(event);
    }
  }
  grpc::Status status = reader->Finish();
  if (status.ok() && left > 0) {
    status = grpc::Status(grpc::StatusCode::DATA_LOSS, "the text broke off before its end");
  }
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status,
                               {.collection = "", .model = generate.model});
  }
  return kExitOk;
}

}  // namespace baton::ctl
