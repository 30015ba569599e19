#pragma once

#include <cuda_runtime_api.h>

// Streams that are captured, as the rest of the runtime sees them. Each of these ends its capture
// and returns cudaErrorStreamCaptureUnsupported, as the CUDA runtime does.
namespace baton::cuda_host {

// A call that is not allowed while the calling thread captures a stream, by a mode that watches it.
cudaError_t RefuseWhileCapturing();
// A call for this stream that cannot be captured. So are events here: a graph is one stream's.
cudaError_t RefuseCaptured(cudaStream_t stream);

}  // namespace baton::cuda_host
