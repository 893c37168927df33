#include "measure/run_tapped.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <exception>

#include "base/error.h"

namespace sinkscope {
namespace {

c10::IValue run_once(const InstrumentedModel& model, const at::Tensor& first, Taps taps) {
  taps.head_orders = model.head_orders.get();
  return run_graph(*model.tapped, model.inputs(first), taps);
}

/// Runs another number of sequences, which shows the order of what was open.
void learn_orders(const InstrumentedModel& model, const at::Tensor& first) {
  const at::Tensor other = first.size(0) > 1 ? first.narrow(0, 0, 1) : at::cat({first, first});
  Taps taps;
  taps.site = [](SiteId, const AttentionView&) {};  // it is asked for its order before it is handed over
  taps.want_lse = false;
  std::string why = "an attention site did not run again";
  try {
    run_once(model, other, taps);
  } catch (const InputError& error) {
    why = error.what();
  }
  if (model.head_orders->open())
    throw InputError(
        fmt::format("heads and sequences cannot be told apart in a batch of {}, and a batch of {} does not "
                    "tell: {}. Choose another --batch, one that is not the number of heads.",
                    first.size(0), other.size(0), why));
}

}  // namespace

c10::IValue run_tapped(const InstrumentedModel& model, const at::Tensor& first,
                       const std::function<Taps()>& fresh_taps) {
  c10::IValue output;
  std::exception_ptr problem;
  try {
    output = run_once(model, first, fresh_taps());
  } catch (const InputError&) {
    if (!model.head_orders->open()) throw;
    problem = std::current_exception();  // perhaps only because of a wrong guess
  }
  if (model.head_orders->open()) learn_orders(model, first);
  if (model.head_orders->take_mistaken()) return run_once(model, first, fresh_taps());
  if (problem) std::rethrow_exception(problem);
  return output;
}

}  // namespace sinkscope
