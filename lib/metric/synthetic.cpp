#include "metric/synthetic.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <stdexcept>
#include <utility>

namespace sinkscope::synthetic {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

double sum(const std::vector<double>& row) {
  double total = 0;
  for (const double x : row) total += x;
  return total;
}

double mean_after_first(const std::vector<double>& norms) {
  if (norms.size() < 2) return kNaN;
  return (sum(norms) - norms[0]) / static_cast<double>(norms.size() - 1);
}

bool valid_head(const Site& site, std::size_t h) {
  const Matrix& attention = site.heads[h];
  for (std::size_t i = 0; i < attention.size(); ++i) {
    const double total = sum(attention[i]);
    if (!std::isfinite(total)) return false;
    const bool is_query = site.mask_of(h).visible(static_cast<std::int64_t>(i)) > 0;
    if (site.row_sum == "one" && is_query && std::abs(total - 1) > 1e-3) return false;
    if (site.row_sum == "with_sink" && total > 1 + 1e-3) return false;
  }
  return true;
}

double entropy(const std::vector<double>& row) {
  double total = 0;
  for (const double a : row)
    if (a > 0) total -= a * std::log(a);
  return total;
}

double magnitude(const std::vector<double>& row) {
  double total = 0;
  for (const double w : row) total += std::abs(w);
  return total;
}

/// |w_ij| / (sum_j |w_ij| + 1e-8).
Matrix proxy_of(Matrix weights) {
  for (std::vector<double>& row : weights) {
    const double total = magnitude(row);
    for (double& w : row) w = std::abs(w) / (total + 1e-8);
  }
  return weights;
}

/// Adds the statistics of head `h`, whose attention is `a` [Q][K].
void add_head(SiteObservation& o, const Site& site, const Matrix& a, std::size_t h, const Needs& needs) {
  const Visibility& mask = site.mask_of(h);
  const bool free = site.row_sum == "free";
  const Matrix p = free ? proxy_of(a) : a;
  const std::size_t queries = a.size(), keys = size(mask.keys());
  const std::size_t tail_begin = queries - std::min(queries, size(needs.tail_window));
  for (std::size_t i = 0; i < queries; ++i) {
    const std::int64_t visible = mask.visible(static_cast<std::int64_t>(i));
    if (visible == 0) continue;
    for (std::size_t k = 0; k < std::min(keys, size(o.first_keys)); ++k) {
      o.first_key_sum[h * size(o.first_keys) + k] += a[i][k];
      if (free) o.proxy_key_sum[h * size(o.first_keys) + k] += p[i][k];
    }
    if (i >= tail_begin) o.tail_sum[h] += a[i][0];
    for (std::size_t k = 0; k < std::min(keys, size(needs.after_first_k)); ++k)
      if (i >= size(needs.after_first_k)) o.after_first_k_sum[h] += a[i][k];
    const bool is_trigger = i < o.sequence->ids.size() && std::find(needs.triggers.begin(), needs.triggers.end(),
                                                                    o.sequence->ids[i]) != needs.triggers.end();
    if (!o.non_trigger_sum.empty() && !is_trigger) o.non_trigger_sum[h] += a[i][0];
    if (!o.renormalised_sum.empty() && magnitude(a[i]) > 0)
      o.renormalised_sum[h] += std::abs(a[i][0]) / magnitude(a[i]);
    if (!o.learned_sink_sum.empty()) o.learned_sink_sum[h] += 1 - sum(a[i]);
    for (std::size_t j = 0; j < keys; ++j) o.column_sum[h * keys + j] += static_cast<float>(a[i][j]);
    o.entropy_sum[h] += entropy(a[i]);
    if (visible > 1) o.normalised_entropy_sum[h] += entropy(a[i]) / std::log(static_cast<double>(visible));
  }
  if (queries > 0) o.first_query[h] = a.front()[0];
  if (queries > 0) o.last_query[h] = a.back()[0];
}

Sequence sequence_of(const Input& input, std::size_t place) {
  Sequence sequence{.id = static_cast<SequenceId>(place), .ids = input.ids, .length = input.length};
  if (sequence.length == 0) {
    if (!input.sites.empty())
      sequence.length = input.sites[0].mask.rows();
    else if (!input.streams.empty())
      sequence.length = static_cast<std::int64_t>(input.streams[0].size());
    else if (!input.jacobian.empty())
      sequence.length = static_cast<std::int64_t>(input.jacobian[0].size());
    else
      sequence.length = static_cast<std::int64_t>(input.ids.size());
  }
  if (sequence.ids.empty() && input.tokens)
    for (std::int64_t i = 0; i < sequence.length; ++i) sequence.ids.push_back(i);
  return sequence;
}

}  // namespace

