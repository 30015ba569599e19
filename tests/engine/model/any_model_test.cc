#include "engine/model/any_model.h"

#include <catch2/catch.hpp>

#include "tests/support/encoder_file.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

TEST_CASE("a file says itself what model it is") {
  const TempFile decoder(RandomModelBytes({}));
  auto language = LoadAnyModel("a", decoder.path());
  REQUIRE_OK(language);
  CHECK(std::get<0>(*language)->name() == "a");
  const TempFile encoder(RandomEncoderBytes({}));
  auto embedding = LoadAnyModel("b", encoder.path());
  REQUIRE_OK(embedding);
  CHECK(std::get<1>(*embedding)->name() == "b");
}

TEST_CASE("what is neither is refused with the loader's words") {
  REQUIRE_STATUS(LoadAnyModel("a", "/nowhere.gguf"), absl::StatusCode::kNotFound, "/nowhere.gguf");
  const TempFile text("no model");
  REQUIRE_STATUS(LoadAnyModel("a", text.path()), absl::StatusCode::kInvalidArgument, text.path());
  GgufWriter writer;
  writer.AddString("general.architecture", "unheard-of");
  const TempFile unknown(writer.Bytes());
  REQUIRE_STATUS(LoadAnyModel("a", unknown.path()), absl::StatusCode::kUnimplemented, "unheard-of");
  const TempFile empty(GgufWriter().Bytes());
  REQUIRE_STATUS(LoadAnyModel("a", empty.path()), absl::StatusCode::kNotFound,
                 "general.architecture");
}

}  // namespace
}  // namespace baton
