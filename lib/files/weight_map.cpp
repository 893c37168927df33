#include "files/weight_map.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "files/safetensors_header.h"

namespace sinkscope {
namespace {

using nlohmann::ordered_json;
using Op = Recipe::Op;

constexpr std::array<std::pair<const char*, Op>, 5> kOps{{{"stack", Op::stack},
                                                          {"concat", Op::concat},
                                                          {"transpose", Op::transpose},
                                                          {"slice", Op::slice},
                                                          {"reshape", Op::reshape}}};
constexpr int kMaxDepth = 16;  // of nested operations

class Parser {
 public:
  explicit Parser(const std::string& parameter) : parameter_(parameter) {}

  Recipe parse(const ordered_json& json, int depth = 0) const {
    if (depth > kMaxDepth) fail("operations are nested too deep");
    if (json.is_string()) {
      Recipe recipe;
      recipe.name = json.get<std::string>();
      return recipe;
    }
    if (!json.is_object()) fail("neither a name nor an operation");
    const std::string op = json.value("op", "");
    const auto of = json.find("of");
    if (of == json.end() || !of->is_array() || of->empty()) fail(fmt::format("{} lacks the list `of`", op));
    if (op == "alias") {
      if (of->size() != 1) fail("alias takes one operand");
      return parse((*of)[0], depth + 1);
    }
    Recipe recipe;
    for (const auto& [name, value] : kOps)
      if (op == name) recipe.op = value;
    if (recipe.op == Op::tensor) fail(fmt::format("unknown operation {}", in_quotes(op)));
    for (const ordered_json& operand : *of) recipe.of.push_back(parse(operand, depth + 1));
    const bool joins = recipe.op == Op::stack || recipe.op == Op::concat;
    if (!joins && recipe.of.size() != 1) fail(fmt::format("{} takes one operand", op));
    if (recipe.op == Op::reshape) {
      recipe.shape = integers(json, "shape");
    } else if (recipe.op == Op::transpose && json.contains("dims")) {
      const auto dims = integers(json, "dims");
      if (dims.size() != 2) fail("`dims` of transpose is not a pair");
      recipe.dim = dims[0];
      recipe.other_dim = dims[1];
    } else {
      recipe.dim = integer(json, "dim");
      recipe.other_dim = recipe.dim + 1;
    }
    if (recipe.op == Op::slice) {
      recipe.start = integer(json, "start");
      recipe.end = integer(json, "end");
    }
    return recipe;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw InputError(fmt::format("the model file's weight_map, entry {}: {}", in_quotes(parameter_), what));
  }
  std::int64_t integer(const ordered_json& json, const char* key) const {
    const auto value = json.find(key);
    if (value == json.end() || !value->is_number_integer()) fail(fmt::format("`{}` is no integer", key));
    return value->get<std::int64_t>();
  }
  std::vector<std::int64_t> integers(const ordered_json& json, const char* key) const {
    const auto value = json.find(key);
    if (value == json.end() || !value->is_array()) fail(fmt::format("`{}` is no list", key));
    std::vector<std::int64_t> all;
    for (const ordered_json& element : *value) {
      if (!element.is_number_integer()) fail(fmt::format("`{}` is no list of integers", key));
      all.push_back(element.get<std::int64_t>());
    }
    return all;
  }

