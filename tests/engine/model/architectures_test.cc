#include "engine/model/architectures.h"

#include "catch2/catch.hpp"

namespace baton {
namespace {

TEST_CASE("an architecture is found by its exact name", "[architectures]") {
  for (const char* const name :
       {"llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3"}) {
    CAPTURE(name);
    const Architecture* const found = FindArchitecture(name);
    REQUIRE(found != nullptr);
    CHECK(found->name == name);
    CHECK(SupportedArchitectures().find("'" + std::string(name) + "'") != std::string::npos);
  }
  for (const char* const name : {"", "Llama", "llama ", "gemma", "qwen2moe"}) {
    CHECK(FindArchitecture(name) == nullptr);
  }
}

}  // namespace
}  // namespace baton
