#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/clock.h"
#include "engine/request/work.h"
#include "engine/schedule/batching_options.h"

namespace baton {

// Decides which pieces of work go to an executor together, and when. Pure, not thread safe.
//
// What may go together shares a LaunchKey. A piece waits no longer than its class's strategy allows
// from when it came, and goes before its deadline less what it is expected to run, whatever the
// strategy: no key can hold another one up, and none waits for company that does not come. Within a
// key the order is that of arrival. Bounded by whoever adds: the requests in flight.
struct LaunchKey {
  int executor = 0;
  WorkClass work_class = WorkClass::kSearchSingle;
  std::string kind;  // of work that one launch can do: the same data, the same parameters

  auto operator<=>(const LaunchKey&) const = default;
};

struct LaunchPiece {
  uint64_t id = 0;
  int64_t items = 1;
  TimeUs latest_us = kNoDeadline;  // when it must have gone
};

class LaunchCollector {
 public:
  struct Launch {
    LaunchKey key;
    std::vector<uint64_t> ids;
    int64_t items = 0;
    TimeUs wait_us = 0;  // of its first piece
  };

  explicit LaunchCollector(const BatchingOptions& options) : options_(options) {}

  // Its class is one that is collected: options.Of(work_class) is not null.
  void Add(const LaunchKey& key, const LaunchPiece& piece, TimeUs now_us);
  // A launch of such work has begun at the executor, or has ended.
  void Begin(int executor, WorkClass work_class) { ++in_flight_[{executor, work_class}]; }
  void End(int executor, WorkClass work_class) { --in_flight_[{executor, work_class}]; }

  // The launches that are due, each of items_max items at most unless one piece has more.
  std::vector<Launch> Take(TimeUs now_us);
  // When Take() will have some without another call here; kNoDeadline: nothing waits.
  TimeUs NextDueUs() const;

 private:
  struct Waiting {
    LaunchPiece piece;
    TimeUs came_us = 0;
  };
  using Group = std::vector<Waiting>;

  int64_t InFlight(const LaunchKey& key) const;
  // When the first of a group that is not full must go.
  TimeUs DueUs(const LaunchKey& key, const Group& group) const;

  const BatchingOptions options_;
  std::map<LaunchKey, Group> groups_;  // none is empty
  std::map<std::pair<int, WorkClass>, int64_t> in_flight_;
};

}  // namespace baton
