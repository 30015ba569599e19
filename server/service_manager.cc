#include "server/service_manager.h"

#include <systemd/sd-daemon.h>

#include "engine/base/strings.h"

namespace baton {

void TellReady() { sd_notify(0, "READY=1\nSTATUS=ready"); }
void TellStopping() { sd_notify(0, "STOPPING=1\nSTATUS=draining"); }
void TellStatus(const std::string& status) { sd_notify(0, StrCat("STATUS=", status).c_str()); }

}  // namespace baton
