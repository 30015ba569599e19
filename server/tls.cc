#include "server/tls.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <mutex>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "server/token_file.h"

namespace baton {

struct TlsFile {
  std::string key;  // of the configuration
  std::string path;
};

// A file in memory that has a path.
class TlsCopy {
 public:
  explicit TlsCopy(const char* name) : fd_(memfd_create(name, MFD_CLOEXEC)) {}
  ~TlsCopy() {
    if (fd_ >= 0) close(fd_);
  }
  TlsCopy(const TlsCopy&) = delete;
  TlsCopy& operator=(const TlsCopy&) = delete;

  std::string path() const { return StrCat("/proc/self/fd/", fd_); }
  absl::Status Write(const std::string& text) {
    if (fd_ < 0 || ftruncate(fd_, 0) != 0 ||
        pwrite(fd_, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
      return absl::ErrnoToStatus(errno, "a certificate cannot be kept in memory");
    }
    return absl::OkStatus();
  }

 private:
  const int fd_;
};

namespace {

// How often gRPC looks at the copies: a second is the least that it takes.
constexpr unsigned kWatchSeconds = 1;

template <class T, void (*Free)(T*)>
struct Freer {
  void operator()(T* object) const { Free(object); }
};
using Certificate = std::unique_ptr<X509, Freer<X509, X509_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY, EVP_PKEY_free>>;
struct BioFreer {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Bio = std::unique_ptr<BIO, BioFreer>;

absl::Status Wrong(const TlsFile& file, std::string_view what) {
  ERR_clear_error();
  return absl::InvalidArgumentError(StrCat(file.key, ": ", file.path, " ", what));
}

absl::StatusOr<std::string> ReadPem(const TlsFile& file) {
  if (file.path.empty()) return "";
  std::ifstream stream(file.path, std::ios::binary);
  if (!stream) return Wrong(file, StrCat("cannot be read: ", std::strerror(errno)));
  return std::string(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
}

// The first of a chain.
Certificate ParseCertificate(const std::string& pem) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return Certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
}

// The whole of it: what it shows, and whose certificates it asks for.
absl::StatusOr<std::shared_ptr<SSL_CTX>> MakeContext(const std::string& certificate,
                                                     const std::string& key,
                                                     const std::string& client_ca) {
  const std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  const auto bio_of = [](const std::string& pem) {
    return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  };
  const Bio chain = bio_of(certificate);
  const Certificate first(PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr));
  const Bio key_bio = bio_of(key);
  const PrivateKey private_key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
  bool good = context != nullptr && first != nullptr && private_key != nullptr &&
              SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) == 1 &&
              SSL_CTX_use_certificate(context.get(), first.get()) == 1 &&
              SSL_CTX_use_PrivateKey(context.get(), private_key.get()) == 1;
  while (good) {
    Certificate next(PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr));
    if (next == nullptr) break;
    good = SSL_CTX_add1_chain_cert(context.get(), next.get()) == 1;
  }
  if (good && !client_ca.empty()) {
    const Bio authorities = bio_of(client_ca);
    while (good) {
      const Certificate next(PEM_read_bio_X509(authorities.get(), nullptr, nullptr, nullptr));
      if (next == nullptr) break;
      good = X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), next.get()) == 1 &&
             SSL_CTX_add_client_CA(context.get(), next.get()) == 1;
    }
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  ERR_clear_error();  // a file's end is told as an error, too
  if (!good) return absl::InternalError("OpenSSL does not take the certificate for the HTTP port");
  // A session that is taken up again would show its client's certificate no more.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET);
  return context;
}

int64_t NotAfter(const X509& certificate) {
  tm parts = {};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(&certificate), &parts) != 1) return 0;
  return timegm(&parts);
}

}  // namespace

struct Tls::Impl {
  struct Contents {
    std::string certificate;
    std::string key;
    std::string client_ca;
    int64_t not_after_s = 0;
    bool operator==(const Contents& other) const {
      return certificate == other.certificate && key == other.key && client_ca == other.client_ca;
    }
  };

  explicit Impl(const TlsOptions& options)
      : certificate_file{"server.tls.certificate", options.certificate},
        key_file{"server.tls.key", options.key},
        client_ca_file{"server.tls.client_ca", options.client_ca} {}

  absl::StatusOr<Contents> Read() const {
    Contents contents;
    ASSIGN_OR_RETURN(contents.certificate, ReadPem(certificate_file));
    ASSIGN_OR_RETURN(contents.key, ReadPem(key_file));
    ASSIGN_OR_RETURN(contents.client_ca, ReadPem(client_ca_file));
    return contents;
  }

