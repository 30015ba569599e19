#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/ids.h"

namespace baton {

class Collection;
class Segment;

// Reads segment files in the background, slowly, and compares them with their checksums: each once,
// since opening does not read all of it. Points whose vectors a file does not tell any more are
// written again from the database, whereupon they are in the growing buffer, searched exactly, and
// their rows in the damaged segment are dead. The same where a search ran into a page that the disk
// did not give. One thread of its own, at low priority.
class Scrubber {
 public:
  using Lister = std::function<std::vector<std::shared_ptr<Collection>>()>;
  using WriteAgain =
      std::function<absl::Status(const std::string& collection, std::span<const PointId> ids)>;

  Scrubber(std::string directory, Lister collections, WriteAgain write_again);
  ~Scrubber();
  Scrubber(const Scrubber&) = delete;
  Scrubber& operator=(const Scrubber&) = delete;

  // All files that there are now, at full speed. Any thread.
  void ScrubNow();

 private:
  void Run();
  // False where it is to stop.
  bool Pause(int64_t milliseconds);
  void MendUnreadable();
  void Check(const Collection& collection, const Segment& segment, bool slowly);
  // Those of rows [first, end) that are live.
  void Mend(const Collection& collection, const Segment& segment, int64_t first, int64_t end);

  const std::string directory_;
  const Lister collections_;
  const WriteAgain write_again_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::mutex check_mutex_;  // one check at a time
  std::thread thread_;      // last: it uses the others
};

}  // namespace baton
