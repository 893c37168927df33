#include "measure/run_tapped.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <exception>
#include <optional>

#include "base/error.h"

namespace sinkscope {
namespace {

/// `alone`: as HeadOrders::begin_run.
c10::IValue run_once(const InstrumentedModel& model, const at::Tensor& first, Taps taps,
                     std::optional<std::int64_t> alone = std::nullopt) {
  taps.head_orders = model.head_orders.get();
  taps.head_orders->begin_run(alone);
  return run_graph(*model.tapped, model.inputs(first), taps);
}

/// Runs another number of sequences, which shows the order of what was open: one alone, the next only where the first
/// leaves it open, or a single sequence twice.
void learn_orders(const InstrumentedModel& model, const at::Tensor& first) {
  HeadOrders& orders = *model.head_orders;
  Taps taps;
  taps.site = [](SiteId, const AttentionView&) {};  // it is asked for its order before it is handed over
  taps.want_lse = false;
  std::string why = "an attention site did not run again";
  bool ran = true;
  for (std::int64_t sequence = 0; sequence < first.size(0) && ran && orders.open(); ++sequence) try {
      run_once(model, first.size(0) > 1 ? first.narrow(0, sequence, 1) : at::cat({first, first}), taps, sequence);
    } catch (const InputError& error) {
      why = error.what(), ran = false;
    }
  orders.begin_run();  // the next one counts again
  if (ran) orders.settle();
  if (orders.open())
    throw InputError(
        fmt::format("heads and sequences cannot be told apart in a batch of {}, and a batch of {} does not "
                    "tell: {}. Choose another --batch, one that is not the number of heads.",
                    first.size(0), first.size(0) > 1 ? 1 : 2, why));
}

}  // namespace

c10::IValue run_tapped(const InstrumentedModel& model, const at::Tensor& first,
                       const std::function<Taps()>& fresh_taps) {
  while (true) {
    c10::IValue output;
    std::exception_ptr problem;
    try {
      output = run_once(model, first, fresh_taps());
    } catch (const InputError&) {
      if (!model.head_orders->open()) throw;
      problem = std::current_exception();  // perhaps only because of a wrong guess
    }
    if (model.head_orders->open()) learn_orders(model, first);
    if (model.head_orders->take_mistaken()) continue;  // every round decides at least one order
    if (problem) std::rethrow_exception(problem);
    return output;
  }
}

}  // namespace sinkscope
