#include "config/reload.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "config/key_table.h"
#include "config/quoted.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

// Whoever adds a key here has App::ReloadConfig apply it.
constexpr std::string_view kReloadable[] = {"log.level", "server.drain_seconds_max",
                                            "requests.slow_ms"};

bool IsReloadable(std::string_view key) {
  return std::ranges::find(kReloadable, key) != std::end(kReloadable);
}

std::string ShownModels(const std::vector<ModelOptions>& models) {
  std::string text;
  for (const ModelOptions& model : models) {
    text += StrCat(text.empty() ? "" : ", ", model.name, "=", Quoted(model.path));
  }
  return StrCat("[", text, "]");
}

}  // namespace

std::vector<ConfigChange> Compare(const Config& running, const Config& wanted) {
  Config from = running;  // keys point into what may be changed
  Config to = wanted;
  const std::vector<ConfigKey> from_keys = Keys(from);
  const std::vector<ConfigKey> to_keys = Keys(to);
  BATON_CHECK(from_keys.size() == to_keys.size());
  std::vector<ConfigChange> changes;
  for (size_t i = 0; i < from_keys.size(); ++i) {
    ConfigChange change{.key = from_keys[i].path,
                        .from = Shown(from_keys[i]),
                        .to = Shown(to_keys[i]),
                        .reloadable = IsReloadable(from_keys[i].path)};
    if (change.from != change.to) changes.push_back(std::move(change));
  }
  if (running.models != wanted.models) {
    changes.push_back(
        {.key = "models", .from = ShownModels(running.models), .to = ShownModels(wanted.models)});
  }
  return changes;
}

void TakeReloadable(const Config& wanted, Config& running) {
  Config source = wanted;
  const std::vector<ConfigKey> from = Keys(source);
  const std::vector<ConfigKey> to = Keys(running);
  for (size_t i = 0; i < from.size(); ++i) {
    if (!IsReloadable(from[i].path)) continue;
    std::visit(
        [&](auto* field) {
          *field = *std::get<std::remove_cvref_t<decltype(field)>>(from[i].field);
        },
        to[i].field);
  }
}

}  // namespace baton
