// loss: how well the model predicts the next token. Not a sink statistic: it proves that tokenizer, BOS and weights
// belong together, because a wrong one of the three shows here first. Unit nats, range [0, inf). Algebraic.

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "accumulate/bootstrap.h"
#include "accumulate/mean.h"
#include "metric/metric.h"

namespace sinkscope::metrics {
namespace {

class Loss final : public Metric {
 public:
  explicit Loss(const Parameters& parameters) : by_token_(parameters.get<std::string>("average") == "tokens") {}

  void add_loss(const LossObservation& o) override {
    const std::size_t sequence = index(o.sequence->id);
    if (sequences_.size() <= sequence) sequences_.resize(sequence + 1);
    if (o.tokens == 0) return;
    if (!std::isfinite(o.nll_sum)) {
      ++rejected_;
      return;
    }
    sequences_[sequence].merge(Mean{o.nll_sum, o.tokens});
  }

  void merge(const Metric& metric) override {
    const auto& other = dynamic_cast<const Loss&>(metric);
    if (sequences_.size() < other.sequences_.size()) sequences_.resize(other.sequences_.size());
    for (std::size_t i = 0; i < other.sequences_.size(); ++i) sequences_[i].merge(other.sequences_[i]);
    rejected_ += other.rejected_;
  }

  Measurement result(const Layout&) const override {
    Measurement m;
    std::vector<Mean> samples;
    Mean all;
    for (const Mean& sequence : sequences_) {
      m.per_sequence.push_back(sequence.value());
      Mean sample = sequence;
      if (!by_token_ && sequence.count > 0) sample = Mean{*sequence.value(), 1};
      samples.push_back(sample);
      all.merge(sample);
    }
    m.value = all.value();
    m.ci95 = bootstrap_mean(samples);
    m.count = all.count;
    m.count_of = by_token_ ? "predicted token" : "sequence";
    m.rejected = rejected_;
    return m;
  }

 private:
  bool by_token_;
  std::vector<Mean> sequences_;  ///< [sequence] over its predicted tokens
  std::int64_t rejected_ = 0;
};

}  // namespace

MetricSpec loss();
MetricSpec loss() {
  return {.name = "loss",
          .unit = "nats",
          .definition =
              "mean negative log-likelihood of the next token: the mean over sequences of each sequence's mean over "
              "its tokens",
          .source = "standard cross entropy; averaging over sequences is defined here",
          .range = "[0, inf)",
          .cost = "logits of every position, in chunks",
          .example = "a model that always gives the right token probability 1/2 has loss ln 2 = 0.6931",
          .undefined_when = "no sequence has two tokens",
          .parameters = {{"average",
                          "sequences",
                          "what counts equally: sequences, or tokens (longer sequences then weigh more)",
                          {"sequences", "tokens"}},
                         {"log_base", "e", "base of the logarithm", {"e"}}},
          .default_tolerance = {.absolute = {}, .relative = 0.05},
          .needs = [](const Parameters&) { return Needs{.loss = true}; },
          .make = [](const Parameters& p, const RunShape&) { return std::make_unique<Loss>(p); }};
}

}  // namespace sinkscope::metrics
