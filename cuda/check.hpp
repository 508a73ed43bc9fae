// CUDA and cuBLAS calls that throw: with the call's text, where it stands, and what the library says.
#pragma once
#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace vitreous {

[[noreturn]] inline void cuda_failed(const char* call, const char* file, int line, const std::string& what) {
  throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + call + ": " + what);
}
inline void check_cuda(cudaError_t code, const char* call, const char* file, int line) {
  if (code != cudaSuccess) cuda_failed(call, file, line, cudaGetErrorString(code));
}
inline void check_cublas(cublasStatus_t code, const char* call, const char* file, int line) {
  if (code != CUBLAS_STATUS_SUCCESS) cuda_failed(call, file, line, cublasGetStatusString(code));
}

}  // namespace vitreous

#define VT_CUDA(call) ::vitreous::check_cuda((call), #call, __FILE__, __LINE__)
#define VT_CUBLAS(call) ::vitreous::check_cublas((call), #call, __FILE__, __LINE__)