  const std::string& parameter_;
};

const char* name_of(Op op) {
  for (const auto& [name, value] : kOps)
    if (op == value) return name;
  return "alias";
}

[[noreturn]] void refuse(const Recipe& recipe, const std::string& why) {
  throw InputError(fmt::format("{}: {}", describe(recipe), why));
}

/// `dim` counted from the first of `rank`.
std::size_t place(const Recipe& recipe, std::int64_t dim, std::size_t rank) {
  const auto size = static_cast<std::int64_t>(rank);
  if (dim < -size || dim >= size) refuse(recipe, fmt::format("dim {} of a tensor of rank {}", dim, rank));
  return static_cast<std::size_t>(dim < 0 ? dim + size : dim);
}

std::int64_t product(const std::vector<std::int64_t>& shape) {
  std::int64_t elements = 1;
  for (const std::int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(elements, size, &elements)) return -1;
  return elements;
}

}  // namespace

WeightMap parse_weight_map(const ordered_json& json) {
  if (!json.is_object()) throw InputError("the model file's weight_map is no JSON object");
  WeightMap map;
  for (const auto& [parameter, entry] : json.items()) map.emplace(parameter, Parser(parameter).parse(entry));
  return map;
}

std::vector<std::string> tensors_of(const Recipe& recipe) {
  if (recipe.op == Op::tensor) return {recipe.name};
  std::vector<std::string> all;
  for (const Recipe& operand : recipe.of)
    for (std::string& name : tensors_of(operand)) all.push_back(std::move(name));
  return all;
}

Recipe renamed(Recipe recipe, const std::function<std::string(const std::string&)>& rename) {
  if (recipe.op == Op::tensor) recipe.name = rename(recipe.name);
  for (Recipe& operand : recipe.of) operand = renamed(std::move(operand), rename);
  return recipe;
}

std::vector<std::int64_t> shape_of(
    const Recipe& recipe, const std::function<std::vector<std::int64_t>(const std::string&)>& shape_of_tensor) {
  if (recipe.op == Op::tensor) return shape_of_tensor(recipe.name);
  std::vector<std::vector<std::int64_t>> shapes;
  for (const Recipe& operand : recipe.of) shapes.push_back(shape_of(operand, shape_of_tensor));
  std::vector<std::int64_t> shape = shapes.front();
  switch (recipe.op) {
    case Op::stack: {
      for (const auto& other : shapes)
        if (other != shape)
          refuse(recipe, fmt::format("operands [{}] and [{}]", fmt::join(shape, ", "), fmt::join(other, ", ")));
      const std::size_t dim = place(recipe, recipe.dim, shape.size() + 1);
      shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(dim), std::ssize(shapes));
      break;
    }
    case Op::concat: {
      const std::size_t dim = place(recipe, recipe.dim, shape.size());
      std::int64_t sum = 0;
      for (auto other : shapes) {
        if (other.size() != shape.size()) refuse(recipe, "operands of different rank");
        sum += std::exchange(other[dim], shape[dim]);
        if (other != shape) refuse(recipe, "operands of different shape");
      }
      shape[dim] = sum;
      break;
    }
    case Op::transpose:
      std::swap(shape[place(recipe, recipe.dim, shape.size())], shape[place(recipe, recipe.other_dim, shape.size())]);
      break;
    case Op::slice: {
      const std::size_t dim = place(recipe, recipe.dim, shape.size());
      if (recipe.start < 0 || recipe.start > recipe.end || recipe.end > shape[dim])
        refuse(recipe, fmt::format("[{}, {}) of {}", recipe.start, recipe.end, shape[dim]));
      shape[dim] = recipe.end - recipe.start;
      break;
    }
    case Op::reshape:
      if (product(recipe.shape) != product(shape))
        refuse(recipe, fmt::format("[{}] does not fill [{}]", fmt::join(shape, ", "), fmt::join(recipe.shape, ", ")));
      shape = recipe.shape;
      break;
    case Op::tensor:
      break;
  }
  return shape;
}

std::string describe(const Recipe& recipe) {
  if (recipe.op == Op::tensor) return recipe.name;
  std::string text = fmt::format("{}(", name_of(recipe.op));
  for (const Recipe& operand : recipe.of) text += describe(operand) + ", ";
  switch (recipe.op) {
    case Op::transpose:
      return fmt::format("{}dims {} and {})", text, recipe.dim, recipe.other_dim);
    case Op::slice:
      return fmt::format("{}dim {}, {} to {})", text, recipe.dim, recipe.start, recipe.end);
    case Op::reshape:
      return fmt::format("{}[{}])", text, fmt::join(recipe.shape, ", "));
    default:
      return fmt::format("{}dim {})", text, recipe.dim);
  }
}

}  // namespace sinkscope
