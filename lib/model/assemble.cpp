#include "model/assemble.h"

#include <ATen/Functions.h>

#include <functional>

#include "model/match_weights.h"

namespace sinkscope {
namespace {

using Op = Recipe::Op;
using Leaf = std::function<at::Tensor(const TensorView&)>;

/// Allocations of torch begin at a multiple of this, mappings of files at a multiple of their page.
constexpr std::size_t kAlignment = 64;

std::vector<std::int64_t> shape_in(const Recipe& recipe, const Checkpoint& checkpoint) {
  return shape_of(recipe, [&](const std::string& name) { return checkpoint.find(name)->shape; });
}

bool is_aligned(const TensorView& view, at::ScalarType type) {
  return reinterpret_cast<std::uintptr_t>(view.bytes.data()) % c10::elementSize(type) == 0;
}

/// Read into memory that is aligned as the mapping is, so that a kernel which looks at alignment rounds alike for both.
at::Tensor read(const TensorView& view) {
  const at::ScalarType type = *float_type(view.dtype);
  const std::size_t shift = is_aligned(view, type) ? view.offset % kAlignment : 0;
  const at::Tensor memory = at::empty({static_cast<std::int64_t>(view.bytes.size() + kAlignment)}, at::kByte);
  auto* begin = memory.mutable_data_ptr<std::uint8_t>() + shift;
  view.read(0, std::as_writable_bytes(std::span(begin, view.bytes.size())));
  return at::from_blob(
      begin, view.shape, [memory](void*) {}, at::TensorOptions(type));
}

at::Tensor mapped(const TensorView& view, const std::shared_ptr<const Checkpoint>& checkpoint) {
  void* begin = const_cast<std::byte*>(view.bytes.data());  // pages are private: see MappedFile
  return at::from_blob(
      begin, view.shape, [checkpoint](void*) {}, at::TensorOptions(*float_type(view.dtype)));
}

at::Tensor build(const Recipe& recipe, const Checkpoint& checkpoint, const Leaf& leaf, at::ScalarType type) {
  const auto operand = [&](const Recipe& of) { return build(of, checkpoint, leaf, type); };
  switch (recipe.op) {
    case Op::stack:
    case Op::concat: {
      // Operands are put into the result one by one, so that only one of them is held beside it.
      at::Tensor joined = at::empty(shape_in(recipe, checkpoint), at::TensorOptions(type));
      std::int64_t at = 0;
      for (const Recipe& of : recipe.of) {
        const at::Tensor part = operand(of);
        if (recipe.op == Op::stack) {
          joined.select(recipe.dim, at++).copy_(part);
        } else {
          joined.narrow(recipe.dim, at, part.size(recipe.dim)).copy_(part);
          at += part.size(recipe.dim);
        }
      }
      return joined;
    }
    case Op::transpose:
      return operand(recipe.of.front()).transpose(recipe.dim, recipe.other_dim).contiguous();
    case Op::slice:
      return operand(recipe.of.front()).narrow(recipe.dim, recipe.start, recipe.end - recipe.start).contiguous();
    case Op::reshape:
      return operand(recipe.of.front()).reshape(recipe.shape);
    case Op::tensor:
      break;
  }
  return leaf(*checkpoint.find(recipe.name));
}

}  // namespace

at::Tensor assemble(const Recipe& recipe, const Checkpoint& checkpoint, at::ScalarType type) {
  const at::NoGradGuard no_grad;
  return build(
      recipe, checkpoint, [&](const TensorView& view) { return read(view).to(type); }, type);
}

at::Tensor assemble_mapped(const Recipe& recipe, const std::shared_ptr<const Checkpoint>& checkpoint,
                           at::ScalarType type) {
  const at::NoGradGuard no_grad;
  const auto leaf = [&](const TensorView& view) {
    const bool as_it_lies = float_type(view.dtype) == type && is_aligned(view, type) && !view.bytes.empty();
    return as_it_lies ? mapped(view, checkpoint) : read(view).to(type);
  };
  return build(recipe, *checkpoint, leaf, type);
}

std::int64_t bytes_of(const Recipe& recipe, const Checkpoint& checkpoint, at::ScalarType type) {
  std::int64_t elements = static_cast<std::int64_t>(c10::elementSize(type));
  for (const std::int64_t size : shape_in(recipe, checkpoint)) elements *= size;
  return elements;
}

}  // namespace sinkscope
