#pragma once

// Whether a file is an xclbin that a host may hand to XRT: XRT reads what the file's header
// promises without asking whether it is there, so a file that was cut short must not get that far.
// Source of the layout: XRT's xclbin.h (struct axlf).

#include <stddef.h>
#include <stdint.h>

#include "fpga_kernels/card_args.h"

namespace baton {
namespace fpga {

constexpr size_t kXclbinLengthAt = 304;    // u64, of the whole file
constexpr size_t kXclbinUuidAt = 416;      // 16 bytes
constexpr size_t kXclbinSectionsAt = 448;  // u32, how many
constexpr size_t kXclbinHeadersAt = 456;   // a header each: u32 kind; at 24 u64 offset, u64 size
constexpr size_t kXclbinHeaderBytes = 40;
constexpr uint32_t kXclbinUserMetadata = 16;

inline uint64_t XclbinNumber(const uint8_t* at, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) value |= static_cast<uint64_t>(at[i]) << (8 * i);
  return value;
}

// Null: none, and `contract` is the version that it keeps (card_args.h), 0 where it names none.
inline const char* FaultOfXclbin(const uint8_t* file, size_t bytes, uint32_t* contract) {
  *contract = 0;
  if (bytes < kXclbinHeadersAt) return "it is too short for an xclbin";
  const char magic[] = "xclbin2";
  for (size_t i = 0; i < sizeof(magic); ++i) {
    if (file[i] != static_cast<uint8_t>(magic[i])) return "it does not begin as an xclbin does";
  }
  if (XclbinNumber(file + kXclbinLengthAt, 8) != bytes) {
    return "its length is not the one that its header names: it was cut short";
  }
  const uint64_t sections = XclbinNumber(file + kXclbinSectionsAt, 4);
  if (sections > (bytes - kXclbinHeadersAt) / kXclbinHeaderBytes) {
    return "its section headers do not fit into it";
  }
  for (uint64_t i = 0; i < sections; ++i) {
    const uint8_t* const header = file + kXclbinHeadersAt + i * kXclbinHeaderBytes;
    const uint64_t offset = XclbinNumber(header + 24, 8);
    const uint64_t size = XclbinNumber(header + 32, 8);
    if (offset > bytes || size > bytes - offset) return "a section of it does not fit into it";
    if (XclbinNumber(header, 4) == kXclbinUserMetadata) {
      *contract = ContractVersionOf(reinterpret_cast<const char*>(file + offset), size);
    }
  }
  return nullptr;
}

}  // namespace fpga
}  // namespace baton
