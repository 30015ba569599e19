#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/clock.h"
#include "engine/request/work.h"
#include "engine/schedule/batching_options.h"
#include "engine/schedule/cost_curve.h"

namespace baton {

// Decides which pieces of work go to an executor together, and when. Pure, not thread safe.
//
// What may go together shares a LaunchKey. A piece waits no longer than its class's strategy allows
// from when it came, and goes before its deadline less what it is expected to run, whatever the
// strategy: no key can hold another one up, and none waits for company that does not come. Within a
// key the order is that of arrival; among keys that wait for room at one executor, that in which
// they are wanted, less what they run, and then of arrival. Bounded by whoever adds: the requests
// in flight.
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
  TimeUs wanted_us = kNoDeadline;  // when it should be done
  TimeUs run_us = 0;               // what it is expected to run by itself; 0: not known
  WorkShape shape = {};            // what its time depends on, for the outlook
};

// What the adaptive strategy wants to know of an executor before work goes there.
struct LaunchOutlook {
  bool known = false;      // else the rest says nothing
  bool pays = true;        // company makes a launch take less for each
  int room = 0;            // launches that would run at once; 0 or below: none
  TimeUs patience_us = 0;  // how long room is waited for
};

class LaunchCollector {
 public:
  struct Launch {
    LaunchKey key;
    std::vector<uint64_t> ids;
    int64_t items = 0;
    TimeUs wait_us = 0;  // of its first piece
  };

  // Asked of what waits: how things are for so many items like the first piece's.
  using Outlook =
      std::function<LaunchOutlook(const LaunchKey&, const WorkShape& first, int64_t items)>;

  // Without an outlook nothing is ever known.
  explicit LaunchCollector(const BatchingOptions& options, Outlook outlook = {})
      : options_(options), outlook_(std::move(outlook)) {}

  // Its class is one that is collected: options.Of(work_class) is not null.
  void Add(const LaunchKey& key, const LaunchPiece& piece, TimeUs now_us);
  // A launch of such work has begun at the executor, or has ended.
  void Begin(int executor, WorkClass work_class) { ++in_flight_[{executor, work_class}]; }
  void End(int executor, WorkClass work_class) { --in_flight_[{executor, work_class}]; }

  // The launches that are due, each of items_max items at most unless one piece has more.
  std::vector<Launch> Take(TimeUs now_us);
  // What launches of other classes that wait for an executor are expected to run.
  TimeUs AheadUs(int executor, WorkClass work_class) const;
  // When Take() will have some without another call here; kNoDeadline: nothing waits.
  TimeUs NextDueUs() const;

 private:
  struct Waiting {
    LaunchPiece piece;
    TimeUs came_us = 0;
  };
  using Group = std::vector<Waiting>;

  int64_t InFlight(const LaunchKey& key) const;
  // When its most urgent piece must begin, and when its first one came.
  static std::pair<TimeUs, TimeUs> UrgencyOf(const Group& group);
  LaunchOutlook OutlookOf(const LaunchKey& key, const Group& group) const;
  // When the first of a group that is not full must go, `taken` launches having been taken for its
  // executor just now.
  TimeUs DueUs(const LaunchKey& key, const Group& group, const LaunchOutlook& outlook,
               int taken) const;

  const BatchingOptions options_;
  const Outlook outlook_;
  std::map<LaunchKey, Group> groups_;  // none is empty
  std::map<std::pair<int, WorkClass>, int64_t> in_flight_;
};

}  // namespace baton
