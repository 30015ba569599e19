#pragma once

#include <memory>
#include <string>

#include "engine/exec/executor.h"
#include "engine/exec/plugin_loader.h"

namespace baton {

// The executor of a platform whose device sits behind a plug-in; never null. No plug-in offers a
// skill yet, so what comes back takes no work: it is a description, of the first device found or,
// with present = false, of why there is none. Blocks while the driver starts.
std::unique_ptr<Executor> MakePluginExecutor(const PluginKind& kind, bool enabled,
                                             const std::string& path);

}  // namespace baton
