#include "check/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

const Json kNull;

const Json& member(const Json& object, const std::string& key) {
  const auto at = object.is_object() ? object.find(key) : object.end();
  return at != object.end() ? *at : kNull;
}

std::optional<double> number(const Json& value) {
  return value.is_number() ? std::optional(value.get<double>()) : std::nullopt;
}

std::string coordinate_of(const Json& series, const std::string& dim, std::size_t index) {
  const Json& data = member(member(member(series, "coords"), dim), "data");
  if (data.is_array() && index < data.size() && data[index].is_number()) return dim + " " + data[index].dump();
  return fmt::format("{} {}", dim, index);
}

/// Walks data nested by dims.
class Walk {
 public:
  Walk(const Json& report, const Json& series, const std::vector<std::string>& dims)
      : sites_(member(report, "sites")), series_(series), dims_(dims) {}

  std::vector<Leaf> leaves(const Json& data) {
    visit(data, Leaf{});
    return std::move(leaves_);
  }

 private:
  void visit(const Json& data, const Leaf& here) {
    const std::size_t dim = here.position.size();
    if (dim == dims_.size() || !data.is_array()) {
      leaves_.push_back(here);
      leaves_.back().value = number(data);
      return;
    }
    for (std::size_t i = 0; i < data.size(); ++i) {
      Leaf next = here;
      next.position.push_back(i);
      if (dims_[dim] == "site") {
        next.site = i;
      } else if (dims_[dim] == "head" || dims_[dim] == "kv_head") {
        next.head = i;
        next.kv_head = dims_[dim] == "kv_head";
        if (is_padding(next)) continue;
      } else {
        next.coordinate += (next.coordinate.empty() ? "" : ", ") + coordinate_of(series_, dims_[dim], i);
      }
      visit(data[i], next);
    }
  }

  bool is_padding(const Leaf& leaf) const {
    if (!leaf.site || !sites_.is_array() || *leaf.site >= sites_.size()) return false;
    const Json& heads = member(sites_[*leaf.site], leaf.kv_head ? "kv_heads" : "query_heads");
    return heads.is_number_integer() && *leaf.head >= heads.get<std::size_t>();
  }

  const Json& sites_;
  const Json& series_;
  const std::vector<std::string>& dims_;
  std::vector<Leaf> leaves_;
};

std::vector<std::string> dims_of(const Json& series) {
  std::vector<std::string> dims;
  for (const Json& dim : member(series, "dims")) dims.push_back(dim.is_string() ? dim.get<std::string>() : "");
  return dims;
}

bool has_dim(const std::vector<std::string>& dims, const char* name) {
  return std::find(dims.begin(), dims.end(), name) != dims.end();
}

/// Means of the leaves that agree in what `scope` keeps.
std::vector<ComparedElement> gathered(const std::vector<Leaf>& leaves, Scope scope) {
  std::vector<ComparedElement> elements;
  std::vector<double> sums;
  std::map<std::string, std::size_t> by_place;
  for (const Leaf& leaf : leaves) {
    ComparedElement place{.coordinate = leaf.coordinate, .value = {}, .defined = {}};
    if (scope != Scope::model) place.site = leaf.site;
    if (scope == Scope::head) {
      place.head = leaf.head;
      place.kv_head = leaf.kv_head;
    }
    const auto [at, added] = by_place.emplace(place.key(), elements.size());
    if (added) {
      elements.push_back(std::move(place));
      sums.push_back(0);
    }
    elements[at->second].defined.push_back(leaf.value.has_value());
    sums[at->second] += leaf.value.value_or(0);
  }
  for (std::size_t i = 0; i < elements.size(); ++i)
    if (const auto parts = std::count(elements[i].defined.begin(), elements[i].defined.end(), true); parts > 0)
      elements[i].value = sums[i] / static_cast<double>(parts);
  return elements;
}

const std::vector<std::string> kPerSequence = {"sequence"}, kPerSite = {"site"}, kPerHead = {"site", "head"};

}  // namespace

std::string ComparedElement::key() const {
  const auto index = [](const std::optional<std::size_t>& i) { return i ? fmt::to_string(*i) : std::string("-"); };
  return fmt::format("{}/{}{}/{}", index(site), kv_head ? "kv" : "", index(head), coordinate);
}

std::vector<Quantity> quantities_of(const Json& report) {
  std::vector<Quantity> all;
  for (const auto& [name, metric] : member(report, "metrics").items()) {
    all.push_back({name, ""});
    const Json& series = member(metric, "series");
    if (!series.is_object()) continue;
    for (const auto& [key, content] : series.items())
      all.push_back({name, key, member(member(content, "attrs"), "unit") != member(metric, "unit")});
  }
  return all;
}

std::vector<Leaf> leaves_of(const Json& report, const Quantity& quantity) {
  const Json& metric = member(member(report, "metrics"), quantity.metric);
  if (!metric.is_object()) return {};
  if (quantity.series.empty()) return {Leaf{.value = number(member(metric, "value"))}};
  const auto plain = [&](const std::vector<std::string>& dims) {
    const Json& data = member(metric, quantity.series);
    return data.is_array() ? Walk(report, kNull, dims).leaves(data) : std::vector<Leaf>{};
  };
  if (quantity.series == "per_sequence") return plain(kPerSequence);
  if (quantity.series == "per_site") return plain(kPerSite);
  if (quantity.series == "per_head") return plain(kPerHead);
  const Json& series = member(member(metric, "series"), quantity.series);
  if (!series.is_object()) return {};
  const auto dims = dims_of(series);
  return Walk(report, series, dims).leaves(member(series, "data"));
}

std::vector<ComparedElement> elements_of(const Json& report, const Quantity& quantity, Scope scope) {
  if (quantity.series.empty()) {
    if (scope == Scope::model) return gathered(leaves_of(report, quantity), scope);
    if (scope == Scope::site)
      if (auto sites = leaves_of(report, {quantity.metric, "per_site"}); !sites.empty()) return gathered(sites, scope);
    return gathered(leaves_of(report, {quantity.metric, "per_head"}), scope);
  }
  const auto dims =
      dims_of(member(member(member(member(report, "metrics"), quantity.metric), "series"), quantity.series));
  if (scope != Scope::model && !has_dim(dims, "site")) return {};
  if (scope == Scope::head && !has_dim(dims, "head") && !has_dim(dims, "kv_head")) return {};
  return gathered(leaves_of(report, quantity), scope);
}

}  // namespace sinkscope
