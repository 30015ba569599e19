#include <grpcpp/impl/codegen/proto_utils.h>

#include "engine/base/strings.h"
#include "loadtest/grpc_transport.h"
#include "qdrant/search.pb.h"

namespace baton::load {
namespace {

void FillSearch(const RequestMix& mix, const float* row, size_t width, bool exact,
                qdrant::SearchPoints* search) {
  search->set_collection_name(mix.collection);
  search->mutable_vector()->Add(row, row + width);
  search->set_limit(static_cast<uint64_t>(mix.k));
  search->mutable_with_payload()->set_enable(true);  // as Baton's own default
  if (!mix.vector_name.empty()) search->set_vector_name(mix.vector_name);
  if (exact) {
    search->mutable_params()->set_exact(true);
  } else if (mix.ef > 0) {
    search->mutable_params()->set_hnsw_ef(static_cast<uint64_t>(mix.ef));
  }
}

template <class Message>
bool ParseQdrant(grpc::ByteBuffer& buffer, Message& message) {
  return grpc::GenericDeserialize<grpc::ProtoBufferReader, Message>(&buffer, &message).ok();
}

class QdrantCodec final : public GrpcCodec {
 public:
  const char* Method(Kind kind) const override {
    return kind == Kind::kSearch ? "/qdrant.Points/Search" : "/qdrant.Points/SearchBatch";
  }
  bool IsStream(Kind) const override { return false; }
  const char* TokenKey() const override { return "api-key"; }
  std::string TokenValue(const std::string& token) const override { return token; }

  absl::StatusOr<Body> Encode(const RequestMix& mix, const Input& input, uint64_t,
                              bool exact) const override {
    if (mix.kind == Kind::kSearch) {
      qdrant::SearchPoints search;
      FillSearch(mix, input.vector.data(), input.vector.size(), exact, &search);
      return std::make_shared<const std::string>(search.SerializeAsString());
    }
    qdrant::SearchBatchPoints batch;
    batch.set_collection_name(mix.collection);
    const size_t width = input.vector.size() / static_cast<size_t>(mix.batch);
    for (size_t begin = 0; begin < input.vector.size(); begin += width) {
      FillSearch(mix, input.vector.data() + begin, width, exact, batch.add_search_points());
    }
    return std::make_shared<const std::string>(batch.SerializeAsString());
  }

  Seen Observe(Kind kind, grpc::ByteBuffer& message, int64_t, bool keep_found,
               RequestRecord& record) const override {
    if (kind == Kind::kSearchBulk) {
      qdrant::SearchBatchResponse response;
      return ParseQdrant(message, response) ? Seen::kFinished : Seen::kGarbled;
    }
    qdrant::SearchResponse response;
    if (!ParseQdrant(message, response)) return Seen::kGarbled;
    if (keep_found) {
      for (const auto& point : response.result()) record.found.push_back(point.id().num());
    }
    return Seen::kFinished;
  }

  absl::StatusOr<int32_t> Dimension(const std::shared_ptr<grpc::Channel>&, grpc::ClientContext&,
                                    const RequestMix& mix) const override {
    return absl::InvalidArgumentError(
        StrCat("load \"", mix.name, "\" needs dimension or vectors: Qdrant is not asked"));
  }
};

}  // namespace

std::unique_ptr<GrpcCodec> MakeQdrantCodec() { return std::make_unique<QdrantCodec>(); }

}  // namespace baton::load
