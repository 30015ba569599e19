// The aliases of a VectorStore's collections.
#include <algorithm>
#include <utility>

#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/collection.h"
#include "engine/vector/point_db.h"
#include "engine/vector/vector_checks.h"
#include "engine/vector/vector_store.h"

namespace baton {

std::vector<StoredAlias> VectorStore::ToStored(const AliasMap& aliases) {
  std::vector<StoredAlias> stored;
  for (const auto& [name, collection] : aliases) {
    stored.push_back({.name = name, .collection_id = collection->id()});
  }
  return stored;
}

CollectionInfo VectorStore::InfoOf(const Collection& collection, const AliasMap& aliases) {
  CollectionInfo info = collection.Info();
  for (const auto& [name, target] : aliases) {
    if (target.get() == &collection) info.aliases.push_back(name);
  }
  return info;
}

absl::Status VectorStore::RecoverAliases() {
  ASSIGN_OR_RETURN(std::vector<StoredAlias> stored, db_->Aliases());
  for (StoredAlias& alias : stored) {
    const auto target =
        std::find_if(collections_.begin(), collections_.end(), [&alias](const auto& collection) {
          return collection.second->id() == alias.collection_id;
        });
    // As a damaged log may leave it, or a daemon of a version without aliases.
    if (target == collections_.end() || collections_.contains(alias.name)) {
      Log().warn("vector store: alias {} is forgotten: {}", alias.name,
                 target == collections_.end() ? "its collection is not there"
                                              : "a collection has that name");
      continue;
    }
    aliases_.emplace(std::move(alias.name), target->second);
  }
  return absl::OkStatus();
}

VectorStore::AliasMap VectorStore::Aliases() const {
  const std::lock_guard lock(mutex_);
  return aliases_;
}

std::vector<Alias> VectorStore::ListAliases() const {
  std::vector<Alias> list;
  for (const auto& [name, collection] : Aliases()) {
    list.push_back({.name = name, .collection = collection->spec().name});
  }
  return list;
}

std::string VectorStore::ResolveName(const std::string& name) const {
  const std::shared_ptr<Collection> collection = Find(name);
  return collection == nullptr ? name : collection->spec().name;
}

absl::Status VectorStore::ApplyAction(const AliasAction& action, const std::string& field,
                                      AliasMap& aliases) const {
  // Find is not asked: `aliases` are ahead of it.
  const auto collection_named = [this](const std::string& name) -> std::shared_ptr<Collection> {
    const std::lock_guard lock(mutex_);
    const auto found = collections_.find(name);
    return found == collections_.end() ? nullptr : found->second;
  };
  const auto check_free = [&](const char* part, const std::string& name) -> absl::Status {
    RETURN_IF_ERROR(CheckName(StrCat(field, part), name));
    if (collection_named(name) == nullptr) return absl::OkStatus();
    return absl::AlreadyExistsError(
        StrCat(field, part, " is \"", name, "\", which is a collection: an alias needs another"));
  };
  const auto existing = aliases.find(action.alias);
  if (action.kind == AliasAction::Kind::kSet) {
    RETURN_IF_ERROR(check_free(".alias", action.alias));
    std::shared_ptr<Collection> target = collection_named(action.collection);
    if (target == nullptr && aliases.contains(action.collection)) {
      return absl::FailedPreconditionError(
          StrCat(field, ".collection is \"", action.collection, "\", which is an alias of \"",
                 aliases.at(action.collection)->spec().name, "\": name the collection itself"));
    }
    if (target == nullptr) {
      return absl::NotFoundError(StrCat(field, ".collection: collection \"",
                                        Escaped(action.collection), "\" does not exist"));
    }
    aliases[action.alias] = std::move(target);
    return absl::OkStatus();
  }
  if (existing == aliases.end()) {
    return absl::NotFoundError(
        StrCat(field, ".alias: alias \"", Escaped(action.alias), "\" does not exist"));
  }
  if (action.kind == AliasAction::Kind::kRename) {
    RETURN_IF_ERROR(check_free(".new_alias", action.new_name));
    if (!aliases.emplace(action.new_name, existing->second).second) {
      return absl::AlreadyExistsError(
          StrCat(field, ".new_alias: alias \"", action.new_name, "\" exists already"));
    }
  }
  aliases.erase(action.alias);
  return absl::OkStatus();
}

absl::Status VectorStore::UpdateAliases(std::span<const AliasAction> actions) {
  RETURN_IF_ERROR(db_->writable());
  const std::lock_guard commit_lock(commit_mutex_);
  AliasMap aliases = Aliases();
  for (size_t i = 0; i < actions.size(); ++i) {
    RETURN_IF_ERROR(ApplyAction(actions[i], StrCat("actions[", i, "]"), aliases));
  }
  if (std::ssize(aliases) > options_.aliases_max) {
    return absl::ResourceExhaustedError(StrCat("there would be ", aliases.size(),
                                               " aliases, vector.aliases_max is ",
                                               options_.aliases_max));
  }
  RETURN_IF_ERROR(db_->SetAliases(ToStored(aliases)));
  const std::lock_guard lock(mutex_);
  aliases_.swap(aliases);
  return absl::OkStatus();
}

}  // namespace baton
