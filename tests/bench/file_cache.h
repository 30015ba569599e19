#pragma once

#include <string>

namespace baton {

// The kernel forgets what it caches of the files below a folder, as far as nothing maps them.
void DropFileCache(const std::string& folder);

// MiB of the page cache that a folder's files take and the process does not map.
double UnmappedCacheMib(const std::string& folder);

}  // namespace baton
