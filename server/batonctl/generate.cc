#include <utility>

#include "absl/strings/str_format.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/stages.h"
#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {

void PrintEvent(std::ostream& out, const v1::GenerateResponse& event) {
  if (event.has_tokens()) {
    out << Printable(event.tokens().text()) << std::flush;
  } else if (event.has_finished()) {
    const v1::GenerateFinished& finished = event.finished();
    out << "\n\n";
    PrintStages(out, finished.timings());
    out << absl::StreamFormat(
        "%s: %d prompt tokens, %d generated, ended by %s, seed %d\n", Printable(finished.model()),
        finished.prompt_tokens(), finished.generated_tokens(),
        EnumWord(v1::FinishReason_Name(finished.reason()), "FINISH_REASON_"), finished.seed());
  }
}

}  // namespace

int RunGenerate(Session& session, const GenerateOptions& generate) {
  auto prompt = ReadText(generate.prompt, "prompt");
  if (!prompt.ok()) {
    return FailUsage(session.terminal, prompt.status());
  }
  v1::GenerateRequest request;
  request.set_model(generate.model);
  request.set_text(*std::move(prompt));
  request.set_ignore_eos(generate.ignore_eos);
  if (generate.max_tokens) {
    request.set_max_tokens(*generate.max_tokens);
  }
  *request.mutable_sampling() = generate.sampling;
  *request.mutable_options() = session.options.request;

  const auto context = session.client.NewContext();
  const auto reader = session.client.inference().Generate(context.get(), request);
  v1::GenerateResponse event;
  bool finished = false;
  while (reader->Read(&event)) {
    finished = finished || event.has_finished();
    if (session.options.json) {
      PrintJson(session.terminal.out, event, /*one_line=*/true);
    } else {
      PrintEvent(session.terminal.out, event);
    }
  }
  grpc::Status status = reader->Finish();
  if (status.ok() && !finished) {
    status = grpc::Status(grpc::StatusCode::DATA_LOSS, "the text broke off before its end");
  }
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status,
                               {.collection = "", .model = generate.model});
  }
  return kExitOk;
}

}  // namespace baton::ctl
