#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace baton::load {

// A little HTTP/1.1 server: a thread per connection, each request answered by `serve`.
class ScriptedHttpServer {
 public:
  struct Request {
    std::string path;
    std::string authorization;
    std::string body;
  };
  // Writes a whole answer through `write`, head included; the connection is closed behind it.
  using Write = std::function<void(const std::string&)>;
  using Serve = std::function<void(const Request&, const Write&)>;

  explicit ScriptedHttpServer(Serve serve);
  ~ScriptedHttpServer();

  const std::string& target() const { return target_; }
  std::vector<Request> requests();

 private:
  void Accept();
  void Handle(int connection);

  const Serve serve_;
  std::string target_;
  int listener_ = -1;
  std::mutex mutex_;
  std::vector<Request> requests_;      // guarded by mutex_
  std::vector<std::thread> handlers_;  // guarded by mutex_
  std::thread acceptor_;
};

}  // namespace baton::load
