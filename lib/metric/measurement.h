#pragma once
// What a metric reports. Undefined is empty, never 0; every value carries the count of samples it rests on.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace sinkscope {

using Number = std::optional<double>;

struct Coordinate {
  std::string dim;
  std::vector<double> values;
};

/// A named array, row-major; loads with xarray's DataArray.from_dict. Where sites differ in their number of heads the
/// array is padded with empty values.
struct Series {
  std::string name;
  std::vector<std::string> dims;  ///< site, head, kv_head, stream, key, epsilon, target, source, ...
  std::vector<std::size_t> shape;
  std::vector<Number> data;
  std::vector<Number> uniform = {};  ///< same shape as data, or empty: no uniform value
  std::string unit;
  std::vector<Coordinate> coords = {};  ///< for dims that are not simply 0, 1, ...
  bool integer = false;                 ///< write the values as integers (positions, token ids)
};

/// Rows of a table beside the series, for example the locations of massive activations.
using Cell = std::variant<std::monostate, std::int64_t, double, std::string>;
using Record = std::vector<std::pair<std::string, Cell>>;
struct Records {
  std::string name;
  std::vector<Record> rows;
};

/// The headline for the sites of one kind and mask, where a model mixes them.
struct GroupValue {
  std::string kind, mask;
  Number value, uniform;
  std::int64_t count = 0;
};

struct Measurement {
  Number value;
  std::optional<std::array<double, 2>> ci95;  ///< percentile bootstrap over sequences
  Number uniform;                    ///< what uniform attention over the visible keys would give at these lengths
  std::int64_t count = 0;            ///< samples that `value` rests on
  std::string count_of;              ///< for example "sequence x site x head"
  std::int64_t rejected = 0;         ///< samples left out: NaN or a wrong row sum
  std::vector<Number> per_sequence;  ///< [sequence], input order; empty: not a mean over sequences
  std::vector<Number> per_site;      ///< [site]
  std::vector<std::vector<Number>> per_head;  ///< [site][query head]
  std::vector<GroupValue> by_group;           ///< empty unless the model mixes kinds or masks
  std::vector<Series> series;
  std::vector<Records> records;
};

}  // namespace sinkscope
