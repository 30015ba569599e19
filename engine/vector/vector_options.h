#pragma once

#include <cstdint>
#include <string>

#include "engine/base/options.h"

namespace baton {

struct VectorOptions {
  std::string data_dir = "baton-data";
  std::string fsync = "always";
  int64_t fsync_interval_ms = 200;
  int64_t write_buffer_mb = 64;
  int64_t read_cache_mb = 128;
  int64_t collections_max = 1000;
  int64_t aliases_max = 1000;
  int64_t points_max = 10'000'000;
  int64_t write_points_max = 10'000;
  int64_t payload_bytes_max = 1 << 20;
  int64_t payload_keys_max = 256;
  int64_t filter_conditions_max = 1024;
  int64_t filter_depth_max = 16;
  int64_t filter_values_max = 10'000;
  int64_t filter_write_points_max = 1'000'000;
  int64_t payload_indexes_max = 32;
  int64_t named_vectors_max = 16;
  int64_t partitions_max = 100'000;
  int64_t seal_points = 0;
  int64_t segment_points_max = 1 << 20;
  int64_t merge_quiet_ms = 5000;
  int64_t unindexed_points_max = 1 << 20;
  int64_t write_wait_ms = 5000;
  int64_t build_threads = 1;
  int64_t build_nice = 19;
  int64_t build_memory_mb = 4096;
  int64_t vacuum_deleted_percent = 20;
  bool graph_files = true;
  int64_t disk_reserve_mb = 64;
  int64_t memory_reserve_mb = 64;
  bool repair = false;
  std::string restore;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("data_dir", data_dir, AnyValue{}, "where collections are kept; made if it does not exist");
    v("fsync", fsync, OneOf{"always", "interval"},
      "always: a write is on the disk before it is acknowledged, those that wait together by one "
      "sync; interval: it survives a crash of the daemon, and one of the machine after "
      "fsync_interval_ms");
    v("fsync_interval_ms", fsync_interval_ms, Range{1, 60'000}, "for fsync: interval");
    v("write_buffer_mb", write_buffer_mb, Range{1, 65'536},
      "memory for writes of all collections that are in the write-ahead log alone, MiB: where it "
      "is full, writes wait until a part of it is in a table; a restart reads as much again");
    v("read_cache_mb", read_cache_mb, Range{1, 65'536},
      "memory for what was read of the database's tables, payloads mostly, MiB; the page cache is "
      "behind it");
    v("collections_max", collections_max, Range{1, 100'000}, "collections at most");
    v("aliases_max", aliases_max, Range{0, 100'000}, "aliases of collections at most");
    v("points_max", points_max, Range{1, 1e9}, "points of all collections at most");
    v("write_points_max", write_points_max, Range{1, 100'000},
      "points upserted and ids deleted by one write at most");
    v("payload_bytes_max", payload_bytes_max, Range{0, 1 << 24}, "one point's payload at most");
    v("payload_keys_max", payload_keys_max, Range{0, 65'536}, "keys in one payload at most");
    v("filter_conditions_max", filter_conditions_max, Range{1, 100'000},
      "conditions and groups of them in one filter at most");
    v("filter_depth_max", filter_depth_max, Range{1, 48}, "groups within groups in one filter");
    v("filter_values_max", filter_values_max, Range{1, 1'000'000},
      "values or ids in one condition of a filter at most");
    v("filter_write_points_max", filter_write_points_max, Range{1, 1e9},
      "points deleted or patched by one write with a filter at most");
    v("payload_indexes_max", payload_indexes_max, Range{0, 256},
      "payload indexes of one collection at most");
    v("named_vectors_max", named_vectors_max, Range{0, 256},
      "named vectors of one collection at most");
    v("partitions_max", partitions_max, Range{1, 10'000'000},
      "partitions of one collection with a partition key at most");
    v("seal_points", seal_points, Range{0, 1 << 20},
      "points in the growing buffer of a collection when it is sealed into a segment; 0: by the "
      "dimension, 32768 of 128 values or less, fewer of more, at least 8192, but half of "
      "unindexed_points_max at most");
    v("segment_points_max", segment_points_max, Range{16, 1 << 28},
      "a segment of more points is not merged with others");
    v("merge_quiet_ms", merge_quiet_ms, Range{0, 86'400'000},
      "a collection that was not written to for so long has its segments merged further, as far as "
      "segment_points_max; 0: never");
    v("unindexed_points_max", unindexed_points_max, Range{16, 1e9},
      "points of a collection without a graph at most: further upserts wait, for write_wait_ms or "
      "until shortly before their deadline, and are refused then");
    v("write_wait_ms", write_wait_ms, Range{0, 3'600'000}, "for unindexed_points_max");
    v("build_threads", build_threads, Range{0, 64},
      "threads that build graphs, each another segment; 0: none are built");
    v("build_nice", build_nice, Range{0, 19},
      "niceness of the threads that build graphs; 19: searches and token generation come first");
    v("build_memory_mb", build_memory_mb, Range{1, 1 << 24},
      "memory that building graphs may take, MiB: reserved first; points for which there is none "
      "stay without a graph");
    v("vacuum_deleted_percent", vacuum_deleted_percent, Range{0, 100},
      "a segment of which so much was deleted is built again without that; 0: never");
    v("graph_files", graph_files, AnyValue{},
      "keep segments with their graphs in files; false: rebuild every graph at start");
    v("disk_reserve_mb", disk_reserve_mb, Range{0, 1 << 20},
      "writes are refused while the disk of data_dir has less free space, MiB");
    v("memory_reserve_mb", memory_reserve_mb, Range{0, 1 << 24},
      "upserts are refused while the machine, or the daemon's cgroup, has less memory free, MiB; "
      "deleting goes on");
    v("repair", repair, AnyValue{},
      "give up writes that a damaged write-ahead log does not tell any more, and take new ones; "
      "the damaged log is kept in data_dir/damaged");
    v("restore", restore, AnyValue{},
      "a snapshot's directory, which becomes the store of an empty data_dir");
  }
};

}  // namespace baton
