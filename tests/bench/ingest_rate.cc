#include "tests/bench/ingest_rate.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "baton/v1/vector.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "rocksdb/db.h"
#include "rocksdb/write_batch.h"
#include "tests/bench/bench_daemon.h"
#include "tests/bench/bench_tools.h"
#include "tests/support/temp_dir.h"

namespace baton {
namespace {

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

std::string Keyword(int64_t row) { return "tenant-" + std::to_string(row % 1000); }

// What all clients share.
struct Work {
  const VectorSet& set;
  const IngestParams& params;
  const SteadyClock::time_point begin;
  std::atomic<int64_t> next_batch = 0;
  std::atomic<int64_t> acknowledged = 0;

  bool Over(int64_t batch) const {
    if (params.seconds > 0) return SecondsSince(begin) >= params.seconds;
    return batch * params.batch_points >= set.rows();
  }
  void Fill(int64_t batch, v1::UpsertRequest* request) const {
    request->set_collection("c");
    const int64_t first = batch * params.batch_points;
    const int64_t end = params.seconds > 0 ? first + params.batch_points
                                           : std::min(first + params.batch_points, set.rows());
    for (int64_t i = first; i < end; ++i) {
      v1::Point& point = *request->add_points();
      const float* const vector = set.row(i % set.rows());
      point.set_id(static_cast<uint64_t>(i));
      point.mutable_vector()->Add(vector, vector + set.dimension);
      // Not the same vector again: copies cost nothing to link.
      point.mutable_vector()->Set(0, vector[0] + static_cast<float>(i / set.rows()));
      (*point.mutable_payload())["tenant"].set_text(Keyword(i));
    }
  }
};

// One stream after the other, each until the daemon has no room or the work is over; a window of
// batches is on its way.
void RunClient(BenchDaemon& daemon, Work& work) {
  constexpr size_t kWindow = 4;
  std::deque<std::unique_ptr<v1::UpsertRequest>> window;  // filled, the first `sent` of them sent
  for (bool over = false; !over || !window.empty();) {
    grpc::ClientContext context;
    const auto stream = daemon.stub().UpsertStream(&context);
    size_t sent = 0;
    bool broken = false;
    while (!broken) {
      while (!over && window.size() < kWindow) {
        const int64_t batch = work.next_batch++;
        over = work.Over(batch);
        if (over) break;
        window.push_back(std::make_unique<v1::UpsertRequest>());
        work.Fill(batch, window.back().get());
      }
      if (window.empty()) break;
      while (!broken && sent < window.size()) broken = !stream->Write(*window[sent++]);
      v1::UpsertResponse response;
      broken = broken || !stream->Read(&response);
      if (broken) break;
      work.acknowledged += response.points();
      window.pop_front();
      --sent;
    }
    if (!broken) stream->WritesDone();
    const grpc::Status status = stream->Finish();
    if (status.ok()) return;
    if (status.error_code() != grpc::StatusCode::RESOURCE_EXHAUSTED) Die(status.error_message());
    if (work.params.seconds > 0 && work.Over(0)) return;
  }
}

}  // namespace

IngestRun MeasureIngest(const VectorSet& set, const IngestParams& params) {
  const TempDir dir;
  VectorOptions options;
  options.data_dir = dir.File("data");
  options.build_threads = params.build_threads;
  options.unindexed_points_max = params.unindexed_points_max;
  BenchDaemon daemon(options);
  grpc::ClientContext context;
  v1::CreateCollectionRequest create;
  create.mutable_spec()->set_name("c");
  create.mutable_spec()->set_dimension(static_cast<int32_t>(set.dimension));
  create.mutable_spec()->set_metric(v1::METRIC_L2);
  v1::CreateCollectionResponse created;
  RpcOrDie(daemon.stub().CreateCollection(&context, create, &created));

  Work work{.set = set, .params = params, .begin = SteadyClock::now()};
  std::vector<std::thread> clients;
  for (int i = 0; i < params.streams; ++i) {
    clients.emplace_back([&] { RunClient(daemon, work); });
  }
  IngestRun run;
  int64_t warm_acknowledged = 0;
  double warm_seconds = 0;
  while (params.seconds > 0 && SecondsSince(work.begin) < params.seconds) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    run.unindexed_max =
        std::max(run.unindexed_max, static_cast<double>(daemon.Describe().points_unindexed()));
    if (warm_seconds == 0 && SecondsSince(work.begin) >= params.warm_seconds) {
      warm_acknowledged = work.acknowledged;
      warm_seconds = SecondsSince(work.begin);
    }
  }
  for (std::thread& client : clients) client.join();
  run.seconds = SecondsSince(work.begin) - warm_seconds;
  run.acknowledged_per_s = static_cast<double>(work.acknowledged - warm_acknowledged) / run.seconds;
  const v1::CollectionInfo info = daemon.Describe();
  run.unindexed_max = std::max(run.unindexed_max, static_cast<double>(info.points_unindexed()));
  run.segments = info.segments();
  if (info.points() < work.acknowledged) Die("acknowledged points are missing");
  return run;
}

double MeasureProbe(const VectorSet& set, int64_t batch_points) {
  const TempDir dir;
  rocksdb::Options options;
  options.create_if_missing = true;
  options.compression = rocksdb::kNoCompression;
  rocksdb::DB* raw = nullptr;
  const rocksdb::Status opened = rocksdb::DB::Open(options, dir.File("db"), &raw);
  if (!opened.ok()) Die(opened.ToString());
  const std::unique_ptr<rocksdb::DB> db(raw);
  rocksdb::WriteOptions write;
  write.sync = true;
  const auto begin = SteadyClock::now();
  for (int64_t first = 0; first < set.rows(); first += batch_points) {
    rocksdb::WriteBatch batch;
    for (int64_t i = first; i < std::min(first + batch_points, set.rows()); ++i) {
      std::string key(12, '\0');
      const uint64_t big_endian = __builtin_bswap64(static_cast<uint64_t>(i));
      std::memcpy(key.data() + 4, &big_endian, sizeof(big_endian));
      const rocksdb::Slice vector(reinterpret_cast<const char*>(set.row(i)),
                                  static_cast<size_t>(set.dimension) * sizeof(float));
      batch.Put("V" + key, vector);
      batch.Put("P" + key, Keyword(i));
    }
    const rocksdb::Status written = db->Write(write, &batch);
    if (!written.ok()) Die(written.ToString());
  }
  return static_cast<double>(set.rows()) / SecondsSince(begin);
}

}  // namespace baton
