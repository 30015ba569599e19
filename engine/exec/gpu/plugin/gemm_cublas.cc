#include <cublasLt.h>
#include <dlfcn.h>

#include <array>
#include <map>
#include <string>
#include <utility>

#include "engine/exec/gpu/plugin/device.h"
#include "engine/exec/gpu/plugin/gemm.h"

namespace baton::gpu {
namespace {

// NVIDIA's advice for Hopper, and more than enough before it (cuBLAS, "cublasSetWorkspace").
constexpr int64_t kWorkspaceBytes = 32 << 20;
// Shapes whose algorithm is remembered: a model has a few, for each number of rows.
constexpr size_t kPlansMax = 4096;

// The functions of libcublasLt, as it is found at run time.
struct CublasLt {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
};

template <typename Function>
bool Find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  return *function != nullptr;
}

// Never closed: the library starts threads of its own.
Fault OpenLibrary(CublasLt* lt) {
  const std::string soname = Text("libcublasLt.so.", CUDART_VERSION / 1000);
  std::string tried;
  void* library = nullptr;
  for (const char* folder : {"", "/usr/local/cuda/lib64/"}) {
    library = dlopen((folder + soname).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
    tried += Text(tried.empty() ? "" : "; ", dlerror());
  }
  if (library == nullptr) {
    return {BATON_UNAVAILABLE, Text("cuBLAS is not there: ", tried, "; install the CUDA toolkit's ",
                                    soname, " or name its folder in LD_LIBRARY_PATH")};
  }
  const bool whole = Find(library, "cublasLtCreate", &lt->create) &&
                     Find(library, "cublasLtDestroy", &lt->destroy) &&
                     Find(library, "cublasLtMatmul", &lt->matmul) &&
                     Find(library, "cublasLtMatmulDescCreate", &lt->desc_create) &&
                     Find(library, "cublasLtMatmulDescDestroy", &lt->desc_destroy) &&
                     Find(library, "cublasLtMatmulDescSetAttribute", &lt->desc_set) &&
                     Find(library, "cublasLtMatrixLayoutCreate", &lt->layout_create) &&
                     Find(library, "cublasLtMatrixLayoutDestroy", &lt->layout_destroy) &&
                     Find(library, "cublasLtMatmulPreferenceCreate", &lt->preference_create) &&
                     Find(library, "cublasLtMatmulPreferenceDestroy", &lt->preference_destroy) &&
                     Find(library, "cublasLtMatmulPreferenceSetAttribute", &lt->preference_set) &&
                     Find(library, "cublasLtMatmulAlgoGetHeuristic", &lt->heuristic);
  if (!whole) return {BATON_UNAVAILABLE, Text(soname, " lacks a function: ", dlerror())};
  return {};
}

class CublasGemm final : public Gemm {
 public:
  CublasGemm(Device& device, const CublasLt& lt) : device_(device), lt_(lt) {}
  ~CublasGemm() override {
    for (auto& [shape, plan] : plans_) Free(plan);
    if (handle_ != nullptr) lt_.destroy(handle_);
  }

  Fault Start() {
    BATON_GPU_TRY(Check(lt_.create(&handle_), "cublasLtCreate"));
    return device_.Allocate("the workspace of cuBLAS", kWorkspaceBytes, &workspace_);
  }

  Fault Multiply(const GemmArgs& args, cudaStream_t stream) override {
    if (args.m == 0 || args.n == 0) return {};
    Plan* plan = nullptr;
    BATON_GPU_TRY(FindPlan(args, &plan));
    const float one = 1;
    const float zero = 0;
    return Check(lt_.matmul(handle_, plan->desc, &one, args.w, plan->w, args.x, plan->x, &zero,
                            args.y, plan->y, args.y, plan->y, &plan->algo, workspace_.data(),
                            kWorkspaceBytes, stream),
                 "cublasLtMatmul");
  }

 private:
  using Shape = std::array<int64_t, 7>;
  struct Plan {
    cublasLtMatmulDesc_t desc = nullptr;
    cublasLtMatrixLayout_t w = nullptr;
    cublasLtMatrixLayout_t x = nullptr;
    cublasLtMatrixLayout_t y = nullptr;
    cublasLtMatmulAlgo_t algo = {};
  };

  Fault Check(cublasStatus_t status, const char* what) {
    if (status == CUBLAS_STATUS_SUCCESS) return {};
    if (status == CUBLAS_STATUS_ALLOC_FAILED) {
      return {BATON_RESOURCE_EXHAUSTED, Text("GPU out of memory: ", what)};
    }
    // What it launched may have ruined the context; the runtime knows.
    BATON_GPU_TRY(device_.Check(cudaGetLastError(), what));
    return {BATON_INTERNAL, Text(what, " failed with cuBLAS status ", static_cast<int>(status))};
  }

  void Free(Plan& plan) {
    if (plan.y != nullptr) lt_.layout_destroy(plan.y);
    if (plan.x != nullptr) lt_.layout_destroy(plan.x);
    if (plan.w != nullptr) lt_.layout_destroy(plan.w);
    if (plan.desc != nullptr) lt_.desc_destroy(plan.desc);
    plan = {};
  }

  Fault FindPlan(const GemmArgs& args, Plan** plan) {
    const Shape shape = {args.m,
                         args.n,
                         args.k,
                         args.x_stride,
                         args.y_stride,
                         static_cast<int64_t>(args.in),
                         static_cast<int64_t>(args.out)};
    const auto found = plans_.find(shape);
    if (found != plans_.end()) {
      *plan = &found->second;
      return {};
    }
    if (plans_.size() >= kPlansMax) {
      for (auto& [old_shape, old_plan] : plans_) Free(old_plan);
      plans_.clear();
    }
    Plan made;
    const Fault fault = MakePlan(args, &made);
    if (fault.failed()) {
      Free(made);
      return fault;
    }
    *plan = &plans_.emplace(shape, made).first->second;
    return {};
  }

  // cuBLAS counts by columns: y^T [n, m] = w^T^T x^T.
  Fault MakePlan(const GemmArgs& args, Plan* plan) {
    const auto type = [](Element of) { return of == Element::kF32 ? CUDA_R_32F : CUDA_R_16BF; };
    const auto size = [](int64_t of) { return static_cast<uint64_t>(of); };
    BATON_GPU_TRY(Check(lt_.desc_create(&plan->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                        "cublasLtMatmulDescCreate"));
    const cublasOperation_t transpose = CUBLAS_OP_T;
    BATON_GPU_TRY(
        Check(lt_.desc_set(plan->desc, CUBLASLT_MATMUL_DESC_TRANSA, &transpose, sizeof(transpose)),
              "cublasLtMatmulDescSetAttribute"));
    BATON_GPU_TRY(
        Check(lt_.layout_create(&plan->w, type(args.in), size(args.k), size(args.n), args.k),
              "cublasLtMatrixLayoutCreate"));
    BATON_GPU_TRY(
        Check(lt_.layout_create(&plan->x, type(args.in), size(args.k), size(args.m), args.x_stride),
              "cublasLtMatrixLayoutCreate"));
    BATON_GPU_TRY(Check(
        lt_.layout_create(&plan->y, type(args.out), size(args.n), size(args.m), args.y_stride),
        "cublasLtMatrixLayoutCreate"));
    cublasLtMatmulPreference_t preference = nullptr;
    BATON_GPU_TRY(Check(lt_.preference_create(&preference), "cublasLtMatmulPreferenceCreate"));
    const uint64_t bytes = kWorkspaceBytes;
    cublasLtMatmulHeuristicResult_t result = {};
    int results = 0;
    Fault fault = Check(lt_.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                           &bytes, sizeof(bytes)),
                        "cublasLtMatmulPreferenceSetAttribute");
    if (!fault.failed()) {
      fault = Check(lt_.heuristic(handle_, plan->desc, plan->w, plan->x, plan->y, plan->y,
                                  preference, 1, &result, &results),
                    "cublasLtMatmulAlgoGetHeuristic");
    }
    lt_.preference_destroy(preference);
    if (!fault.failed() && results == 0) {
      fault = {BATON_INTERNAL, Text("cuBLAS knows no product of [", args.m, ", ", args.k, "] and [",
                                    args.n, ", ", args.k, "]")};
    }
    plan->algo = result.algo;
    return fault;
  }

  Device& device_;
  const CublasLt lt_;
  cublasLtHandle_t handle_ = nullptr;
  DeviceMemory workspace_;
  std::map<Shape, Plan> plans_;
};

}  // namespace

bool Emulated() { return false; }

Fault OpenGemm(Device& device, std::unique_ptr<Gemm>* gemm) {
  CublasLt lt;
  BATON_GPU_TRY(OpenLibrary(&lt));
  auto opened = std::make_unique<CublasGemm>(device, lt);
  BATON_GPU_TRY(opened->Start());
  *gemm = std::move(opened);
  return {};
}

}  // namespace baton::gpu
