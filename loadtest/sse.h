#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "loadtest/request_record.h"

namespace baton::load {

// Reads the streamed answer of an OpenAI-compatible server: server-sent events whose data are JSON
// chunks, then [DONE]. Bytes come as the network cuts them.
class OpenAiStream {
 public:
  // Enters what the bytes tell into `record`. False: a line is longer than 16 MiB.
  bool Feed(std::string_view bytes, int64_t now_ns, RequestRecord& record);

  bool done() const { return done_; }        // [DONE] has come
  bool garbled() const { return garbled_; }  // some event was no chunk
  // The message of an error that came within the stream, or of a body that is one; empty: none.
  const std::string& error() const { return error_; }
  // What a body that is no stream says of an error; at most its first 500 bytes.
  static std::string ErrorOf(std::string_view body);

 private:
  void TakeLine(std::string_view line, int64_t now_ns, RequestRecord& record);
  void TakeChunk(std::string_view data, int64_t now_ns, RequestRecord& record);

  std::string line_;
  bool done_ = false;
  bool garbled_ = false;
  std::string error_;
};

}  // namespace baton::load
