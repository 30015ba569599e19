#include "engine/vector/checksum.h"

#include <cstring>

#include "rocksdb/file_checksum.h"

namespace baton {

Checksum::Checksum()
    : generator_(rocksdb::GetFileChecksumGenCrc32cFactory()->CreateFileChecksumGenerator({})) {}
Checksum::Checksum(Checksum&& other) noexcept = default;
Checksum& Checksum::operator=(Checksum&& other) noexcept = default;
Checksum::~Checksum() = default;

void Checksum::Add(std::string_view bytes) { generator_->Update(bytes.data(), bytes.size()); }

uint32_t Checksum::Finish() {
  generator_->Finalize();
  uint32_t sum = 0;
  std::memcpy(&sum, generator_->GetChecksum().data(), sizeof(sum));
  return sum;
}

uint32_t ChecksumOf(std::string_view bytes) {
  Checksum checksum;
  checksum.Add(bytes);
  return checksum.Finish();
}

}  // namespace baton
