#pragma once

#include <string>

#include "engine/base/clock.h"
#include "engine/request/hints.h"

namespace baton {

struct LoadModelRequest {
  Envelope envelope;
  std::string name;  // IsPlainName
  std::string path;  // of a GGUF file within repository.directory: relative to it, or absolute
  // Of an embedding model: what goes before the questions of Ask and the passages of Ingest.
  std::string question_prefix;
  std::string passage_prefix;
};

struct UnloadModelRequest {
  Envelope envelope;
  std::string name;
  TimeUs drain_us = 30'000'000;  // what running requests get before they are cancelled
};

}  // namespace baton
