#pragma once

#include <string>

namespace baton {

// What the service manager that started the daemon (systemd, Type=notify) is told of it; nothing
// happens where there is none. Thread safe.
void TellReady();
void TellStopping();
void TellStatus(const std::string& status);  // one line for `systemctl status`

}  // namespace baton