  absl::Status Check(Contents& contents) const {
    const Certificate certificate = ParseCertificate(contents.certificate);
    if (certificate == nullptr) return Wrong(certificate_file, "is no certificate in PEM");
    const Bio bio(BIO_new_mem_buf(contents.key.data(), static_cast<int>(contents.key.size())));
    const PrivateKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
    if (key == nullptr) return Wrong(key_file, "is no private key in PEM without a password");
    if (X509_check_private_key(certificate.get(), key.get()) != 1) {
      return Wrong(key_file,
                   StrCat("is not the key of the certificate in ", certificate_file.path));
    }
    contents.not_after_s = NotAfter(*certificate);
    if (contents.not_after_s <= time(nullptr)) {
      return Wrong(certificate_file, StrCat("expired at ", FormatUtc(contents.not_after_s)));
    }
    if (!client_ca_file.path.empty() && ParseCertificate(contents.client_ca) == nullptr) {
      return Wrong(client_ca_file, "has no certificate in PEM");
    }
    return absl::OkStatus();
  }

  absl::Status Serve(Contents contents) {
    ASSIGN_OR_RETURN(std::shared_ptr<SSL_CTX> context,
                     MakeContext(contents.certificate, contents.key, contents.client_ca));
    RETURN_IF_ERROR(certificate_copy.Write(contents.certificate));
    RETURN_IF_ERROR(key_copy.Write(contents.key));
    RETURN_IF_ERROR(client_ca_copy.Write(contents.client_ca));
    served = std::move(contents);
    const std::lock_guard lock(http_mutex);
    http = std::move(context);
    return absl::OkStatus();
  }

  const TlsFile certificate_file;
  const TlsFile key_file;
  const TlsFile client_ca_file;
  TlsCopy certificate_copy{"baton-tls-certificate"};
  TlsCopy key_copy{"baton-tls-key"};
  TlsCopy client_ca_copy{"baton-tls-client-ca"};
  Contents served;
  Contents refused;         // the last that were not served
  absl::Status unreadable;  // the last that could not be read
  std::mutex http_mutex;
  std::shared_ptr<SSL_CTX> http;  // guarded by http_mutex
};

Tls::Tls(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tls::~Tls() = default;

absl::StatusOr<std::unique_ptr<Tls>> Tls::Open(const TlsOptions& options) {
  auto impl = std::make_unique<Impl>(options);
  ASSIGN_OR_RETURN(Impl::Contents contents, impl->Read());
  RETURN_IF_ERROR(impl->Check(contents));
  RETURN_IF_ERROR(impl->Serve(std::move(contents)));
  return std::unique_ptr<Tls>(new Tls(std::move(impl)));
}

std::shared_ptr<ssl_ctx_st> Tls::HttpContext() const {
  const std::lock_guard lock(impl_->http_mutex);
  return impl_->http;
}

int64_t Tls::not_after_s() const { return impl_->served.not_after_s; }

std::shared_ptr<grpc::ServerCredentials> Tls::Credentials() const {
  namespace tls = grpc::experimental;
  const bool mutual = !impl_->client_ca_file.path.empty();
  tls::TlsServerCredentialsOptions options(std::make_shared<tls::FileWatcherCertificateProvider>(
      impl_->key_copy.path(), impl_->certificate_copy.path(),
      mutual ? impl_->client_ca_copy.path() : "", kWatchSeconds));
  options.watch_identity_key_cert_pairs();
  if (mutual) options.watch_root_certs();
  options.set_cert_request_type(mutual ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                       : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  return tls::TlsServerCredentials(options);
}

absl::StatusOr<bool> Tls::Refresh() {
  absl::StatusOr<Impl::Contents> contents = impl_->Read();
  if (!contents.ok()) {
    const bool told = contents.status() == impl_->unreadable;
    impl_->unreadable = contents.status();
    if (told) return false;
    return contents.status();
  }
  impl_->unreadable = absl::OkStatus();
  if (*contents == impl_->served || *contents == impl_->refused) return false;
  const absl::Status checked = impl_->Check(*contents);
  if (!checked.ok()) {
    impl_->refused = *std::move(contents);
    return checked;
  }
  impl_->refused = {};
  RETURN_IF_ERROR(impl_->Serve(*std::move(contents)));
  return true;
}

}  // namespace baton
