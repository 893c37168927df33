#pragma once
// The `weight_map` of a model file: how each parameter of its graph is made of tensors of a checkpoint
// (docs/weights.md).

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sinkscope {

/// A tensor of the checkpoint, or an operation on others. Dims may be negative, counted from the last.
struct Recipe {
  enum class Op { tensor, stack, concat, transpose, slice, reshape };
  Op op = Op::tensor;
  std::string name;                 ///< tensor: as the checkpoint calls it
  std::int64_t dim = 0;             ///< stack, concat, slice; transpose: the first of the two that change places
  std::int64_t other_dim = 1;       ///< transpose: the second
  std::int64_t start = 0, end = 0;  ///< slice: [start, end)
  std::vector<std::int64_t> shape;  ///< reshape
  std::vector<Recipe> of;           ///< operands: one or more; exactly one for transpose, slice and reshape

  bool operator==(const Recipe&) const = default;
};

using WeightMap = std::map<std::string, Recipe>;  ///< name of the parameter in the graph -> how it is made

/// Reads the `weight_map` of sinkscope.json. Throws InputError that names the entry which is not understood.
WeightMap parse_weight_map(const nlohmann::ordered_json& json);

/// Names of the tensors that a recipe reads, in order.
std::vector<std::string> tensors_of(const Recipe& recipe);

/// The same recipe with every tensor name passed through `rename`.
Recipe renamed(Recipe recipe, const std::function<std::string(const std::string&)>& rename);

/// Shape of the result, from the shapes of the tensors. Throws InputError that says which operation does not fit.
std::vector<std::int64_t> shape_of(const Recipe& recipe,
                                   const std::function<std::vector<std::int64_t>(const std::string&)>& shape_of_tensor);

/// The recipe in words: "stack(a, b)". Equal recipes have equal words.
std::string describe(const Recipe& recipe);

}  // namespace sinkscope
