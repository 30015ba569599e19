#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/vector/vector_store.h"
#include "engine/vector/view_queries.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {

// A random workload against a store and a model of it, for tests that break off anywhere. Nothing
// here asserts: what is wrong is said in words, so that a test can also demand that something is.
class CrashWorkload {
 public:
  static constexpr int kDimension = 8;
  static constexpr int32_t kIdEnd = 400;

  // collection -> id -> vector. Payloads tell the vector's first value, and a mark.
  using Model = std::map<std::string, Twin>;
  static constexpr int64_t kMarkEnd = 4;
  struct State {
    Model model;
    std::map<std::string, std::map<PointId, int64_t>> marks;  // of the same points
    std::set<std::string> indexed;                            // where marks have an index
  };

  // `any_since`: after a power cut the store may be as it was after any operation since it was
  // settled last, since it is not synced after each.
  explicit CrashWorkload(uint32_t seed, bool any_since = false)
      : any_since_(any_since), random_(seed) {}

  std::mt19937& random() { return random_; }
  // Dropping a collection puts a deleted range into RocksDB's memory, whose own checks end the
  // process where a disk fails again while writing is resumed.
  void KeepCollections() { drops_ = false; }
  // What the store must hold, and what it may hold instead: with the operation that failed last.
  const Model& acknowledged() const { return acknowledged_.model; }

  static CollectionSpec SpecOf(const std::string& name) {
    CollectionSpec spec = Spec(name, kDimension);
    spec.hnsw_m = 4;
    spec.hnsw_ef_construction = 40;
    return spec;
  }

  // One operation. Not OK: it failed, and may have happened or not.
  absl::Status Step(VectorStore& store) {
    const std::string name = random_() % 4 == 0 ? "b" : "a";
    State next = acknowledged_;
    absl::Status status;
    if (!acknowledged_.model.contains(name)) {
      next.model[name] = {};
      status = store.CreateCollection(SpecOf(name), "");
    } else if (drops_ && random_() % (name == "b" ? 10 : 80) == 0) {
      next.model.erase(name);
      next.marks.erase(name);
      next.indexed.erase(name);
      status = store.DropCollection(name);
    } else if (!acknowledged_.indexed.contains(name) && random_() % 4 == 0) {
      next.indexed.insert(name);
      status = CreateIndex(store, name, next);
    } else {
      std::vector<Write> writes(1 + random_() % 2);
      for (Write& write : writes) Fill(name, next.model[name], next.marks[name], write);
      status = store.Commit(std::move(writes)).at(0).status;  // all alike
    }
    if (random_() % 8 == 0) store.WaitUntilIdle();  // what was sealed is in its file
    if (status.ok()) acknowledged_ = next;
    if (!any_since_) history_ = {acknowledged_};
    history_.push_back(next);
    return status;
  }

  // "" where the store holds one of the states that it may; which it holds counts from now on.
  std::string Settle(const VectorStore& store) {
    std::string wrong;
    const std::vector<State> history = history_;
    for (auto state = history.rbegin(); state != history.rend(); ++state) {
      wrong = Compare(store, *state);
      if (!wrong.empty()) continue;
      acknowledged_ = *state;
      history_ = {*state};
      return "";
    }
    return wrong;
  }

  // The share of the 10 nearest that a search by graph finds, over some queries.
  double Recall(const VectorStore& store) {
    int found = 0;
    int wanted = 0;
    std::mt19937 random(7);
    for (const auto& [name, twin] : acknowledged_.model) {
      const auto view = store.View(name);
      if (!view.ok()) return 0;
      for (int i = 0; i < 20; ++i) {
        const std::vector<float> query = RandomVector(random, kDimension);
        const auto expected = NaiveSearch(twin, Metric::kL2, query, 10);
        const auto neighbors = Search(**view, query, {.k = 10, .ef = 24});
        wanted += static_cast<int>(expected.size());
        for (const Neighbor& neighbor : neighbors) {
          found += std::count(expected.begin(), expected.end(), neighbor) > 0 ? 1 : 0;
        }
      }
    }
    return wanted == 0 ? 1 : static_cast<double>(found) / wanted;
  }

 private:
  // Some writes come while it is made: it is stored before them.
  absl::Status CreateIndex(VectorStore& store, const std::string& name, State& next) {
    size_t writes = random_() % 4;
    absl::Status written;
    const auto write = [&]() -> absl::Status {
      const auto view = store.View(name);
      const bool has_begun = view.ok() && (*view)->change() != nullptr;
      if (writes == 0 || !written.ok() || !has_begun) return absl::OkStatus();
      --writes;
      Acknowledge(next);
      std::vector<Write> some(1);
      Fill(name, next.model[name], next.marks[name], some[0]);
      written = store.Commit(std::move(some)).at(0).status;
      if (written.ok()) Acknowledge(next);
      return absl::OkStatus();
    };
    const PayloadIndex index = {.field = "mark", .kind = PayloadIndexKind::kInteger};
    absl::Status status = store.CreatePayloadIndex(name, index, write);
    return status.ok() ? written : status;
  }

