#include "vitreous/kernels/weighted_sums.hpp"

#include <cblas.h>

#include <algorithm>
#include <vector>

namespace vitreous {
namespace {

// Contributions of (image, pose) held between the two phases below: 8 MB, so that they stay in the cache.
constexpr idx kContributionBytes = idx(8) << 20;
// From this mean number of kept shifts per pose on, the sums of phases are made by a matrix product.
constexpr idx kDenseShifts = 6;

struct PoseRun {  // the kept points of one image at one pose
  idx image, first, last;
  std::int32_t row;
  bool turned;
};

std::vector<PoseRun> pose_runs(const SumsProblem &p, idx first_image, idx last_image) {
  std::vector<PoseRun> runs;
  const idx n_row = p.bank.shape[0];
  for (idx i = first_image; i < last_image; ++i)
    for (idx s = p.start[i]; s < p.start[i + 1];) {
      idx end = s + 1;
      while (end < p.start[i + 1] && p.pose[end] == p.pose[s]) ++end;
      const bool turned = p.pose[s] >= n_row;
      runs.push_back({i, s, end, std::int32_t(turned ? p.pose[s] - n_row : p.pose[s]), turned});
      s = end;
    }
  return runs;
}

// sum over kept shifts of w phase_t for the runs [r0, r1) of one image: phi (r1 - r0, 2, n_k)
void phase_sums(const SumsProblem &p, const PoseRun *runs, idx n_run, float *phi, std::vector<float> &dense) {
  const idx size = 2 * p.half_inv_var.shape[0], n_t = p.phases.shape[0];
  const idx n_point = runs[n_run - 1].last - runs[0].first;
  if (n_point >= kDenseShifts * n_run && n_run >= 4) {
    dense.assign(n_run * n_t, 0);
    for (idx r = 0; r < n_run; ++r)
      for (idx s = runs[r].first; s < runs[r].last; ++s) dense[r * n_t + p.shift[s]] = p.point_weight[s];
    scipy_cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, int(n_run), int(size), int(n_t), 1, dense.data(), int(n_t),
                      p.phases.data, int(p.phases.stride(0)), 0, phi, int(size));
    return;
  }
  for (idx r = 0; r < n_run; ++r) {
    float *out = phi + r * size;
    std::fill(out, out + size, 0.f);
    for (idx s = runs[r].first; s < runs[r].last; ++s) {
      const float w = p.point_weight[s], *phase = p.phases.row(p.shift[s], 0);
      for (idx k = 0; k < size; ++k) out[k] += w * phase[k];
    }
  }
}

struct ClassVectors {  // per Fourier pixel, of one image and class
  std::vector<float> cross, power;
};

// Adds one run's cross term and model power per pixel, and turns phi into the run's contribution to its row
void finish_run(const SumsProblem &p, const PoseRun &run, float *phi, ClassVectors &v) {
  const idx n_k = p.half_inv_var.shape[0];
  const float *a = p.bank.row(run.row, 0), *b = p.bank.row(run.row, 1);
  const float *x = p.masked.row(run.image, 0), *y = p.masked.row(run.image, 1);
  const float *u = p.unmasked.row(run.image, 0), *q = p.unmasked.row(run.image, 1);
  const float *ctf = p.ctf.row(run.image), *h = p.half_inv_var.data;
  const float sign = run.turned ? -1.f : 1.f;
  float weight = 0;
  for (idx s = run.first; s < run.last; ++s) weight += p.point_weight[s];
  float *re = phi, *im = phi + n_k, *cross = v.cross.data(), *power = v.power.data();
  for (idx k = 0; k < n_k; ++k) {
    cross[k] += a[k] * (re[k] * x[k] - im[k] * y[k]) + sign * b[k] * (re[k] * y[k] + im[k] * x[k]);
    power[k] += weight * (a[k] * a[k] + b[k] * b[k]);
  }
  for (idx k = 0; k < n_k; ++k) {
    const float g = 2 * h[k] * (p.premultiplied ? 1.f : ctf[k]), f = re[k], e = im[k];
    re[k] = g * (f * u[k] - e * q[k]);
    im[k] = sign * g * (f * q[k] + e * u[k]);
  }
}

void add_shells(const SumsProblem &p, idx image, idx cls, const ClassVectors &v, const SumsResult &out) {
  const idx n_k = p.half_inv_var.shape[0];
  const float *ctf = p.ctf.row(image);
  for (idx k = 0; k < n_k;) {
    const std::int32_t shell = p.shell[k];
    float c = 0, m = 0;
    idx end = k;
    while (end < n_k && p.shell[end] == shell) ++end;
#pragma omp simd reduction(+ : c, m)
    for (idx j = k; j < end; ++j) {
      c += ctf[j] * v.cross[j];
      m += ctf[j] * ctf[j] * v.power[j];
    }
    out.cross.row(image)[shell] += c;
    out.model.row(image)[shell] += m;
    if (p.scale_shells.row(cls)[shell]) {
      out.scale_cross[image] += c;
      out.scale_model[image] += m;
    }
    k = end;
  }
}

void add_moments(const SumsProblem &p, const PoseRun &run, double *moments) {
  for (idx s = run.first; s < run.last; ++s) {
    const double w = p.point_weight[s], x = p.shifts_px.row(p.shift[s])[0], y = p.shifts_px.row(p.shift[s])[1];
    moments[0] += w;
    moments[1] += w * x;
    moments[2] += w * y;
    moments[3] += w * (x * x + y * y);
  }
}

// All runs [r0, r1) of one image
void sum_image(const SumsProblem &p, const std::vector<PoseRun> &runs, idx r0, idx r1, float *phi, std::vector<float> &dense,
               ClassVectors &v, const SumsResult &out) {
  const idx n_k = p.half_inv_var.shape[0];
  phase_sums(p, &runs[r0], r1 - r0, phi, dense);
  for (idx r = r0; r < r1;) {
    const std::int32_t cls = p.row_class[runs[r].row];
    std::fill(v.cross.begin(), v.cross.end(), 0.f);
    std::fill(v.power.begin(), v.power.end(), 0.f);
    for (; r < r1 && p.row_class[runs[r].row] == cls; ++r) {
      finish_run(p, runs[r], phi + (r - r0) * 2 * n_k, v);
      add_moments(p, runs[r], out.moments.row(runs[r].image, cls));
    }
    add_shells(p, runs[r0].image, cls, v, out);
  }
}

// Contributions to their rows: a row belongs to one thread and takes its images in order
void add_to_rows(const SumsProblem &p, const std::vector<PoseRun> &runs, const std::vector<float> &contribution, const SumsResult &out) {
  const idx n_k = p.half_inv_var.shape[0], n_row = p.bank.shape[0], n_run = idx(runs.size());
  std::vector<idx> start(n_row + 1, 0), order(n_run);
  for (const PoseRun &run : runs) ++start[run.row + 1];
  for (idx r = 0; r < n_row; ++r) start[r + 1] += start[r];
  std::vector<idx> next(start.begin(), start.end() - 1);
  for (idx j = 0; j < n_run; ++j) order[next[runs[j].row]++] = j;
#pragma omp parallel for schedule(dynamic, 8)
  for (idx row = 0; row < n_row; ++row)
    for (idx o = start[row]; o < start[row + 1]; ++o) {
      const PoseRun &run = runs[order[o]];
      const float *add = &contribution[order[o] * 2 * n_k], *ctf = p.ctf.row(run.image), *h = p.half_inv_var.data;
      float *data = out.data.row(row, 0), *weight = out.weight.row(row), w = 0;
      for (idx s = run.first; s < run.last; ++s) w += p.point_weight[s];
      for (idx k = 0; k < 2 * n_k; ++k) data[k] += add[k];
      for (idx k = 0; k < n_k; ++k) weight[k] += 2 * w * h[k] * ctf[k] * (p.premultiplied ? 1.f : ctf[k]);
    }
}

}  // namespace

