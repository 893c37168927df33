#include "metric/norm_ratio.h"

#include <cmath>
#include <optional>

namespace sinkscope {
namespace {

bool read_by_valid_head(const SiteObservation& o, std::size_t kv_head) {
  const auto group = static_cast<std::size_t>(o.query_heads / o.kv_heads);
  for (std::size_t h = kv_head * group; h < (kv_head + 1) * group; ++h)
    if (o.valid.at(h) != 0) return true;
  return false;
}

}  // namespace

Number norm_ratio(Number first, Number others) {
  if (!first || !others || *others == 0) return std::nullopt;
  return *first / *others;
}

void NormRatios::add(const SiteObservation& o, const std::vector<double>& first, const std::vector<double>& others) {
  const std::size_t site = index(o.site);
  seen_.see(o.site, o.kind, static_cast<std::size_t>(o.kv_heads));
  const bool has_others = o.keys() > 1;
  for (std::size_t g = 0; g < static_cast<std::size_t>(o.kv_heads); ++g) {
    const bool usable = std::isfinite(first.at(g)) && (!has_others || std::isfinite(others.at(g)));
    if (!usable || !read_by_valid_head(o, g)) {
      seen_.reject(o.site, g);
      continue;
    }
    norms_.add(o.sequence->id, site, g, kFirst, first[g]);
    if (has_others) norms_.add(o.sequence->id, site, g, kOthers, others[g]);
  }
}

void NormRatios::merge(const NormRatios& other) {
  seen_.merge(other.seen_);
  norms_.merge(other.norms_);
}

Measurement NormRatios::measurement(const Layout& layout) const {
  HeadTable first = seen_, others = seen_, ratio = seen_;
  const SequenceCells::Means means = norms_.means();
  for (std::size_t s = 0; s < means.rows(); ++s) {
    for (std::size_t g = 0; g < means.width(s); ++g) {
      const auto put = [&](HeadTable& table, Number value) {
        if (value) table.add(static_cast<SiteId>(s), g, *value);
      };
      put(first, means.at(s, g, kFirst));
      put(others, means.at(s, g, kOthers));
      put(ratio, norm_ratio(means.at(s, g, kFirst), means.at(s, g, kOthers)));
    }
  }
  const bool only_self = ratio.has_self();
  const HeadTable::Headline headline = ratio.headline();
  Measurement m;
  m.value = headline.value;
  m.ci95 = norms_.interval([&](const SequenceCells::Means& resample) {
    Mean mean;
    for (std::size_t s = 0; s < resample.rows(); ++s) {
      if (only_self && !ratio.is_self(s)) continue;
      for (std::size_t g = 0; g < resample.width(s); ++g)
        if (const Number r = norm_ratio(resample.at(s, g, kFirst), resample.at(s, g, kOthers))) mean.add(*r);
    }
    return mean.value();
  });
  m.count = headline.count;
  m.count_of = "site x KV head";
  m.rejected = headline.rejected;
  m.per_site = ratio.per_site(layout);
  m.by_group = ratio.by_group(layout);
  m.series = {first.series("first", "activation", layout, "kv_head"),
              others.series("others", "activation", layout, "kv_head"),
              ratio.series("ratio", "ratio", layout, "kv_head")};
  return m;
}

}  // namespace sinkscope