  void Acknowledge(const State& state) {
    acknowledged_ = state;
    if (!any_since_) history_.clear();
    history_.push_back(state);
  }

  int64_t RandomMark() { return static_cast<int64_t>(random_() % kMarkEnd); }

  void Fill(const std::string& name, Twin& twin, std::map<PointId, int64_t>& marks, Write& write) {
    write.collection = name;
    const size_t points = 1 + random_() % 40;
    for (size_t i = 0; i < points; ++i) {
      const PointId id = random_() % kIdEnd;
      if (random_() % 4 == 0) {
        write.deletes.push_back(id);
      } else {
        const std::vector<float> vector = RandomVector(random_, kDimension);
        const Payload payload = {{"first", double{vector[0]}}, {"mark", RandomMark()}};
        write.upserts.push_back(MakePoint(id, vector, payload));
      }
    }
    if (random_() % 2 == 0) {
      PayloadPatch& patch = write.patches.emplace_back();
      for (size_t i = 1 + random_() % 20; i > 0; --i) patch.ids.push_back(random_() % kIdEnd);
      patch.set = {{"mark", RandomMark()}};
    }
    for (const PointId id : write.deletes) {
      twin.erase(id);
      marks.erase(id);
    }
    for (const Point& point : write.upserts) {
      twin[point.id] = point.vector;
      marks[point.id] = std::get<int64_t>(point.payload.at("mark"));
    }
    for (const PayloadPatch& patch : write.patches) {
      for (const PointId id : patch.ids) {
        if (twin.contains(id)) marks[id] = std::get<int64_t>(patch.set.at("mark"));
      }
    }
  }

  std::string Compare(const VectorStore& store, const State& state) {
    const Model& model = state.model;
    const std::vector<CollectionInfo> list = store.List();
    if (list.size() != model.size()) {
      return "there are " + std::to_string(list.size()) + " collections, not " +
             std::to_string(model.size());
    }
    for (const CollectionInfo& info : list) {
      if (info.payload_indexes.empty() == state.indexed.contains(info.spec.name)) {
        return info.spec.name + " has an index, or has none";
      }
    }
    for (const auto& [name, twin] : model) {
      const auto view = store.View(name);
      if (!view.ok()) return view.status().ToString();
      if ((*view)->points() != static_cast<int64_t>(twin.size())) {
        return name + " has " + std::to_string((*view)->points()) + " points, not " +
               std::to_string(twin.size());
      }
      std::vector<PointId> ids(kIdEnd);
      for (PointId id = 0; id < kIdEnd; ++id) ids[static_cast<size_t>(id)] = id;
      const auto points = store.Get(name, ids, true, true);
      if (!points.ok()) return points.status().ToString();
      if (points->size() != twin.size()) {
        return name + " stores " + std::to_string(points->size()) + " points, not " +
               std::to_string(twin.size());
      }
      for (const Point& point : *points) {
        const auto found = twin.find(point.id);
        if (found == twin.end()) return name + " has a point that was deleted or never was";
        if (found->second != point.vector) return name + " has another version of a point";
        const int64_t mark = state.marks.at(name).at(point.id);
        if (point.payload != Payload{{"first", double{point.vector[0]}}, {"mark", mark}}) {
          return name + " has a point with another's payload";
        }
      }
      if (state.indexed.contains(name)) {
        const std::string wrong = CompareMarks(**view, state.marks, name);
        if (!wrong.empty()) return wrong;
      }
      for (int i = 0; i < 3; ++i) {
        const std::vector<float> query = RandomVector(random_, kDimension);
        const auto expected = NaiveSearch(twin, Metric::kL2, query, 1000);
        if (Search(**view, query, {.k = 1000, .exact = true}) != expected) {
          return name + ": exact search is not the model's";
        }
      }
    }
    return "";
  }

  // What the index says.
  static std::string CompareMarks(
      const CollectionView& view,
      const std::map<std::string, std::map<PointId, int64_t>>& all_marks, const std::string& name) {
    const auto marks = all_marks.find(name);
    for (int64_t mark = 0; mark < kMarkEnd; ++mark) {
      Filter filter;
      filter.Add(Filter::kRoot, Filter::Clause::kMust,
                 {.field = "mark", .test = Match{.any = {mark}}});
      auto found = MatchingIds(view, filter, kIdEnd);
      if (!found.ok()) return found.status().ToString();
      std::sort(found->begin(), found->end());
      std::vector<PointId> expected;
      if (marks != all_marks.end()) {
        for (const auto& [id, of_point] : marks->second) {
          if (of_point == mark) expected.push_back(id);
        }
      }
      if (*found != expected) return name + ": the index of marks is not the model's";
    }
    return "";
  }

  bool any_since_;
  bool drops_ = true;
  std::mt19937 random_;
  State acknowledged_;
  std::vector<State> history_ = {{}};
};

}  // namespace baton
