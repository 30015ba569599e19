#include "engine/vector/sidecar_file.h"

#include <cstdio>
#include <span>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/byte_codec.h"
#include "engine/vector/checksum.h"
#include "engine/vector/durable_file.h"
#include "engine/vector/mapped_file.h"
#include "engine/vector/payload_sidecar.h"

namespace baton {
namespace {

constexpr uint64_t kMagic = 0x5844'494e'4f54'4142;  // "BATONIDX"
constexpr uint32_t kSidecarVersion = 1;

absl::Status NoSidecar(std::string_view what) {
  return absl::DataLossError(StrCat("stored payload indexes are damaged: ", what));
}

}  // namespace

std::string SidecarFileName::ToString() const {
  return StrCat(collection_id, "-", number, ".payloads");
}

bool SidecarFileName::Parse(const std::string& name, SidecarFileName* out) {
  unsigned long long number = 0;
  unsigned int collection_id = 0;
  if (std::sscanf(name.c_str(), "%10u-%20llu.payloads", &collection_id, &number) != 2) {
    return false;
  }
  *out = {.collection_id = collection_id, .number = number};
  return name == out->ToString();
}

absl::StatusOr<SidecarColumns> DecodeSidecar(std::string_view bytes) {
  ByteReader reader(bytes);
  const auto magic = reader.Take<uint64_t>();
  const auto version = reader.Take<uint32_t>();
  const auto collection_id = reader.Take<uint32_t>();
  const auto segment = reader.Take<uint64_t>();
  const auto sequence = reader.Take<WriteSequence>();
  const auto rows = reader.Take<int64_t>();
  const auto count = reader.Take<uint32_t>();
  if (!count.has_value() || *magic != kMagic) return NoSidecar("header");
  if (*version != kSidecarVersion) return NoSidecar(StrCat("version ", *version));
  if (*rows < 1 || *rows > INT32_MAX) return NoSidecar(StrCat("it is of ", *rows, " rows"));
  SidecarColumns sidecar{.collection_id = *collection_id,
                         .segment = *segment,
                         .sequence = *sequence,
                         .rows = *rows,
                         .indexes = {},
                         .columns = {}};
  for (uint32_t i = 0; i < *count; ++i) {
    const auto kind = reader.Take<uint8_t>();
    auto field = reader.TakeText();
    if (!field.has_value() || *kind > static_cast<uint8_t>(PayloadIndexKind::kText)) {
      return NoSidecar(StrCat("index ", i));
    }
    auto column = FieldColumn::Take(reader, static_cast<PayloadIndexKind>(*kind), *rows);
    if (!column.has_value()) return NoSidecar(StrCat("values of index ", i));
    sidecar.indexes.push_back(
        {.field = *std::move(field), .kind = static_cast<PayloadIndexKind>(*kind)});
    sidecar.columns.push_back(*std::move(column));
  }
  if (!reader.at_end()) return NoSidecar("it goes on behind its end");
  return sidecar;
}

absl::StatusOr<uint32_t> WriteSidecarFile(FileLayer& files, const std::string& directory,
                                          const SidecarFileName& name, uint64_t segment,
                                          const PayloadSidecar& sidecar) {
  std::string bytes;
  AppendNumber(bytes, kMagic);
  AppendNumber(bytes, kSidecarVersion);
  AppendNumber(bytes, name.collection_id);
  AppendNumber(bytes, segment);
  AppendNumber(bytes, sidecar.sequence());
  AppendNumber(bytes, sidecar.rows());
  AppendNumber(bytes, static_cast<uint32_t>(sidecar.columns().size()));
  for (size_t i = 0; i < sidecar.columns().size(); ++i) {
    const PayloadIndex& index = (*sidecar.indexes())[i];
    AppendNumber(bytes, static_cast<uint8_t>(index.kind));
    AppendText(bytes, index.field);
    sidecar.column(i).AppendTo(bytes);
  }
  const uint32_t sum = ChecksumOf(bytes);
  AppendNumber(bytes, sum);
  const std::string_view part = bytes;
  RETURN_IF_ERROR(WriteFileDurably(files, directory, name.ToString(), std::span(&part, 1)));
  return sum;
}

absl::StatusOr<SidecarColumns> ReadSidecarFile(const std::string& directory,
                                               const SidecarFileName& name, uint32_t sum) {
  const std::string path = StrCat(directory, "/", name.ToString());
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  file.ReadSoon(0, std::ssize(file.bytes()));
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  const auto damaged = [&path](std::string_view what) {
    return absl::DataLossError(StrCat(path, " is damaged: ", what));
  };
  if (bytes.size() < sizeof(sum)) return damaged("it ends early");
  const std::string_view body = bytes.substr(0, bytes.size() - sizeof(sum));
  ByteReader end(bytes.substr(body.size()));
  const uint32_t stored = *end.Take<uint32_t>();
  if (ChecksumOf(body) != stored) return damaged("checksum");
  if (stored != sum) {
    return absl::DataLossError(StrCat(path, " is not the file that the manifest names"));
  }
  absl::StatusOr<SidecarColumns> sidecar = DecodeSidecar(body);
  if (file.unreadable()) return damaged("it cannot be read");
  if (!sidecar.ok()) return damaged(std::string(sidecar.status().message()));
  if (sidecar->collection_id != name.collection_id) return damaged("of another collection");
  return sidecar;
}

}  // namespace baton
