#include "engine/exec/plugin_ivf.h"

#include <cstddef>
#include <cstdint>

namespace baton {
namespace {

constexpr size_t kPqTableBytes =
    offsetof(baton_executor_plugin, pq_encode) + sizeof(baton_executor_plugin::pq_encode);

}  // namespace

bool PluginIvf::CanWork(const baton_executor_plugin& table) {
  return PluginCluster::CanWork(table) && table.struct_size >= kPqTableBytes &&
         table.pq_encode != nullptr;
}

absl::Status PluginIvf::Encode(const PqCoding& coding, StopTraining stop) const {
  if (coding.book.shape.bits != 4) return HostIvfMath().Encode(coding, stop);
  const baton_pq_job job = {.struct_size = sizeof(job),
                            .dimension = coding.rows.dimension,
                            .rows = coding.rows.rows,
                            .vectors = coding.rows.vectors,
                            .lists = coding.lists,
                            .centroids = coding.centroids,
                            .list_of = coding.list_of,
                            .place_of = coding.place_of,
                            .places = coding.places,
                            .part = coding.book.shape.part,
                            .sub_quantizers = coding.book.shape.sub_quantizers,
                            .book = coding.book.values,
                            .origin = coding.origin,
                            .codes = coding.codes,
                            .terms = coding.terms,
                            .stop_context = &stop,
                            .stop = [](void* context) -> int32_t {
                              return (*static_cast<StopTraining*>(context))() ? 1 : 0;
                            }};
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  return PluginDevice::StatusOf(device_->table().pq_encode(device_->handle(), &job, &error), error);
}

}  // namespace baton
