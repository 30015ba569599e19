#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "baton/v1/admin.pb.h"
#include "baton/v1/common.pb.h"
#include "baton/v1/inference.pb.h"
#include "baton/v1/rag.pb.h"
#include "baton/v1/vector.pb.h"
#include "engine/base/client_credentials.h"

// What the command line says, one struct per subcommand.
namespace baton::ctl {

struct IngestOptions {
  std::vector<std::string> paths;
  std::string collection;
  std::string root;  // ids are paths relative to it; empty: each PATH itself
  int64_t skip = 0;  // documents to leave out from the front: resumes an ingest that stopped
  std::optional<int32_t> passage_chars_max;
  std::optional<int32_t> passage_overlap_chars;
};

struct ImportOptions {
  std::string path;
  std::string collection;
  int64_t skip = 0;         // rows to leave out from the front: resumes an import that stopped
  uint64_t first_id = 0;    // added to ids
  std::string vector_name;  // of all vectors; empty: the unnamed one
};

// What a generated text must look like: at most one of them.
struct ConstraintOptions {
  std::string grammar_file;
  std::string json_schema_file;
  bool json_object = false;
};

// What ends a generated text, and what is told of its tokens.
struct TokenOptions {
  std::vector<std::string> stop;
  std::vector<int32_t> stop_tokens;
  bool include_stop = false;
  std::optional<int32_t> min_tokens;
  std::optional<int32_t> logprobs;
};

// Whose points are meant, in a collection with a partition key.
struct PartitionOptions {
  std::string name;
  bool all = false;
};

struct AskOptions {
  std::string question;  // "-": standard input
  std::string collection;
  std::string model;
  std::optional<int32_t> k;
  std::optional<int32_t> max_tokens;
  std::optional<int32_t> answers;
  bool retrieval_only = false;
  bool show_passages = false;
  std::string filter;  // of the passages: a v1.Filter in JSON; empty: none
  PartitionOptions partition;
  std::optional<v1::Retrieval> retrieval;
  std::string vector_name;
  TokenOptions tokens;
  ConstraintOptions constraint;
  std::optional<bool> verbatim;
  v1::SamplingParams sampling;
};

struct SearchOptions {
  std::string collection;
  std::string text;         // embedded first; empty: `vector` is the query
  std::string vector;       // "1,2,3"; empty, as `text`: by words alone
  std::string words;        // looked for as they are; empty: by vector alone
  std::string vector_name;  // empty: the unnamed one
  v1::TextQuery word_query;
  v1::Fusion fusion;
  std::string model;  // embedder; empty: the collection's
  int32_t k = 10;
  bool exact = false;
  std::optional<int32_t> ef;
  std::optional<double> recall_target;
  std::optional<int32_t> nprobe;
  std::string filter;  // a v1.Filter in JSON; empty: none
  PartitionOptions partition;
  std::optional<float> score_threshold;
  std::optional<int32_t> offset;
  bool allow_partial = false;
  bool range = false;  // all within score_threshold
  std::optional<int32_t> limit;
  std::string group_by;  // a field; empty: no groups, else k of them
  std::optional<int32_t> group_size;
};

struct CountOptions {
  std::string collection;
  std::string filter;
  PartitionOptions partition;
};
struct ScrollOptions {
  std::string collection;
  std::string filter;
  PartitionOptions partition;
  std::optional<int32_t> limit;
  std::string offset;
};
struct FacetOptions {
  std::string collection;
  std::string field;
  std::string filter;
  PartitionOptions partition;
  std::optional<int32_t> limit;
};
// Of points: which are deleted, or patched.
struct DeletePointsOptions {
  std::string collection;
  std::vector<std::string> ids;  // whole numbers and UUIDs
  std::string filter;
  PartitionOptions partition;
};
struct PatchOptions {
  std::string collection;
  std::vector<std::string> ids;  // whole numbers and UUIDs
  std::string filter;
  PartitionOptions partition;
  bool clear = false;
  std::vector<std::string> delete_keys;
  std::string set;  // a JSON object; empty: nothing
};

struct ClusterOptions {
  std::string collection;
  int32_t k = 0;
  std::optional<int32_t> iterations;
  std::optional<int32_t> seed;
  std::optional<v1::Metric> metric;
  bool assignment = false;
  std::string vector_name;
  bool all_partitions = false;
};

struct RerankOptions {
  std::string query;           // "-": standard input
  std::string documents_file;  // one document a line; "-": standard input
  std::string model;
  std::optional<int32_t> top_n;
};

struct GenerateOptions {
  std::string prompt;  // "-": standard input
  std::string model;
  bool chat = false;                  // the prompt is a user's message
  std::optional<std::string> system;  // the message before it
  std::string template_arguments;
  std::optional<int32_t> max_tokens;
  bool ignore_eos = false;
  TokenOptions tokens;
  std::optional<int32_t> completions;
  bool echo = false;
  ConstraintOptions constraint;
  v1::SamplingParams sampling;
};

struct ModelsOptions {};
struct LoadOptions {
  std::string name;
  std::string path;
  std::string question_prefix;
  std::string passage_prefix;
};
struct UnloadOptions {
  std::string name;
  std::optional<double> drain_timeout_s;
};
struct DevicesOptions {};
struct CalibrateOptions {};
struct PowerOptions {
  v1::PowerMode mode = v1::POWER_MODE_UNSPECIFIED;  // nothing changes
};

struct ExplainOptions {
  v1::ExplainRequest::Kind kind = v1::ExplainRequest::ASK;
  std::optional<int32_t> items;
};

struct PlanOptions {
  std::string workload_file;
  std::string devices_file;
};

struct MakeTokenOptions {
  std::string name;
  std::string scopes;
  std::optional<double> rate;
  std::optional<double> burst;
  std::optional<int32_t> concurrency;
  std::optional<std::string> expires;
  std::string file;  // the line goes there, too
};

struct DoctorOptions {
  std::string config_file;  // empty: the machine and the daemon alone
};

struct TopOptions {
  double interval_s = 1;
  int64_t count = 0;  // 0: until it is interrupted
};

struct ListCollectionsOptions {};
struct DescribeCollectionOptions {
  std::string name;
};
struct DropCollectionOptions {
  std::string name;
};
struct CreateCollectionOptions {
  v1::CollectionSpec spec;
};
struct ListAliasesOptions {
  std::string collection;  // empty: of all
};
struct UpdateAliasesOptions {
  v1::UpdateAliasesRequest request;
};
struct CreateIndexOptions {
  std::string collection;
  std::string field;
  v1::PayloadIndexKind kind = v1::PAYLOAD_INDEX_KIND_KEYWORD;
};
struct DropIndexOptions {
  std::string collection;
  std::string field;
};

struct ListSnapshotsOptions {};
struct CreateSnapshotOptions {
  std::string name;
};
struct DeleteSnapshotOptions {
  std::string name;
};
struct VerifySnapshotOptions {
  std::string name;  // empty: the store itself
};

struct Options {
  std::string server = "127.0.0.1:50051";
  ConnectionOptions connection;
  bool json = false;
  double timeout_s = 300;      // of each request
  v1::RequestOptions request;  // hints, priority, tenant
  std::variant<
      IngestOptions, ImportOptions, AskOptions, SearchOptions, ClusterOptions, RerankOptions,
      GenerateOptions, ModelsOptions, LoadOptions, UnloadOptions, DevicesOptions, CalibrateOptions,
      PowerOptions, ExplainOptions, PlanOptions, MakeTokenOptions, DoctorOptions, TopOptions,
      ListCollectionsOptions, DescribeCollectionOptions, DropCollectionOptions,
      CreateCollectionOptions, CountOptions, ScrollOptions, FacetOptions, DeletePointsOptions,
      PatchOptions, CreateIndexOptions, DropIndexOptions, ListAliasesOptions, UpdateAliasesOptions,
      ListSnapshotsOptions, CreateSnapshotOptions, DeleteSnapshotOptions, VerifySnapshotOptions>
      command;
};

}  // namespace baton::ctl
