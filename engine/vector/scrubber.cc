#include "engine/vector/scrubber.h"

#include <sys/resource.h>

#include <chrono>
#include <utility>

#include "engine/base/log.h"
#include "engine/vector/collection.h"
#include "engine/vector/segment.h"
#include "engine/vector/segment_file.h"
#include "engine/vector/vector_checks.h"

namespace baton {
namespace {

constexpr int kScrubNice = 10;

// Whether a search ran into a bad page is looked at so often.
constexpr int64_t kLookMs = 100;

// Blocks from one pause to the next: some 25 MB a second, which leaves the disk to others.
constexpr int64_t kBlocksAtOnce = 10;

std::vector<std::shared_ptr<const Segment>> FilesOf(const Collection& collection) {
  std::vector<std::shared_ptr<const Segment>> segments;
  const std::shared_ptr<const CollectionView> view = collection.View();
  for (const CollectionView::SegmentPart& part : view->segments()) {
    if (part.segment->has_file()) segments.push_back(part.segment);
  }
  return segments;
}

}  // namespace

Scrubber::Scrubber(std::string directory, Lister collections, WriteAgain write_again)
    : directory_(std::move(directory)),
      collections_(std::move(collections)),
      write_again_(std::move(write_again)),
      thread_([this] { Run(); }) {}

Scrubber::~Scrubber() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

bool Scrubber::Pause(int64_t milliseconds) {
  std::unique_lock lock(mutex_);
  return !stop_.wait_for(lock, std::chrono::milliseconds(milliseconds),
                         [this] { return stopping_; });
}

void Scrubber::Run() {
  setpriority(PRIO_PROCESS, 0, kScrubNice);  // on Linux: of this thread
  // Files that were there at the start; those that this process writes were read back already.
  struct File {
    std::shared_ptr<Collection> collection;
    std::weak_ptr<const Segment> segment;
  };
  std::vector<File> files;
  for (const std::shared_ptr<Collection>& collection : collections_()) {
    for (const auto& segment : FilesOf(*collection)) files.push_back({collection, segment});
  }
  for (const File& file : files) {
    if (!Pause(0)) return;
    if (const auto segment = file.segment.lock()) Check(*file.collection, *segment, true);
  }
  files = {};
  while (Pause(kLookMs)) MendUnreadable();
}

void Scrubber::ScrubNow() {
  for (const std::shared_ptr<Collection>& collection : collections_()) {
    for (const auto& segment : FilesOf(*collection)) Check(*collection, *segment, false);
  }
}

void Scrubber::MendUnreadable() {
  for (const std::shared_ptr<Collection>& collection : collections_()) {
    for (const auto& segment : FilesOf(*collection)) {
      if (!segment->unreadable()) continue;
      Log().error("collection {}: the file of segment {} cannot be read",
                  FullName(collection->spec()), segment->number());
      Mend(*collection, *segment, 0, segment->rows());
    }
  }
}

void Scrubber::Check(const Collection& collection, const Segment& segment, bool slowly) {
  const std::lock_guard lock(check_mutex_);
  const SegmentFileName name{.collection_id = collection.id(), .number = segment.number()};
  int64_t blocks = 0;
  const auto damage = FindSegmentDamage(directory_, name, [&]() -> absl::Status {
    if (!slowly || ++blocks % kBlocksAtOnce != 0) return absl::OkStatus();
    MendUnreadable();
    return Pause(kLookMs) ? absl::OkStatus() : absl::CancelledError("closing");
  });
  if (absl::IsCancelled(damage.status()) || absl::IsNotFound(damage.status())) return;
  if (!damage.ok()) {
    Log().error("collection {}: {}", FullName(collection.spec()), damage.status().ToString());
    Mend(collection, segment, 0, segment.rows());
    return;
  }
  if (damage->status.ok()) return;
  Log().error("collection {}: {}", FullName(collection.spec()), damage->status.ToString());
  for (const auto& [first, end] : damage->rows) Mend(collection, segment, first, end);
}

void Scrubber::Mend(const Collection& collection, const Segment& segment, int64_t first,
                    int64_t end) {
  std::vector<PointId> ids;
  for (int64_t row = first; row < end; ++row) {
    if (segment.IsLive(row)) ids.push_back(segment.data().ids[row]);
  }
  if (ids.empty()) return;
  const absl::Status status = write_again_(collection.spec().name, ids);
  if (status.ok()) {
    Log().warn("collection {}: {} points of segment {} were written again from the database",
               FullName(collection.spec()), ids.size(), segment.number());
  } else {
    Log().error("collection {}: {} points of segment {} cannot be written again: {}",
                FullName(collection.spec()), ids.size(), segment.number(), status.ToString());
  }
}

}  // namespace baton
