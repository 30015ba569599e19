#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <ostream>
#include <string>

#include "absl/strings/str_format.h"
#include "baton/v1/inference.pb.h"
#include "server/batonctl/text.h"

namespace baton::ctl {

using Logprobs = google::protobuf::RepeatedPtrField<v1::TokenLogprobs>;

// A line for each token, after a line's end.
void PrintLogprobs(std::ostream& out, const Logprobs& logprobs);

// What ended a text behind the reason, where a string or token of the request did; else empty.
template <class Finished>
std::string StopText(const Finished& finished) {
  if (finished.has_stop_string()) {
    return absl::StrFormat(" \"%s\"", Printable(finished.stop_string()));
  }
  return finished.has_stop_token() ? absl::StrFormat(" %d", finished.stop_token()) : "";
}

}  // namespace baton::ctl