Matrix uniform_attention(const Visibility& mask) {
  Matrix a(size(mask.rows()), std::vector<double>(size(mask.keys())));
  for (std::int64_t i = 0; i < mask.rows(); ++i)
    for (std::int64_t j = 0; j < mask.keys(); ++j)
      if (mask.sees(i, j)) a[size(i)][size(j)] = 1.0 / static_cast<double>(mask.visible(i));
  return a;
}

Matrix planted_sink(std::int64_t length, double mass, std::int64_t key) {
  Matrix a = uniform_attention(Visibility::causal(length, length));
  for (std::int64_t i = std::max<std::int64_t>(key, 1); i < length; ++i)
    for (std::int64_t j = 0; j <= i; ++j) a[size(i)][size(j)] = j == key ? mass : (1 - mass) / static_cast<double>(i);
  return a;
}

Matrix random_attention(const Visibility& mask, SplitMix64& random) {
  Matrix a = uniform_attention(mask);
  for (std::vector<double>& row : a) {
    for (double& x : row)
      if (x > 0) x = std::exp(4 * random.unit());
    const double total = sum(row);
    for (double& x : row)
      if (total > 0) x /= total;
  }
  return a;
}

Site causal_site(std::vector<Matrix> heads) {
  const auto length = static_cast<std::int64_t>(heads.at(0).size());
  return {.heads = std::move(heads), .mask = Visibility::causal(length, length)};
}

Input one_site(Site site) {
  Input input{.ids = {}};
  input.sites.push_back(std::move(site));
  return input;
}

SiteObservation observe(const Site& site, const Sequence& sequence, SiteId id, const Needs& needs) {
  const std::size_t heads = site.heads.size(), keys = size(site.mask.keys()), queries = size(site.mask.rows());
  const Matrix ones_per_key(heads, std::vector<double>(keys, 1.0)),
      ones_per_query(heads, std::vector<double>(queries, 1.0));
  const Matrix& key_norms = site.key_norms.empty() ? ones_per_key : site.key_norms;
  const Matrix& value_norms = site.value_norms.empty() ? ones_per_key : site.value_norms;
  const Matrix& output_norms = site.head_output_norms.empty() ? ones_per_query : site.head_output_norms;

  SiteObservation o;
  o.sequence = &sequence;
  o.site = id;
  o.query_heads = static_cast<std::int64_t>(heads);
  o.kv_heads = static_cast<std::int64_t>(value_norms.size());
  o.kind = site.kind;
  std::vector<std::shared_ptr<const Visibility>> masks;
  for (std::size_t h = 0; h < std::max<std::size_t>(1, site.head_masks.size()); ++h)
    masks.push_back(std::make_shared<const Visibility>(site.mask_of(h)));
  o.visibility = PerHead(std::move(masks));
  o.first_keys = std::max<std::int64_t>(1, needs.first_keys);
  o.first_key_sum.resize(heads * size(o.first_keys));
  for (auto* per_head :
       {&o.first_query, &o.last_query, &o.tail_sum, &o.after_first_k_sum, &o.entropy_sum, &o.normalised_entropy_sum})
    per_head->resize(heads);
  if (!needs.triggers.empty() && !sequence.ids.empty()) o.non_trigger_sum.resize(heads);
  if (site.row_sum != "one") o.renormalised_sum.resize(heads);
  if (site.row_sum == "with_sink") o.learned_sink_sum.resize(heads);
  if (site.row_sum == "free") o.proxy_key_sum.resize(heads * size(o.first_keys));
  o.column_sum.resize(heads * keys);
  for (std::size_t h = 0; h < heads; ++h) {
    o.valid.push_back(valid_head(site, h) ? 1 : 0);
    add_head(o, site, site.heads[h], h, needs);
    if (site.marked) continue;
    o.head_output_norm_mean.push_back(sum(output_norms[h]) / static_cast<double>(queries));
    o.head_output_norm_last.push_back(output_norms[h].empty() ? kNaN : output_norms[h].back());
  }
  if (site.marked) {
    o.kv_heads = 0;
    return o;
  }
  for (const std::vector<double>& norms : key_norms) {
    o.key_norm_first.push_back(norms.at(0));
    o.key_norm_others.push_back(mean_after_first(norms));
  }
  for (const std::vector<double>& norms : value_norms) {
    o.value_norm_first.push_back(norms.at(0));
    o.value_norm_others.push_back(mean_after_first(norms));
  }
  return o;
}

