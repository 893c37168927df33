#include "kernels/check_call.h"

#include <ATen/ops/full_like.h>
#include <ATen/ops/zeros.h>

#include <initializer_list>
#include <limits>
#include <sstream>
#include <string>

#include "base/error.h"

namespace sinkscope {
namespace {

[[noreturn]] void refuse(const AttentionCall& call, const std::string& why) {
  std::ostringstream text;
  text << "attention call with query " << call.query.sizes() << " and key " << call.key.sizes() << ": " << why;
  throw InputError(text.str());
}

bool has_shape(const at::Tensor& tensor, std::initializer_list<std::int64_t> sizes) {
  return tensor.defined() && tensor.sizes() == at::IntArrayRef(sizes);
}

}  // namespace

CallSizes check_call(const AttentionCall& call, bool needs_lse) {
  if (!call.query.defined() || !call.key.defined()) throw InputError("attention call without query or key");
  if (call.query.dim() != 4 || call.key.dim() != 4)
    refuse(call, "both must have 4 dimensions [batch, heads, tokens, head dim]");
  const CallSizes sizes{.batch = call.query.size(0),
                        .heads = call.query.size(1),
                        .kv_heads = call.key.size(1),
                        .queries = call.query.size(2),
                        .keys = call.key.size(2),
                        .dim = call.query.size(3)};
  if (call.query.scalar_type() != call.key.scalar_type() || !call.query.is_floating_point())
    refuse(call, "they must have one floating dtype");
  if (call.query.device() != call.key.device()) refuse(call, "they must be on one device");
  if (call.key.size(0) != sizes.batch) refuse(call, "the batch sizes differ");
  if (call.key.size(3) != sizes.dim || sizes.dim == 0) refuse(call, "the head dims must be equal and not 0");
  if (sizes.heads == 0 || sizes.kv_heads == 0) refuse(call, "there are no heads");
  if (sizes.heads % sizes.kv_heads != 0)
    refuse(call, "the number of query heads must be a multiple of the number of key-value heads");
  if (needs_lse && !has_shape(call.lse, {sizes.batch, sizes.heads, sizes.queries}))
    refuse(call, "the log-sum-exp must be [batch, heads, queries]");
  if (call.key_padding && !has_shape(*call.key_padding, {sizes.batch, sizes.keys}))
    refuse(call, "the key padding must be [batch, keys]");
  if (call.sink_logit && !has_shape(*call.sink_logit, {sizes.heads})) refuse(call, "the learned sink must be [heads]");
  return sizes;
}

at::ScalarType statistics_dtype(const AttentionCall& call) {
  return call.query.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

FullPass empty_pass(const AttentionCall& call, const CallSizes& sizes) {
  const auto options = call.query.options().dtype(statistics_dtype(call));
  const at::Tensor rows = at::zeros({sizes.batch, sizes.heads, sizes.queries}, options);
  return {.column_sum = at::zeros({sizes.batch, sizes.heads, sizes.keys}, options),
          .entropy = rows,
          .row_max = at::full_like(rows, -std::numeric_limits<double>::infinity()),
          .row_sum = rows.clone()};
}

}  // namespace sinkscope
