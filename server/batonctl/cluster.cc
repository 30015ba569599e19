#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/stages.h"
#include "server/batonctl/table.h"
#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {

constexpr int kCentroidValues = 6;

// The first values of a centroid.
std::string CentroidText(const v1::Cluster& cluster) {
  std::string text;
  for (int j = 0; j < std::min(cluster.centroid_size(), kCentroidValues); ++j) {
    absl::StrAppend(&text, j > 0 ? " " : "", absl::StrFormat("%.4g", cluster.centroid(j)));
  }
  return absl::StrCat(text, cluster.centroid_size() > kCentroidValues ? " ..." : "");
}

void PrintClusters(std::ostream& out, const v1::ClusterResponse& response) {
  std::vector<int> order(static_cast<size_t>(response.clusters_size()));
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  std::sort(order.begin(), order.end(), [&response](int a, int b) {
    const int64_t of_a = response.clusters(a).points();
    const int64_t of_b = response.clusters(b).points();
    return of_a > of_b || (of_a == of_b && a < b);
  });
  Table table({">cluster", ">points", "centroid"});
  for (const int c : order) {
    const v1::Cluster& cluster = response.clusters(c);
    table.AddRow({absl::StrCat(c), absl::StrCat(cluster.points()), CentroidText(cluster)});
  }
  table.Print(out);
  out << "\n"
      << absl::StrFormat("%d points, mean score %.6g", response.points(), response.mean_score())
      << "\n";
}

void PrintAssignment(std::ostream& out, const v1::ClusterResponse& response) {
  Table table({">id", ">cluster"});
  for (int i = 0; i < std::min(response.ids_size(), response.cluster_of_size()); ++i) {
    const bool uuid = i < response.uuids_size() && !response.uuids(i).empty();
    table.AddRow({uuid ? Printable(response.uuids(i)) : absl::StrCat(response.ids(i)),
                  absl::StrCat(response.cluster_of(i))});
  }
  table.Print(out);
  out << "\n";
}

}  // namespace

int RunCluster(Session& session, const ClusterOptions& cluster) {
  v1::ClusterRequest request;
  request.set_collection(cluster.collection);
  request.set_vector_name(cluster.vector_name);
  request.set_all_partitions(cluster.all_partitions);
  request.set_k(cluster.k);
  if (cluster.iterations) {
    request.set_iterations(*cluster.iterations);
  }
  if (cluster.seed) {
    request.set_seed(*cluster.seed);
  }
  if (cluster.metric) {
    request.set_metric(*cluster.metric);
  }
  request.set_with_assignment(cluster.assignment);
  *request.mutable_options() = session.options.request;

  v1::ClusterResponse response;
  const grpc::Status status =
      session.client.vectors().Cluster(session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {cluster.collection, ""});
  }
  std::ostream& out = session.terminal.out;
  if (session.options.json) {
    PrintJson(out, response);
    return kExitOk;
  }
  if (cluster.assignment) {
    PrintAssignment(out, response);
  }
  PrintClusters(out, response);
  PrintStages(out, response.timings());
  return kExitOk;
}

}  // namespace baton::ctl