StreamObservation observe(const Matrix& state, const Sequence& sequence, StreamId id, const Needs& needs) {
  StreamObservation o;
  o.sequence = &sequence;
  o.stream = id;
  std::vector<double> norms, magnitudes;
  for (const std::vector<double>& position : state) {
    double squares = 0;
    for (const double x : position) {
      squares += x * x;
      magnitudes.push_back(std::abs(x));
      o.valid = o.valid && std::isfinite(x);
    }
    norms.push_back(std::sqrt(squares));
    o.position_norm.push_back(static_cast<float>(norms.back()));
  }
  if (!o.valid) return o;
  o.norm_first = norms.at(0);
  o.norm_others = mean_after_first(norms);
  std::sort(magnitudes.begin(), magnitudes.end());
  const auto top = [&](std::size_t n) { return magnitudes.size() >= n ? magnitudes[magnitudes.size() - n] : kNaN; };
  o.top1 = top(1);
  o.top2 = top(2);
  o.top3 = top(3);
  o.median = magnitudes[(magnitudes.size() - 1) / 2];
  for (std::size_t t = 0; t < state.size(); ++t)
    for (std::size_t c = 0; c < state[t].size(); ++c)
      if (std::abs(state[t][c]) > needs.massive_magnitude && std::abs(state[t][c]) >= needs.massive_ratio * o.median)
        o.massive.push_back({static_cast<std::int64_t>(t), static_cast<std::int64_t>(c), state[t][c]});
  std::stable_sort(o.massive.begin(), o.massive.end(), [](const MassiveElement& a, const MassiveElement& b) {
    return std::abs(a.value) > std::abs(b.value);
  });
  if (o.massive.size() > 100) o.massive.resize(100);
  return o;
}

void feed(Metric& metric, const Needs& needs, const std::vector<Input>& inputs, std::size_t begin, std::size_t end) {
  for (std::size_t place = begin; place < end; ++place) {
    const Input& input = inputs[place];
    const Sequence sequence = sequence_of(input, place);
    for (std::size_t s = 0; s < input.sites.size(); ++s)
      metric.add_site(observe(input.sites[s], sequence, static_cast<SiteId>(s), needs));
    for (std::size_t s = 0; s < input.streams.size(); ++s)
      metric.add_stream(observe(input.streams[s], sequence, static_cast<StreamId>(s), needs));
    if (input.nll_sum)
      metric.add_loss(
          {.sequence = &sequence, .nll_sum = *input.nll_sum, .tokens = std::max<std::int64_t>(0, sequence.length - 1)});
    if (!input.jacobian.empty()) {
      JacobianObservation o{
          .sequence = &sequence, .causal = input.causal, .targets = input.targets, .squared_norm = {}};
      for (const auto& row : input.jacobian)
        for (const double norm : row) o.squared_norm.push_back(norm * norm);
      metric.add_jacobian(o);
    }
  }
}

Layout layout_of(const std::vector<Input>& inputs) {
  Layout layout;
  for (const Input& input : inputs) {
    for (std::size_t s = layout.sites.size(); s < input.sites.size(); ++s) {
      const Site& site = input.sites[s];
      SiteInfo info;
      info.id = static_cast<SiteId>(s);
      info.path = "layers." + std::to_string(s);
      info.kind = site.kind;
      info.mask = name_of(site.mask.kind());
      info.query_heads = static_cast<std::int64_t>(site.heads.size());
      info.row_sum = site.row_sum;
      info.learned_sink = site.row_sum == "with_sink";
      if (!site.marked)
        info.kv_heads =
            static_cast<std::int64_t>(site.value_norms.empty() ? site.heads.size() : site.value_norms.size());
      layout.sites.push_back(info);
    }
    for (std::size_t s = layout.streams.size(); s < input.streams.size(); ++s)
      layout.streams.push_back({.id = static_cast<StreamId>(s), .path = "layers." + std::to_string(s), .layer = {}});
  }
  return layout;
}

RunShape shape_of(const std::vector<Input>& inputs) {
  std::map<std::int64_t, std::int64_t> lengths;
  for (std::size_t i = 0; i < inputs.size(); ++i) ++lengths[sequence_of(inputs[i], i).length];
  RunShape shape;
  std::int64_t most = 0;
  for (const auto& [length, count] : lengths) {
    if (count < most) continue;  // ties: the longest, because the map is ordered
    most = count;
    shape.common_length = length;
  }
  return shape;
}

Measurement measure(const MetricSpec& spec, const std::vector<Input>& inputs, const Parameters& parameters) {
  const std::unique_ptr<Metric> metric = spec.make(parameters, shape_of(inputs));
  feed(*metric, spec.needs(parameters), inputs, 0, inputs.size());
  return metric->result(layout_of(inputs));
}

Measurement measure(const MetricSpec& spec, const std::vector<Input>& inputs) {
  return measure(spec, inputs, Parameters(spec.parameters));
}

const Series& series(const Measurement& measurement, const std::string& name) {
  for (const Series& s : measurement.series)
    if (s.name == name) return s;
  throw std::out_of_range("no series " + name);
}

}  // namespace sinkscope::synthetic
