#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <utility>

namespace baton {

// How much of a device's memory is for search, and what lies there, of whatever kind: rows that are
// compared, lists of inverted files. Where room is needed, what was asked for the longest ago goes,
// so that no kind starves another. Outlives its places. Not thread safe.
class SearchMemory {
 public:
  explicit SearchMemory(int64_t bytes_max) : bytes_max_(bytes_max) {}
  SearchMemory(const SearchMemory&) = delete;
  SearchMemory& operator=(const SearchMemory&) = delete;

  // What takes some of it, as long as this is there.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept
        : memory_(std::exchange(other.memory_, nullptr)), item_(other.item_) {}
    Place& operator=(Place&& other) noexcept {
      Place old(std::move(*this));
      memory_ = std::exchange(other.memory_, nullptr);
      item_ = other.item_;
      return *this;
    }
    ~Place() {
      if (memory_ != nullptr) memory_->Remove(item_);
    }
    // It is asked for in the turn at hand.
    void Use() { memory_->Use(item_); }

   private:
    friend class SearchMemory;
    struct Item {
      int64_t bytes;
      uint64_t turn;
      std::function<void()> evict;
    };
    Place(SearchMemory* memory, std::list<Item>::iterator item) : memory_(memory), item_(item) {}
    SearchMemory* memory_ = nullptr;
    std::list<Item>::iterator item_;
  };

  // A new turn: what is taken or used in it stays until it is over.
  void BeginTurn() { ++turn_; }
  // Evicts until so many bytes are free; false: what is left is of this turn.
  bool MakeRoom(int64_t bytes);
  // Evicts what was asked for the longest ago; false: there is nothing but this turn's.
  bool EvictOldest();
  // Takes memory, of which there may be more than `bytes_max` then. `evict` ends the place.
  Place Take(int64_t bytes, std::function<void()> evict);

  int64_t bytes_max() const { return bytes_max_; }
  int64_t bytes() const { return bytes_; }

 private:
  using Items = std::list<Place::Item>;
  void Use(Items::iterator item);
  void Remove(Items::iterator item);

  const int64_t bytes_max_;
  int64_t bytes_ = 0;
  uint64_t turn_ = 0;
  Items items_;  // by their last use, the oldest first
};

}  // namespace baton
