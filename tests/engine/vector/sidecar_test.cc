// Payload indexes that are kept in files: they are what the payloads say after whatever was
// written, patched, merged, lost or damaged, and opening reads the payloads of what they lack
// alone.

#include "engine/vector/sidecar_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/vector/byte_codec.h"
#include "engine/vector/field_column.h"
#include "engine/vector/field_values.h"
#include "engine/vector/point_db_codec.h"
#include "engine/vector/segment.h"
#include "engine/vector/snapshot.h"
#include "rocksdb/db.h"
#include "tests/engine/vector/payload_store.h"

namespace baton {
namespace {

// The database of a closed store.
class RawDb {
 public:
  explicit RawDb(const std::string& data_dir) {
    rocksdb::DB* db = nullptr;
    const rocksdb::Status opened =
        rocksdb::DB::Open(rocksdb::Options(), DatabaseDirectory(data_dir), &db);
    INFO(opened.ToString());
    REQUIRE(opened.ok());
    db_.reset(db);
  }
  void Put(const std::string& key, const std::string& value) {
    REQUIRE(db_->Put({}, key, value).ok());
  }
  void DeleteAll(char kind) {
    for (const std::string& key : Keys(kind)) REQUIRE(db_->Delete({}, key).ok());
  }
  std::vector<std::string> Keys(char kind) const {
    std::vector<std::string> keys;
    const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
    for (it->Seek(std::string(1, kind)); it->Valid() && it->key()[0] == kind; it->Next()) {
      keys.push_back(it->key().ToString());
    }
    return keys;
  }
  // Of all writes that are kept.
  std::set<PointId> Patched() const {
    std::set<PointId> ids;
    for (const std::string& key : Keys('Q')) {
      std::string value;
      PendingWrite write;
      REQUIRE(db_->Get({}, key, &value).ok());
      REQUIRE(DecodePending(value, &write));
      ids.insert(write.upserts.begin(), write.upserts.end());
    }
    return ids;
  }

