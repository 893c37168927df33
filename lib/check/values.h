#pragma once
// The numbers of a report by name: NAME for the headline of a metric, NAME.SERIES for its series.

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "check/comparison.h"

namespace sinkscope {

struct Quantity {
  std::string metric, series;  ///< `series` is empty for the headline
  bool other_unit = false;     ///< a series in another unit than the headline

  std::string text() const { return series.empty() ? metric : metric + "." + series; }
  bool operator==(const Quantity& other) const { return metric == other.metric && series == other.series; }
};

/// One number of a quantity. Elements that only pad ragged heads are none.
struct Leaf {
  std::vector<std::size_t> position;  ///< by dimension
  std::optional<std::size_t> site, head;
  bool kv_head = false;
  std::string coordinate;  ///< the other dimensions: "stream 3", "epsilon 0.3"; several joined by ", "
  std::optional<double> value;
};

/// What a rule of some scope compares: one number, or the mean of several.
struct ComparedElement {
  std::optional<std::size_t> site, head;
  bool kv_head = false;
  std::string coordinate;
  std::optional<double> value;  ///< of a mean: over the parts that have a value
  std::vector<bool> defined;    ///< which of its parts have one

  /// The place, the same in two reports.
  std::string key() const;
};

/// The headlines and series of a report, in its order.
std::vector<Quantity> quantities_of(const nlohmann::ordered_json& report);

/// Every number of a quantity; `series` may also be per_sequence, per_site or per_head. Empty: the report has none.
std::vector<Leaf> leaves_of(const nlohmann::ordered_json& report, const Quantity& quantity);

/// The quantity at a scope. A headline: `value`, `per_site` (else the mean of `per_head`), `per_head`. A series: the
/// mean over heads at site scope and over sites and heads at model scope; other dimensions stay apart. Empty: the
/// report does not have it at that scope.
std::vector<ComparedElement> elements_of(const nlohmann::ordered_json& report, const Quantity& quantity, Scope scope);

}  // namespace sinkscope
