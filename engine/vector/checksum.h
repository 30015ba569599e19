#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

namespace rocksdb {
class FileChecksumGenerator;
}  // namespace rocksdb

namespace baton {

// CRC-32C (Castagnoli), by RocksDB, which uses the processor's instruction for it. What is stored
// has its bytes the other way round, as RocksDB's file checksums have: Crc32c() is the number.
class Checksum {
 public:
  Checksum();
  Checksum(Checksum&& other) noexcept;
  Checksum& operator=(Checksum&& other) noexcept;
  ~Checksum();

  void Add(std::string_view bytes);
  uint32_t Finish();  // once

 private:
  std::unique_ptr<rocksdb::FileChecksumGenerator> generator_;
};

uint32_t ChecksumOf(std::string_view bytes);

inline uint32_t Crc32c(std::string_view bytes) { return __builtin_bswap32(ChecksumOf(bytes)); }

}  // namespace baton