 private:
  std::unique_ptr<rocksdb::DB> db_;
};

struct SidecarFixture : PayloadStore {
  SidecarFixture() : PayloadStore(400, 23) {
    options.write_points_max = 10'000;
    Reopen();
  }
  void Index() {
    for (const PayloadIndex& index : TestIndexes()) {
      REQUIRE_OK(store->CreatePayloadIndex("c", index));
    }
  }
  void Write(int writes) {
    for (int i = 0; i < writes; ++i) WriteOnce(random() % 40);
  }
  void Patch(PointId id, const std::string& color) {
    PayloadPatch patch{.ids = {id}, .set = {{"color", color}}};
    ApplyPatch(twin, patch);
    baton::Write write{.collection = "c"};
    write.patches.push_back(std::move(patch));
    REQUIRE_OK(CommitWrite(*store, std::move(write)).status);
  }
  // What filters find, of the collection and of its named vector, is what their naive twins do.
  void Check() {
    for (const bool named : {false, true}) {
      const auto view = store->View("c", named ? "other" : "");
      REQUIRE_OK(view);
      for (int i = 0; i < 60; ++i) CheckMatches(**view, named, RandomFilter(random, ids));
    }
  }
  std::vector<std::filesystem::path> Files(const std::string& extension = ".payloads") const {
    std::vector<std::filesystem::path> found;
    for (const auto& file : std::filesystem::directory_iterator(SegmentDirectory(dir.path()))) {
      if (file.path().extension() == extension) found.push_back(file.path());
    }
    return found;
  }
  // The payload of a point that is sealed, with each of its vectors, and was not patched since is
  // made unreadable: whoever reads it fails. Its id.
  PointId SpoilPayload() {
    auto view = *store->View("c");
    const auto segment = view->segments()[0].segment;
    view = *store->View("c", "other");
    const auto other = view->segments()[0].segment;
    view.reset();
    store.reset();
    RawDb raw(dir.path());
    const std::set<PointId> patched = raw.Patched();
    int64_t row = 0;
    const auto is_sealed = [](const Segment& in, std::optional<int64_t> at) {
      return at.has_value() && in.IsLive(*at);
    };
    while (!segment->IsLive(row) || patched.contains(segment->data().ids[row]) ||
           !is_sealed(*other, other->Find(segment->data().ids[row]))) {
      ++row;
    }
    const PointId id = segment->data().ids[row];
    const uint32_t collection = 1;
    raw.Put(PointKey('P', collection, id), "x");
    return id;
  }
};

TEST_CASE("a column is the same again from its bytes, and nothing else is taken for one") {
  std::mt19937 random(3);
  for (const PayloadIndex& index : TestIndexes()) {
    for (const int64_t rows : {int64_t{1}, int64_t{2}, int64_t{70}}) {
      CAPTURE(index.field, rows);
      FieldColumn::Builder builder(index.kind, rows);
      std::vector<FieldValues> values;
      for (int64_t row = 0; row < rows; ++row) {
        values.push_back(TakeValues(index, RandomPayload(random)));
        builder.Add(row, values.back());
      }
      const FieldColumn column = std::move(builder).Finish();
      std::string bytes;
      column.AppendTo(bytes);
      ByteReader reader(bytes);
      const auto again = FieldColumn::Take(reader, index.kind, rows);
      REQUIRE(again.has_value());
      REQUIRE(reader.at_end());
      std::string same;
      again->AppendTo(same);
      REQUIRE(same == bytes);
      REQUIRE(again->values() == column.values());
      REQUIRE(again->total_length() == column.total_length());
      REQUIRE(again->rows_with_values() == column.rows_with_values());
      for (int64_t row = 0; row < rows; ++row) {
        REQUIRE(again->Get(row).values == values[row].values);
        REQUIRE(again->Get(row).count == values[row].count);
        REQUIRE(again->Get(row).Length() == values[row].Length());
        REQUIRE(again->LengthOf(row) == column.LengthOf(row));
      }
      const auto end = static_cast<uint32_t>(column.value_count());
      REQUIRE(std::ranges::equal(again->Postings(0, end), column.Postings(0, end)));
      REQUIRE(std::ranges::equal(again->Frequencies(0, end), column.Frequencies(0, end)));
      for (size_t size = 0; size < bytes.size(); ++size) {
        ByteReader cut(std::string_view(bytes).substr(0, size));
        REQUIRE(!FieldColumn::Take(cut, index.kind, rows).has_value());
      }
    }
  }
}

TEST_CASE("payload indexes are what the payloads say, however often the store is opened") {
  SidecarFixture f;
  const bool early = GENERATE(true, false);
  if (early) f.Index();
  f.Write(30);
  if (!early) f.Index();
  for (int round = 0; round < 6; ++round) {
    f.Write(5);
    if (round % 2 == 0) f.store->WaitUntilIdle();
    f.Check();
    f.Reopen();
    f.Check();
  }
  f.store->WaitUntilIdle();
  REQUIRE(!f.Files().empty());
  const auto report = f.store->Verify();
  REQUIRE_OK(report);
  REQUIRE(report->problems.empty());
  REQUIRE_OK(f.store->DropPayloadIndex("c", "flag"));
  REQUIRE_OK(f.store->CreatePayloadIndex("c", {"flag", PayloadIndexKind::kBoolean}));
  f.Reopen();
  f.Check();
}

TEST_CASE("opening reads no payload of a sealed point") {
  SidecarFixture f;
  f.Index();
  f.Write(30);
  f.store->WaitUntilIdle();
  const PointId id = f.SpoilPayload();
  f.Open();
  f.Check();
  // Where the file is lost it does.
  f.store.reset();
  for (const auto& file : f.Files()) std::filesystem::remove(file);
  const auto opened = VectorStore::Open(f.options, f.metrics);
  REQUIRE_STATUS(opened, absl::StatusCode::kDataLoss,
                 "the stored payload of point " + IdText(id) + " is damaged");
}

TEST_CASE("patches since are read again, until their segment is stored anew") {
  SidecarFixture f;
  f.Index();
  f.Write(20);
  f.store->WaitUntilIdle();
  const PointId sealed = (*f.store->View("c"))->segments()[0].segment->data().ids[0];
  f.Patch(sealed, "purple");
  f.Check();
  f.store.reset();
  REQUIRE(!RawDb(f.dir.path()).Keys('Q').empty());
  f.Open();
  f.Check();
  const auto files = f.Files();
  for (int i = 0; i < 3000; ++i) f.Patch(sealed, Pick(f.random, Colors()));
  f.store->WaitUntilIdle();
  REQUIRE(f.Files() != files);
  f.Check();
  f.Reopen();
  f.Check();
  // No more are kept than a segment may have beside its columns.
  f.store->WaitUntilIdle();
  f.store.reset();
  REQUIRE(RawDb(f.dir.path()).Keys('Q').size() <= 2 * 1100);
  f.Open();
  f.Check();
}

TEST_CASE("a damaged file of payload indexes is made again from the points") {
  SidecarFixture f;
  f.Index();
  f.Write(30);
  f.store->WaitUntilIdle();
  f.store.reset();
  const auto files = f.Files();
  REQUIRE(files.size() >= 2);
  const int how = GENERATE(0, 1, 2, 3);
  CAPTURE(how);
  const auto& file = files[0];
  const auto size = std::filesystem::file_size(file);
  if (how == 0) std::filesystem::resize_file(file, size / 2);
  if (how == 1) std::filesystem::resize_file(file, 0);
  if (how == 2)
    std::filesystem::copy_file(files[1], file, std::filesystem::copy_options::overwrite_existing);
  if (how == 3) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(static_cast<std::streamoff>(size / 2));
    const int byte = stream.get();
    stream.seekp(static_cast<std::streamoff>(size / 2));
    stream.put(static_cast<char>(byte ^ 1));
  }
  f.Open();
  f.Check();
  REQUIRE(f.Files(".damaged").size() == 1);
  f.store->WaitUntilIdle();
  REQUIRE(f.Files().size() == files.size());
  const auto report = f.store->Verify();
  REQUIRE_OK(report);
  REQUIRE(report->problems.empty());
  f.Reopen();
  f.Check();
}

TEST_CASE("a store of the format before has its payload indexes stored") {
  SidecarFixture f;
  f.Index();
  f.Write(30);
  f.store->WaitUntilIdle();
  f.store.reset();
  for (const auto& file : f.Files()) std::filesystem::remove(file);
  {
    RawDb raw(f.dir.path());
    raw.DeleteAll('X');
    raw.DeleteAll('Q');
    raw.Put(kFormatKey, EncodeNumber(kFormatOfNames));
  }
  f.Open();
  f.Check();
  f.store->WaitUntilIdle();
  REQUIRE(!f.Files().empty());
  f.Write(3);
  f.Reopen();
  f.Check();
}

TEST_CASE("files of payload indexes are not believed after a time without files") {
  SidecarFixture f;
  f.Index();
  f.Write(30);
  f.store->WaitUntilIdle();
  f.options.graph_files = false;
  f.Reopen();
  f.Write(10);
  f.Check();
  f.options.graph_files = true;
  f.Reopen();
  f.Check();
  f.store->WaitUntilIdle();
  f.Reopen();
  f.Check();
}

TEST_CASE("a snapshot has the files of payload indexes, and tells where one is damaged") {
  SidecarFixture f;
  f.Index();
  f.Write(30);
  f.store->WaitUntilIdle();
  REQUIRE_OK(f.store->CreateSnapshot("then"));
  const std::string directory = f.dir.path() + "/snapshots/then";
  int64_t files = 0;
  std::filesystem::path last;
  for (const auto& file : std::filesystem::directory_iterator(SegmentDirectory(directory))) {
    if (file.path().extension() != ".payloads") continue;
    ++files;
    last = file.path();
  }
  REQUIRE(files == std::ssize(f.Files()));
  auto report = f.store->VerifySnapshot("then");
  REQUIRE_OK(report);
  REQUIRE(report->problems.empty());
  // Of its own, not the store's.
  const auto size = std::filesystem::file_size(last);
  std::filesystem::remove(last);
  std::ofstream(last) << std::string(size, 'x');
  report = f.store->VerifySnapshot("then");
  REQUIRE_OK(report);
  REQUIRE(report->problems.size() == 1);
}

}  // namespace
}  // namespace baton
