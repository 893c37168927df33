#include "measure/arrays.h"

#include <algorithm>
#include <limits>

#include "files/safetensors.h"

namespace sinkscope {
namespace {

constexpr float kUndefined = std::numeric_limits<float>::quiet_NaN();

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

}  // namespace

void Arrays::add_site(const SiteObservation& o) {
  if (index(o.site) >= sites_.size()) sites_.resize(index(o.site) + 1);
  SiteTable& site = sites_[index(o.site)];
  if (site.heads == 0) {
    site.heads = o.query_heads;
    site.mass.assign(size(sequences_ * o.query_heads), kUndefined);
    site.samples.assign(size(o.query_heads), 0);
  }
  const bool columns = !o.column_sum.empty() && o.sequence->length == common_length_;
  if (columns && site.keys == 0) {
    site.keys = o.keys();
    site.column_total.assign(size(site.heads * site.keys), 0);
  }
  for (std::size_t h = 0; h < size(site.heads); ++h) {
    const auto queries = static_cast<double>(o.mask(h).queries());
    if (o.valid[h] == 0 || queries <= 0) continue;
    if (o.first_keys > 0)
      site.mass[index(o.sequence->id) * size(site.heads) + h] =
          static_cast<float>(o.first_key_sum[h * size(o.first_keys)] / queries);
    if (!columns || o.keys() != site.keys) continue;
    ++site.samples[h];
    for (std::size_t k = 0; k < size(site.keys); ++k)
      site.column_total[h * size(site.keys) + k] +=
          static_cast<double>(o.column_sum[h * size(site.keys) + k]) / queries;
  }
}

void Arrays::add_stream(const StreamObservation& o) {
  if (index(o.stream) >= streams_.size()) streams_.resize(index(o.stream) + 1);
  StreamTable& stream = streams_[index(o.stream)];
  if (!o.valid || o.sequence->length != common_length_) return;
  stream.norm_total.resize(o.position_norm.size(), 0);
  if (stream.norm_total.size() != o.position_norm.size()) return;
  ++stream.samples;
  for (std::size_t t = 0; t < o.position_norm.size(); ++t)
    stream.norm_total[t] += static_cast<double>(o.position_norm[t]);
}

void Arrays::write(AtomicFile& file, const Layout& layout, const std::vector<std::size_t>& ran) const {
  const auto sequences = static_cast<std::int64_t>(ran.size());
  std::int64_t heads = 0, keys = 0, positions = 0;
  for (const SiteTable& s : sites_) heads = std::max(heads, s.heads), keys = std::max(keys, s.keys);
  for (const StreamTable& s : streams_) positions = std::max(positions, static_cast<std::int64_t>(s.norm_total.size()));
  const auto all_sites = static_cast<std::int64_t>(layout.sites.size());
  const auto all_streams = static_cast<std::int64_t>(layout.streams.size());

  std::vector<float> mass(size(sequences * all_sites * heads), kUndefined);
  std::vector<float> columns(size(all_sites * heads * keys), kUndefined);
  for (std::size_t s = 0; s < sites_.size(); ++s) {
    const SiteTable& site = sites_[s];
    for (std::size_t h = 0; h < size(site.heads); ++h) {
      for (std::size_t n = 0; n < ran.size(); ++n)
        mass[(n * size(all_sites) + s) * size(heads) + h] = site.mass[ran[n] * size(site.heads) + h];
      for (std::size_t k = 0; k < size(site.keys) && site.samples[h] > 0; ++k)
        columns[(s * size(heads) + h) * size(keys) + k] =
            static_cast<float>(site.column_total[h * size(site.keys) + k] / static_cast<double>(site.samples[h]));
    }
  }
  std::vector<float> norms(size(all_streams * positions), kUndefined);
  for (std::size_t s = 0; s < streams_.size(); ++s)
    for (std::size_t t = 0; t < streams_[s].norm_total.size() && streams_[s].samples > 0; ++t)
      norms[s * size(positions) + t] =
          static_cast<float>(streams_[s].norm_total[t] / static_cast<double>(streams_[s].samples));

  std::vector<NamedArray> arrays;
  if (!mass.empty())
    arrays.push_back({"first_token_mass", {sequences, all_sites, heads}, std::span<const float>(mass)});
  if (!columns.empty()) arrays.push_back({"column_mean", {all_sites, heads, keys}, std::span<const float>(columns)});
  if (!norms.empty()) arrays.push_back({"stream_norm", {all_streams, positions}, std::span<const float>(norms)});
  write_safetensors(file, std::move(arrays));
}

}  // namespace sinkscope
