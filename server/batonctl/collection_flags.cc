// The subcommands about collections as such, their aliases and snapshots.
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "server/batonctl/flag_parts.h"

namespace baton::ctl {
namespace {

const std::map<std::string, v1::IndexKind> kIndexKinds = {{"hnsw", v1::INDEX_KIND_HNSW},
                                                          {"ivf_pq", v1::INDEX_KIND_IVF_PQ},
                                                          {"ivf_sq", v1::INDEX_KIND_IVF_SQ}};
const std::map<std::string, v1::VectorStorage> kStorages = {{"f32", v1::VECTOR_STORAGE_F32},
                                                            {"f16", v1::VECTOR_STORAGE_F16},
                                                            {"bf16", v1::VECTOR_STORAGE_BF16},
                                                            {"int8", v1::VECTOR_STORAGE_INT8}};

// "NAME:DIM[:METRIC[:STORAGE[:INDEX]]]", as its field `vectors`.
void AddNamedVector(const std::string& text, v1::CollectionSpec& spec) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  const auto fail = [&text](const std::string& what) {
    throw CLI::ValidationError("--vector", what + " in " + text);
  };
  v1::NamedVectorSpec& vector = *spec.add_vectors();
  vector.set_name(parts[0]);
  int32_t dimension = 0;
  if (parts.size() < 2 || parts.size() > 5 || !absl::SimpleAtoi(parts[1], &dimension)) {
    fail("there must be NAME:DIM[:METRIC[:STORAGE[:INDEX]]]");
  }
  vector.set_dimension(dimension);
  const auto value_of = [&](const auto& names, size_t part) {
    const auto found = names.find(parts[part]);
    if (found == names.end()) fail("\"" + parts[part] + "\" is not known");
    return found->second;
  };
  if (parts.size() > 2) vector.set_metric(value_of(kMetrics, 2));
  if (parts.size() > 3) vector.set_storage(value_of(kStorages, 3));
  if (parts.size() > 4) vector.set_index(value_of(kIndexKinds, 4));
}

void AddCollections(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* group = app.add_subcommand("collections", "List (default), describe, create, drop");
  group->require_subcommand(0, 1);
  group->fallthrough();
  group->callback([&options, group] {
    if (group->get_subcommands().empty()) {
      options.command = ListCollectionsOptions{};
    }
  });
  group->add_subcommand("list", "All collections")->callback([&] {
    options.command = ListCollectionsOptions{};
  });

  CLI::App* describe = group->add_subcommand("describe", "One collection");
  Need(*describe, "NAME", commands.describe.name, "Collection");
  describe->callback([&] { options.command = commands.describe; });

  CLI::App* drop = group->add_subcommand("drop", "Delete a collection and all its points");
  Need(*drop, "NAME", commands.drop.name, "Collection");
  drop->callback([&] { options.command = commands.drop; });

  CLI::App* create = group->add_subcommand("create", "Make an empty collection");
  v1::CollectionSpec* spec = &commands.create.spec;
  Maybe<std::string>(*create, "NAME", "Collection", [spec](const std::string& name) {
    spec->set_name(name);
  })->required();
  auto* dimension =
      Maybe<int32_t>(*create, "--dim", "Length of every unnamed vector", [spec](int32_t dim) {
        spec->set_dimension(dim);
      })->check(CLI::Range(1, 65'536));
  auto* named = Maybe<std::vector<std::string>>(
      *create, "--vector",
      "NAME:DIM[:METRIC[:STORAGE[:INDEX]]]: a vector beside the unnamed one, or instead of it",
      [spec](const auto& texts) {
        for (const std::string& text : texts) AddNamedVector(text, *spec);
      });
  Maybe<std::string>(*create, "--partition-key", "A field that says whose a point is",
                     [spec](const std::string& field) { spec->set_partition_key(field); });
  MaybeEnum(*create, "--metric", "cosine (default), dot or l2", kMetrics,
            [spec](v1::Metric metric) { spec->set_metric(metric); });
  Maybe<int32_t>(*create, "--hnsw-m", "Graph degree", [spec](int32_t m) {
    spec->set_hnsw_m(m);
  })->check(CLI::Range(2, 128));
  Maybe<int32_t>(*create, "--ef-construction", "Candidates per insertion", [spec](int32_t ef) {
    spec->set_hnsw_ef_construction(ef);
  })->check(CLI::Range(8, 4'096));
  MaybeEnum(*create, "--index", "hnsw (default); ivf_pq or ivf_sq, which take less memory",
            kIndexKinds, [spec](v1::IndexKind index) { spec->set_index(index); });
  Maybe<int32_t>(*create, "--ivf-lists", "Lists of a segment; default: by its size",
                 [spec](int32_t lists) { spec->set_ivf_lists(lists); })
      ->check(CLI::Range(1, 65'536));
  Maybe<int32_t>(*create, "--ivf-pq-bytes", "Bytes of a code; default: by the dimension",
                 [spec](int32_t bytes) { spec->set_ivf_pq_bytes(bytes); })
      ->check(CLI::Range(1, 256));
  Maybe<int32_t>(*create, "--ivf-pq-bits", "Of each part of a code: 4 (default) or 8",
                 [spec](int32_t bits) { spec->set_ivf_pq_bits(bits); })
      ->check(CLI::IsMember({4, 8}));
  MaybeEnum(*create, "--storage", "Of each value: f32 (default), f16, bf16 or int8", kStorages,
            [spec](v1::VectorStorage storage) { spec->set_storage(storage); });
  create->callback([&options, &commands, dimension, named] {
    if (dimension->empty() && named->empty()) throw CLI::RequiredError("--dim or --vector");
    options.command = commands.create;
  });
}

void AddAliases(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* group = app.add_subcommand("alias", "List (default), set, rename, delete aliases");
  group->require_subcommand(0, 1);
  group->fallthrough();
  group->callback([&options, group] {
    if (group->get_subcommands().empty()) {
      options.command = ListAliasesOptions{};
    }
  });
  CLI::App* list = group->add_subcommand("list", "All aliases");
  list->add_option("--collection,-c", commands.list_aliases.collection, "Only of this one");
  list->callback([&] { options.command = commands.list_aliases; });

  v1::UpdateAliasesRequest* request = &commands.update_aliases.request;
  CLI::App* set = group->add_subcommand("set", "Make aliases, or switch them: all at once");
  Maybe<std::vector<std::string>>(
      *set, "PAIRS", "ALIAS=COLLECTION: what each stands for",
      [request](const auto& pairs) {
        for (const std::string& pair : pairs) {
          const size_t equals = pair.find('=');
          if (equals == std::string::npos) {
            throw CLI::ValidationError("PAIRS", "there is no '=' in " + pair);
          }
          v1::CreateAlias& create = *request->add_actions()->mutable_create();
          create.set_alias(pair.substr(0, equals));
          create.set_collection(pair.substr(equals + 1));
        }
      })
      ->required();
  set->callback([&] { options.command = commands.update_aliases; });

  CLI::App* rename = group->add_subcommand("rename", "Rename an alias");
  Maybe<std::string>(*rename, "ALIAS", "Alias", [request](const std::string& alias) {
    request->add_actions()->mutable_rename()->set_alias(alias);
  })->required();
  Maybe<std::string>(*rename, "NEW", "Its new name", [request](const std::string& alias) {
    request->mutable_actions(0)->mutable_rename()->set_new_alias(alias);
  })->required();
  rename->callback([&] { options.command = commands.update_aliases; });

  CLI::App* remove = group->add_subcommand("delete", "Delete aliases, not their collections");
  Maybe<std::vector<std::string>>(*remove, "ALIAS", "Aliases", [request](const auto& aliases) {
    for (const std::string& alias : aliases) {
      request->add_actions()->mutable_delete_()->set_alias(alias);
    }
  })->required();
  remove->callback([&] { options.command = commands.update_aliases; });
}

void AddSnapshots(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* group =
      app.add_subcommand("snapshot", "List (default), create, verify, delete snapshots");
  group->require_subcommand(0, 1);
  group->fallthrough();
  group->callback([&options, group] {
    if (group->get_subcommands().empty()) {
      options.command = ListSnapshotsOptions{};
    }
  });
  group->add_subcommand("list", "All snapshots")->callback([&] {
    options.command = ListSnapshotsOptions{};
  });

  CLI::App* create = group->add_subcommand("create", "Keep all collections as they are now");
  Need(*create, "NAME", commands.create_snapshot.name, "Snapshot");
  create->callback([&] { options.command = commands.create_snapshot; });

  CLI::App* verify = group->add_subcommand("verify", "Read everything and compare checksums");
  verify->add_option("NAME", commands.verify_snapshot.name, "Snapshot; default: the store itself");
  verify->callback([&] { options.command = commands.verify_snapshot; });

  CLI::App* deletion = group->add_subcommand("delete", "Delete a snapshot");
  Need(*deletion, "NAME", commands.delete_snapshot.name, "Snapshot");
  deletion->callback([&] { options.command = commands.delete_snapshot; });
}

}  // namespace

void AddCollectionCommands(CLI::App& app, Options& options, Commands& commands) {
  AddCollections(app, options, commands);
  AddAliases(app, options, commands);
  AddSnapshots(app, options, commands);
}

}  // namespace baton::ctl
