#include "engine/vector/log_check.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/checksum.h"
#include "engine/vector/durable_file.h"
#include "rocksdb/file_system.h"

namespace baton {
namespace {

// The format of a log: blocks of 32 KiB, in each records that do not cross its end, zeros where
// the rest is too small for a record's header. A record: u32 checksum of type and data, u16 size
// of the data, u8 type. One that does not fit in is in pieces.
constexpr size_t kBlockBytes = 32 << 10;
constexpr size_t kHeaderBytes = 7;
enum RecordType : uint8_t { kFull = 1, kFirst = 2, kMiddle = 3, kLast = 4 };
// A write of nothing: its sequence number and a count.
constexpr size_t kEmptyWriteBytes = 12;

// As logs store it, so that logs within logs do not look like their own.
uint32_t Masked(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

struct Record {
  uint8_t type = 0;
  size_t bytes = 0;  // with its header
};

// The record at `at`, which is within its block; nothing where there is none or it is damaged.
std::optional<Record> RecordAt(std::string_view log, size_t at) {
  const size_t block_end = std::min(log.size(), at / kBlockBytes * kBlockBytes + kBlockBytes);
  if (at + kHeaderBytes > block_end) return std::nullopt;
  uint32_t sum = 0;
  uint16_t size = 0;
  std::memcpy(&sum, log.data() + at, sizeof(sum));
  std::memcpy(&size, log.data() + at + sizeof(sum), sizeof(size));
  const auto type = static_cast<uint8_t>(log[at + kHeaderBytes - 1]);
  if (type < kFull || type > kLast || at + kHeaderBytes + size > block_end) return std::nullopt;
  if (Masked(Crc32c(log.substr(at + kHeaderBytes - 1, size + 1u))) != sum) return std::nullopt;
  return Record{.type = type, .bytes = kHeaderBytes + size};
}

// What is left of the block is too little for a record.
bool AtBlockEnd(size_t at) { return at % kBlockBytes + kHeaderBytes > kBlockBytes; }
size_t NextBlock(size_t at) { return at / kBlockBytes * kBlockBytes + kBlockBytes; }

struct Writes {
  int64_t all = 0;
  int64_t empty = 0;
};
Writes operator+(const Writes& a, const Writes& b) { return {a.all + b.all, a.empty + b.empty}; }

struct LogState {
  std::optional<int64_t> damaged_at;
  Writes before;  // the damage; all of them where there is none
  Writes behind;
  // What RocksDB writes when it has read the logs before, and has not said so in the MANIFEST yet.
  bool begins_empty = false;
};

// Zeros to the end are room that was never written to.
bool OnlyZeros(std::string_view bytes) { return bytes.find_first_not_of('\0') == bytes.npos; }

LogState Look(std::string_view log) {
  LogState state;
  const auto count = [](const Record& record, Writes& writes) {
    if (record.type != kFull && record.type != kFirst) return;
    ++writes.all;
    if (record.bytes == kHeaderBytes + kEmptyWriteBytes) ++writes.empty;
  };
  bool within = false;  // a write in pieces
  for (size_t at = 0; at < log.size();) {
    if (AtBlockEnd(at)) {
      at = NextBlock(at);
      continue;
    }
    const std::optional<Record> record = RecordAt(log, at);
    const bool fits =
        record.has_value() && (record->type == kMiddle || record->type == kLast) == within;
    if (!fits) {
      if (OnlyZeros(log.substr(at)) && !within) break;
      state.damaged_at = static_cast<int64_t>(at);
      // The sizes of records lead no further: any place may begin one.
      for (size_t next = at + 1; next < log.size();) {
        const std::optional<Record> later = AtBlockEnd(next) ? std::nullopt : RecordAt(log, next);
        if (later.has_value()) count(*later, state.behind);
        next += later.has_value() ? later->bytes : 1;
      }
      return state;
    }
    count(*record, state.before);
    if (at == 0) state.begins_empty = state.before.empty == 1;
    within = record->type == kFirst || record->type == kMiddle;
    at += record->bytes;
  }
  if (within) state.damaged_at = static_cast<int64_t>(log.size());
  return state;
}

}  // namespace

absl::StatusOr<std::optional<LogDamage>> FindLogDamage(FileLayer& files,
                                                       const std::string& directory,
                                                       bool all_synced) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(files, directory));
  std::vector<std::pair<uint64_t, std::string>> logs;
  for (const std::string& name : names) {
    if (!name.ends_with(".log")) continue;
    logs.emplace_back(std::strtoull(name.c_str(), nullptr, 10), StrCat(directory, "/", name));
  }
  std::sort(logs.begin(), logs.end());
  std::optional<LogDamage> found;
  Writes behind;
  for (const auto& [number, path] : logs) {
    std::string log;
    if (const auto status = rocksdb::ReadFileToString(&files, path, &log); !status.ok()) {
      return absl::DataLossError(StrCat("cannot read ", path, ": ", status.ToString()));
    }
    const LogState state = Look(log);
    if (found.has_value()) {
      behind = behind + state.before + state.behind;
      if (state.begins_empty) behind = behind + Writes{-1, -1};
    } else if (state.damaged_at.has_value()) {
      found = LogDamage{.path = path, .number = number, .offset = *state.damaged_at};
      behind = state.behind;
    }
  }
  if (!(all_synced ? behind.all > 0 : behind.empty > 1)) found.reset();
  return found;
}

}  // namespace baton
