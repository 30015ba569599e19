#include "engine/base/thread_name.h"

#include <pthread.h>

#include <string>

#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr size_t kNameBytesMax = 15;

}  // namespace

void NameThread(std::string_view name) {
  // Fails only for names that are too long.
  pthread_setname_np(pthread_self(), std::string(name.substr(0, kNameBytesMax)).c_str());
}

void NameThread(std::string_view name, int index) { NameThread(StrCat(name, "-", index)); }

}  // namespace baton
