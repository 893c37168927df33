#include "metric/head_table.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <utility>

namespace sinkscope {

Number finite(double x) {
  if (!std::isfinite(x)) return std::nullopt;
  return x;
}

void HeadTable::Cell::merge(const Cell& other) {
  value.merge(other.value);
  uniform_sum += other.uniform_sum;
  rejected += other.rejected;
}

Number HeadTable::Cell::uniform() const {
  if (value.count == 0) return std::nullopt;
  return finite(uniform_sum / static_cast<double>(value.count));
}

HeadTable::Outcome HeadTable::add(const SiteObservation& observation, std::size_t head, Number value, double uniform) {
  see(observation.site, observation.kind, static_cast<std::size_t>(observation.query_heads));
  const bool valid = observation.valid.at(head) != 0;
  if (valid && !value) return Outcome::undefined;
  if (!valid || !std::isfinite(*value)) {
    reject(observation.site, head);
    return Outcome::rejected;
  }
  add(observation.site, head, *value, uniform);
  return Outcome::counted;
}

void HeadTable::see(SiteId site, const std::string& kind, std::size_t heads) {
  if (sites_.size() <= index(site)) sites_.resize(index(site) + 1);
  Site& seen = sites_[index(site)];
  seen.self = kind == "self";
  if (seen.heads.size() < heads) seen.heads.resize(heads);
}

void HeadTable::add(SiteId site, std::size_t head, double value, double uniform) {
  Cell& cell = sites_.at(index(site)).heads.at(head);
  cell.value.add(value);
  cell.uniform_sum += uniform;
}

void HeadTable::reject(SiteId site, std::size_t head, std::int64_t samples) {
  sites_.at(index(site)).heads.at(head).rejected += samples;
}

void HeadTable::merge(const HeadTable& other) {
  if (sites_.size() < other.sites_.size()) sites_.resize(other.sites_.size());
  for (std::size_t s = 0; s < other.sites_.size(); ++s) {
    const Site& from = other.sites_[s];
    if (from.heads.empty()) continue;
    see(static_cast<SiteId>(s), from.self ? "self" : "cross", from.heads.size());
    for (std::size_t h = 0; h < from.heads.size(); ++h) sites_[s].heads[h].merge(from.heads[h]);
  }
}

bool HeadTable::has_self() const {
  return std::any_of(sites_.begin(), sites_.end(), [](const Site& site) { return site.self && !site.heads.empty(); });
}

HeadTable::Headline HeadTable::headline() const {
  const bool only_self = has_self();
  Cell pool;
  Headline result;
  for (const Site& site : sites_) {
    for (const Cell& cell : site.heads) {
      result.rejected += cell.rejected;
      if (site.self || !only_self) pool.merge(cell);
    }
  }
  result.value = pool.value.value();
  result.uniform = pool.uniform();
  result.count = pool.value.count;
  return result;
}

const std::vector<HeadTable::Cell>& HeadTable::cells(std::size_t site) const {
  static const std::vector<Cell> none;
  return site < sites_.size() ? sites_[site].heads : none;
}

std::size_t HeadTable::sites(const Layout& layout) const { return std::max(layout.sites.size(), sites_.size()); }

std::vector<Number> HeadTable::per_site(const Layout& layout) const {
  std::vector<Number> result;
  for (std::size_t s = 0; s < sites(layout); ++s) {
    Mean mean;
    for (const Cell& cell : cells(s)) mean.merge(cell.value);
    result.push_back(mean.value());
  }
  return result;
}

std::vector<std::vector<Number>> HeadTable::per_head(const Layout& layout) const {
  std::vector<std::vector<Number>> result(sites(layout));
  for (std::size_t s = 0; s < result.size(); ++s) {
    for (const Cell& cell : cells(s)) result[s].push_back(cell.value.value());
    // A site that was never called still has its heads, without values.
    if (s < layout.sites.size())
      result[s].resize(std::max(result[s].size(), static_cast<std::size_t>(layout.sites[s].query_heads.value_or(0))));
  }
  return result;
}

std::vector<GroupValue> HeadTable::by_group(const Layout& layout) const {
  std::vector<std::pair<GroupValue, Cell>> groups;
  for (std::size_t s = 0; s < layout.sites.size(); ++s) {
    if (cells(s).empty()) continue;
    const SiteInfo& site = layout.sites[s];
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const auto& g) { return g.first.kind == site.kind && g.first.mask == site.mask; });
    if (group == groups.end()) {
      groups.emplace_back();
      group = groups.end() - 1;
      group->first.kind = site.kind;
      group->first.mask = site.mask;
    }
    for (const Cell& cell : cells(s)) group->second.merge(cell);
  }
  std::vector<GroupValue> result;
  if (groups.size() < 2) return result;
  for (auto& [group, pool] : groups) {
    group.value = pool.value.value();
    group.uniform = pool.uniform();
    group.count = pool.value.count;
    result.push_back(group);
  }
  return result;
}

Series HeadTable::series(const std::string& name, const std::string& unit, const Layout& layout,
                         const std::string& head_dim) const {
  std::size_t width = 0;
  for (const Site& site : sites_) width = std::max(width, site.heads.size());
  for (const SiteInfo& site : layout.sites) {
    const auto& heads = head_dim == "kv_head" ? site.kv_heads : site.query_heads;
    width = std::max(width, static_cast<std::size_t>(heads.value_or(0)));
  }
  Series series{.name = name, .dims = {"site", head_dim}, .shape = {sites(layout), width}, .data = {}, .unit = unit};
  series.data.resize(sites(layout) * width);
  series.uniform.resize(series.data.size());
  bool any_uniform = false;
  for (std::size_t s = 0; s < sites_.size(); ++s) {
    for (std::size_t h = 0; h < sites_[s].heads.size(); ++h) {
      const Cell& cell = sites_[s].heads[h];
      series.data[s * width + h] = cell.value.value();
      series.uniform[s * width + h] = cell.uniform();
      any_uniform |= cell.uniform().has_value();
    }
  }
  if (!any_uniform) series.uniform.clear();
  return series;
}

}  // namespace sinkscope