void weighted_sums(Cpu, const SumsProblem &p, SumsResult out) {
  const idx n_img = p.masked.shape[0], n_k = p.half_inv_var.shape[0];
  const idx most_runs = std::max<idx>(1, kContributionBytes / idx(2 * n_k * sizeof(float)));
  std::fill(out.cross.data, out.cross.data + out.cross.size(), 0.);
  std::fill(out.model.data, out.model.data + out.model.size(), 0.);
  std::fill(out.moments.data, out.moments.data + out.moments.size(), 0.);
  std::fill(out.scale_cross.data, out.scale_cross.data + n_img, 0.);
  std::fill(out.scale_model.data, out.scale_model.data + n_img, 0.);
  std::vector<float> contribution;
  for (idx first = 0; first < n_img;) {  // as many images at a time as their contributions fit; at least one
    std::vector<PoseRun> runs = pose_runs(p, first, first + 1);
    idx last = first + 1;
    for (; last < n_img; ++last) {
      const std::vector<PoseRun> more = pose_runs(p, last, last + 1);
      if (idx(runs.size() + more.size()) > most_runs) break;
      runs.insert(runs.end(), more.begin(), more.end());
    }
    std::vector<idx> image_start(last - first + 1, 0);
    for (const PoseRun &run : runs) ++image_start[run.image - first + 1];
    for (idx i = 0; i < last - first; ++i) image_start[i + 1] += image_start[i];
    if (contribution.size() < runs.size() * 2 * n_k) contribution.resize(runs.size() * 2 * n_k);
#pragma omp parallel
    {
      ClassVectors v{std::vector<float>(n_k), std::vector<float>(n_k)};
      std::vector<float> dense;
#pragma omp for schedule(dynamic)
      for (idx i = 0; i < last - first; ++i)
        if (image_start[i + 1] > image_start[i])
          sum_image(p, runs, image_start[i], image_start[i + 1], &contribution[image_start[i] * 2 * n_k], dense, v, out);
    }
    add_to_rows(p, runs, contribution, out);
    first = last;
  }
}

}  // namespace vitreous
