#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/base/check.h"
#include "engine/base/point_id.h"

// Whatever is read as a UUID is one, and its text is read as the same.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto id = baton::ParseUuid({reinterpret_cast<const char*>(data), size});
  if (!id.has_value()) return 0;
  BATON_CHECK(baton::IsUuid(*id));
  BATON_CHECK(baton::ParseUuid(baton::IdText(*id)) == id);
  return 0;
}
