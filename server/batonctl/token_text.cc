#include "server/batonctl/token_text.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace baton::ctl {
namespace {

// A token's text: its spaces and line ends count.
std::string Quoted(const std::string& text) {
  return absl::StrCat("\"", absl::StrReplaceAll(Printable(text), {{"\n", "\\n"}, {"\t", "\\t"}}),
                      "\"");
}

}  // namespace

void PrintLogprobs(std::ostream& out, const Logprobs& logprobs) {
  const auto print = [&out](const v1::TokenLogprob& token) {
    out << absl::StreamFormat("%s (%d) %.4f", Quoted(token.text()), token.id(), token.logprob());
  };
  for (const v1::TokenLogprobs& of_token : logprobs) {
    out << "\n  ";
    print(of_token.token());
    for (int i = 0; i < of_token.top_size(); ++i) {
      out << (i == 0 ? "; likely: " : ", ");
      print(of_token.top(i));
    }
  }
}

}  // namespace baton::ctl
