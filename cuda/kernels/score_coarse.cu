#include "vitreous/kernels/score_coarse.hpp"

#include <algorithm>
#include <cmath>

#include "device.hpp"
#include "reduce.cuh"

namespace vitreous {

namespace {

// Scores of one block of images in memory: large enough that the products run at full rate, small beside any GPU's
// memory.
constexpr idx kScoreBytes = idx(512) << 20;
constexpr int kThreads = 256;
// Depth below the best score is counted in kBins coarse bins, then one of them in kBins finer ones: the samples kept
// are those that a sort would keep and at most what lies within 1/8192 of the threshold; the host sorts these few
// exactly.
constexpr int kBins = 512;
constexpr float kPerUnit = 8192;  // fine bins per unit of log weight; 32 units in all
constexpr int kLastFine = kBins * kBins - 1;

struct Found {  // per image
  float max;
  idx best;  // lowest pose * n_shift + shift with that score
  double total;
  int last_fine;  // deepest bin that is kept
  int count;
};

struct Candidate {
  std::int32_t pose, shift;
  float score;
};

__global__ void bank_power_k(View<const float, 3> bank, float* power) {
  const idx n_k = bank.shape[2], n = bank.shape[0] * n_k;
  for (idx j = idx(blockIdx.x) * blockDim.x + threadIdx.x; j < n; j += idx(gridDim.x) * blockDim.x) {
    const float re = bank.row(j / n_k, 0)[j % n_k], im = bank.row(j / n_k, 1)[j % n_k];
    power[j] = re * re + im * im;
  }
}

// y_re, y_im (image, shift, k), h (image, k), image_norm (image): one block per (image, shift)
__global__ void shifted_images_k(CoarseProblem p, idx first, float* y_re, float* y_im, float* h, float* image_norm) {
  const idx n_k = p.half_inv_var.shape[0], n_t = p.phases.shape[0], t = blockIdx.y;
  const idx j = blockIdx.x, i = first + j;
  const float *x_re = p.images.row(i, 0), *x_im = p.images.row(i, 1), *c = p.phases.row(t, 0), *s = p.phases.row(t, 1);
  double power = 0;
  for (idx k = threadIdx.x; k < n_k; k += blockDim.x) {
    const float half = p.half_inv_var[k], ctf = p.ctf.row(i)[k];
    const float g = p.correlation ? (half > 0 ? ctf : 0.f) : ctf * half;
    const float re = g * x_re[k], im = g * x_im[k];
    y_re[(j * n_t + t) * n_k + k] = re * c[k] - im * s[k];
    y_im[(j * n_t + t) * n_k + k] = re * s[k] + im * c[k];
    if (t == 0) h[j * n_k + k] = g * ctf;
    if (half > 0) power += double(x_re[k]) * x_re[k] + double(x_im[k]) * x_im[k];
  }
  if (t != 0) return;
  power = block_reduce(power, 0.0, Sum());
  if (threadIdx.x == 0) image_norm[j] = power > 0 ? float(1 / sqrt(power)) : 0.f;
}

// Products of the planes -> scores, in place: the sum belongs to the slice, the difference to its conjugate (turned by
// 180 degrees). Threads run over (shift, row), rows fastest; one grid row per image.
__global__ void finish_scores_k(CoarseProblem p, idx first, const float* norm, const float* image_norm, float* direct,
                                float* turned) {
  const idx n_row = p.bank.shape[0], n_t = p.phases.shape[0], n = n_row * n_t, j = blockIdx.y, i = first + j;
  const bool both = p.pose_prior.shape[0] > n_row;
  for (idx q = idx(blockIdx.x) * blockDim.x + threadIdx.x; q < n; q += idx(gridDim.x) * blockDim.x) {
    const idx r = q % n_row, t = q / n_row;
    const std::int32_t c = p.row_class[r];
    const float a = direct[j * n + q], b = turned[j * n + q], power = norm[j * n_row + r];
    const bool allowed = p.only_class[i] < 0 || p.only_class[i] == c;
    for (int turn = 0; turn < (both ? 2 : 1); ++turn) {
      const float cross = turn ? a - b : a + b, prior = p.pose_prior[turn * n_row + r];
      float score = -INFINITY;
      if (allowed && prior > -INFINITY)
        score = p.correlation ? image_norm[j] * (power > 0 ? rsqrtf(power) : 0.f) * cross
                              : 2.f * cross + (prior - power + p.shift_prior.row(i, c)[t]);
      (turn ? turned : direct)[j * n + q] = score;
    }
  }
}

// The score of pose-shift number q, and its name pose * n_shift + shift
struct Scores {
  const float *direct, *turned;  // of one image: (shift, row)
  idx n_row, n_t, n;             // n: all samples of an image
  __device__ float at(idx q) const { return q < n_row * n_t ? direct[q] : turned[q - n_row * n_t]; }
  __device__ idx name(idx q) const {
    const idx turn = q / (n_row * n_t), rest = q % (n_row * n_t);
    return (turn * n_row + rest % n_row) * n_t + rest / n_row;
  }
};

__device__ inline Scores scores_of(const CoarseProblem& p, const float* direct, const float* turned, idx j) {
  const idx n_row = p.bank.shape[0], n_t = p.phases.shape[0];
  return {direct + j * n_row * n_t, turned + j * n_row * n_t, n_row, n_t, p.pose_prior.shape[0] * n_t};
}

__device__ inline int fine_bin(float depth) { return min(int(depth * kPerUnit), kLastFine); }

// First bin where the running sum of mass exceeds the goal or that of count reaches most; kBins - 1 where none does.
// `mass_before` and `count_before` receive the sums before that bin. Called by one thread.
__device__ int crossing(const double* mass, const int* count, double goal, idx most, double& mass_before,
                        idx& count_before) {
  for (int b = 0; b < kBins - 1; ++b) {
    if (mass_before + mass[b] > goal || count_before + count[b] >= most) return b;
    mass_before += mass[b];
    count_before += count[b];
  }
  return kBins - 1;
}

// One block per image: best score, total mass, and the depth that holds the fraction of it
__global__ void find_significant_k(CoarseProblem p, const float* direct, const float* turned, float cut, Found* found) {
  __shared__ double mass[kBins];
  __shared__ int count[kBins];
  __shared__ double mass_before;
  __shared__ idx count_before;
  __shared__ int coarse, fine;
  const Scores scores = scores_of(p, direct, turned, blockIdx.x);
  float max = -INFINITY;
  for (idx q = threadIdx.x; q < scores.n; q += blockDim.x) max = Max()(max, scores.at(q));
  max = block_reduce(max, -INFINITY, Max());
  if (!(max > -INFINITY && max < INFINITY)) {
    if (threadIdx.x == 0) found[blockIdx.x] = {-INFINITY, -1, 0, -1, 0};
    return;
  }
  idx best = INT64_MAX;
  double total = 0;
  const idx most = p.max_count > 0 ? p.max_count : INT64_MAX;
  for (int level = 0; level < 2; ++level) {
    for (int b = threadIdx.x; b < kBins; b += blockDim.x) mass[b] = 0, count[b] = 0;
    __syncthreads();
    for (idx q = threadIdx.x; q < scores.n; q += blockDim.x) {
      const float depth = max - scores.at(q);
      if (!(depth < cut)) continue;
      const int bin = fine_bin(depth);
      const double weight = expf(-depth);
      if (level == 0) {
        total += weight;
        if (depth == 0) best = Min()(best, scores.name(q));
      } else if (bin / kBins != coarse) {
        continue;
      }
      atomicAdd(&mass[level ? bin % kBins : bin / kBins], weight);
      atomicAdd(&count[level ? bin % kBins : bin / kBins], 1);
    }
    if (level == 0) total = block_reduce(total, 0.0, Sum());
    __syncthreads();
    if (threadIdx.x == 0) {
      if (level == 0) mass_before = 0, count_before = 0;
      (level ? fine : coarse) = crossing(mass, count, p.fraction * total, most, mass_before, count_before);
    }
    __syncthreads();
  }
  best = block_reduce(best, idx(INT64_MAX), Min());
  if (threadIdx.x == 0) found[blockIdx.x] = {max, best, total, coarse * kBins + fine, int(count_before) + count[fine]};
}

// One block per image: the samples down to its last bin, in any order, into its own stretch of the list
__global__ void emit_k(CoarseProblem p, const float* direct, const float* turned, float cut, const Found* found,
                       const idx* start, Candidate* out) {
  __shared__ int n_written;
  if (threadIdx.x == 0) n_written = 0;
  __syncthreads();
  const Found f = found[blockIdx.x];
  if (f.count == 0) return;
  const Scores scores = scores_of(p, direct, turned, blockIdx.x);
  for (idx q = threadIdx.x; q < scores.n; q += blockDim.x) {
    const float score = scores.at(q), depth = f.max - score;
    if (!(depth < cut) || fine_bin(depth) > f.last_fine) continue;
    const int slot = atomicAdd(&n_written, 1);
    const idx name = scores.name(q);
    if (slot < f.count)
      out[start[blockIdx.x] + slot] = {std::int32_t(name / scores.n_t), std::int32_t(name % scores.n_t), score};
  }
}

// The same choice as math/select.hpp, among the few candidates: the largest that hold the fraction of the whole mass,
// sorted by pose and shift.
void keep_significant(std::vector<Candidate>& found, const Found& f, double fraction, idx max_count) {
  std::sort(found.begin(), found.end(), [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  double sum = 0;
  std::size_t n = 0;
  while (n < found.size()) {
    sum += std::exp(double(found[n].score - f.max));
    ++n;
    if (sum > fraction * f.total || (max_count > 0 && idx(n) >= max_count)) break;
  }
  while (n < found.size() && found[n].score == found[n - 1].score) ++n;  // equal weights stand or fall together
  found.resize(n);
  std::sort(found.begin(), found.end(), [](const Candidate& a, const Candidate& b) {
    return a.pose != b.pose ? a.pose < b.pose : a.shift < b.shift;
  });
}

// c (m, n) = a (m, k) b(n, k)^T, row-major, b with rows ld_b apart
void gemm_nt(Device& device, idx m, idx n, idx k, const float* a, const float* b, idx ld_b, float* c) {
  const float one = 1, zero = 0;
  VT_CUBLAS(cublasSgemm(device.blas(), CUBLAS_OP_T, CUBLAS_OP_N, int(n), int(m), int(k), &one, b, int(ld_b), a, int(k),
                        &zero, c, int(n)));
}

struct Buffers {
  Scratch<float> power, y_re, y_im, h, image_norm, norm, direct, turned;
  Scratch<Found> found;
  Scratch<idx> start;
  Buffers(Device& d, idx n_img, idx n_row, idx n_t, idx n_k)
      : power(d, n_row * n_k),
        y_re(d, n_img * n_t * n_k),
        y_im(d, n_img * n_t * n_k),
        h(d, n_img * n_k),
        image_norm(d, n_img),
        norm(d, n_img * n_row),
        direct(d, n_img * n_t * n_row),
        turned(d, n_img * n_t * n_row),
        found(d, n_img),
        start(d, n_img) {}
};

void score_block(Device& device, const CoarseProblem& p, idx first, idx n_img, const Buffers& b) {
  const idx n_row = p.bank.shape[0], n_t = p.phases.shape[0], n_k = p.half_inv_var.shape[0], ld = 2 * n_k;
  const dim3 per_shift{unsigned(n_img), unsigned(n_t)};
  shifted_images_k<<<per_shift, kThreads, 0, device.stream()>>>(p, first, b.y_re.data(), b.y_im.data(), b.h.data(),
                                                                b.image_norm.data());
  VT_CUDA(cudaGetLastError());
  gemm_nt(device, n_img, n_row, n_k, b.h.data(), b.power.data(), n_k, b.norm.data());
  gemm_nt(device, n_img * n_t, n_row, n_k, b.y_re.data(), p.bank.data, ld, b.direct.data());
  gemm_nt(device, n_img * n_t, n_row, n_k, b.y_im.data(), p.bank.data + n_k, ld, b.turned.data());
  const dim3 grid{unsigned(std::min<idx>(64, (n_row * n_t + kThreads - 1) / kThreads)), unsigned(n_img)};
  finish_scores_k<<<grid, kThreads, 0, device.stream()>>>(p, first, b.norm.data(), b.image_norm.data(), b.direct.data(),
                                                          b.turned.data());
  VT_CUDA(cudaGetLastError());
}

// Significant samples of the images of one block, appended in order
void collect_block(Device& device, const CoarseProblem& p, idx first, idx n_img, float cut, const Buffers& b,
                   Samples& samples) {
  find_significant_k<<<unsigned(n_img), kThreads, 0, device.stream()>>>(p, b.direct.data(), b.turned.data(), cut,
                                                                        b.found.data());
  VT_CUDA(cudaGetLastError());
  const std::vector<Found> found = b.found.to_host(n_img);
  const bool best_only = p.correlation || p.fraction <= 0;
  std::vector<idx> start(std::size_t(n_img) + 1, 0);
  for (idx j = 0; j < n_img; ++j) start[j + 1] = start[j] + found[j].count;
  std::vector<Candidate> all;
  if (!best_only && start[n_img] > 0) {
    const Scratch<Candidate> list(device, start[n_img]);
    device.upload(b.start.data(), start.data(), std::size_t(n_img) * sizeof(idx));
    emit_k<<<unsigned(n_img), kThreads, 0, device.stream()>>>(p, b.direct.data(), b.turned.data(), cut, b.found.data(),
                                                              b.start.data(), list.data());
    VT_CUDA(cudaGetLastError());
    all = list.to_host(start[n_img]);
  }
  for (idx j = 0; j < n_img; ++j) {
    const Found& f = found[j];
    samples.best[first + j] = f.max;
    if (best_only && f.count > 0) {
      samples.pose.push_back(std::int32_t(f.best / p.phases.shape[0]));
      samples.shift.push_back(std::int32_t(f.best % p.phases.shape[0]));
    } else if (!best_only) {
      std::vector<Candidate> mine(all.begin() + start[j], all.begin() + start[j + 1]);
      if (!mine.empty()) keep_significant(mine, f, p.fraction, p.max_count);
      for (const Candidate& c : mine) samples.pose.push_back(c.pose), samples.shift.push_back(c.shift);
    }
    samples.start[first + j + 1] = idx(samples.pose.size());
  }
}

}  // namespace

void score_coarse(Cuda dev, const CoarseProblem& p, Samples& samples) {
  Device& device = enter(dev);
  const idx n_img = p.images.shape[0], n_row = p.bank.shape[0], n_t = p.phases.shape[0], n_k = p.half_inv_var.shape[0];
  samples.start.assign(std::size_t(n_img) + 1, 0);
  samples.best.assign(std::size_t(n_img), -INFINITY);
  if (!n_img || !n_row || !n_t) return;
  const idx bytes = 4 * (2 * n_t * (n_row + n_k) + n_row + n_k);
  const idx per_block = std::max<idx>(1, std::min({n_img, kScoreBytes / bytes, idx(65535)}));
  // What lies this far below the best holds less than 1e-5 of the mass together, so it cannot decide what is
  // significant.
  const float cut = float(std::log(double(p.pose_prior.shape[0]) * double(n_t)) + 11.5);
  const Buffers buffers(device, per_block, n_row, n_t, n_k);
  bank_power_k<<<1024, kThreads, 0, device.stream()>>>(p.bank, buffers.power.data());
  VT_CUDA(cudaGetLastError());
  for (idx first = 0; first < n_img; first += per_block) {
    const idx n = std::min(per_block, n_img - first);
    score_block(device, p, first, n, buffers);
    collect_block(device, p, first, n, cut, buffers, samples);
  }
}

}  // namespace vitreous
