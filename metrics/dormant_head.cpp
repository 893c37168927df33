// dormant_head: is a head idle in this sequence? Twelve published scores, per (sequence, site, query head):
//   - awft: mean attention to key 0
//   - aeqd: mean row entropy, nats
//   - ftvvn: norm of value 0, avvn: mean norm of the values; values repeated for the query heads that share them
//   - lthon: norm of the last head output, ahon: mean norm of the head outputs, before the output projection
//
// and each with _ln: divided by its mean over the heads of the same sequence and site, except that lthon_ln divides by
// the mean over heads of ahon. A head is dormant above the threshold for awft and awft_ln, below it for the others.
// Headline: the dormant share, range [0, 1]. Algebraic.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "accumulate/mean.h"
#include "metric/head_samples.h"
#include "metric/metric.h"

namespace sinkscope::metrics {
namespace {

const std::vector<std::string> kScores = {"awft",    "aeqd",    "ftvvn",    "avvn",    "lthon",    "ahon",
                                          "awft_ln", "aeqd_ln", "ftvvn_ln", "avvn_ln", "lthon_ln", "ahon_ln"};

struct Score {
  explicit Score(const std::string& name_) : name(name_), normalised(name_.ends_with("_ln")) {
    base = normalised ? name.substr(0, name.size() - 3) : name;
  }
  std::string name, base;
  bool normalised;

  bool is_any(std::initializer_list<const char*> bases) const {
    return std::find(bases.begin(), bases.end(), base) != bases.end();
  }
  std::string unit() const {
    if (normalised) return "ratio";
    return base == "awft" ? "probability" : base == "aeqd" ? "nats" : "activation";
  }
  /// Large attention to key 0 is the sign of an idle head, small everything else is.
  bool dormant(double value, double threshold) const { return base == "awft" ? value > threshold : value < threshold; }
};

/// Raw score of head `h`; empty where it is undefined.
Number raw_score(const std::string& base, const SiteObservation& o, std::size_t h) {
  const std::int64_t queries = o.mask(h).queries(), keys = o.keys();
  if (queries == 0 || keys == 0) return std::nullopt;
  if (base == "awft") return quotient(o.first_key_sum.at(h * static_cast<std::size_t>(o.first_keys)), queries);
  if (base == "aeqd") return o.entropy_sum.empty() ? Number() : quotient(o.entropy_sum.at(h), queries);
  if (o.kv_heads == 0) return std::nullopt;  // neither values nor outputs are known
  const std::size_t kv_head = h * static_cast<std::size_t>(o.kv_heads) / static_cast<std::size_t>(o.query_heads);
  if (base == "ftvvn") return o.value_norm_first.at(kv_head);
  if (base == "avvn") {
    const double others = keys > 1 ? o.value_norm_others.at(kv_head) * static_cast<double>(keys - 1) : 0;
    return quotient(o.value_norm_first.at(kv_head) + others, keys);
  }
  if (base == "lthon") return o.mask(h).last_is_query() ? Number(o.head_output_norm_last.at(h)) : Number();
  return o.head_output_norm_mean.at(h);
}

/// Mean over the valid heads of the site; empty if there is none or the mean is 0.
Number layer_mean(const std::string& base, const SiteObservation& o) {
  Mean mean;
  for (std::size_t h = 0; h < static_cast<std::size_t>(o.query_heads); ++h) {
    const Number raw = raw_score(base, o, h);
    if (o.valid.at(h) != 0 && raw && std::isfinite(*raw)) mean.add(*raw);
  }
  if (mean.sum == 0) return std::nullopt;
  return mean.value();
}

/// What uniform attention gives; norms depend on the values, so they have none.
PerHead<double> uniform_score(const Score& score, const SiteObservation& o) {
  if (!score.is_any({"awft", "aeqd"})) return PerHead<double>({kNoUniform});
  auto uniform = o.of_masks([&](const Visibility& mask) {
    if (score.base == "aeqd") return mask.uniform_entropy();
    return quotient(mask.uniform_column(0, 0, mask.rows()), mask.queries()).value_or(kNoUniform);
  });
  if (!score.normalised) return uniform;
  Mean mean;
  for (std::size_t h = 0; h < static_cast<std::size_t>(o.query_heads); ++h) mean.add(uniform.at(h));
  return uniform.map([&](double value) { return value / mean.value().value_or(kNoUniform); });
}

class DormantHead final : public Metric {
 public:
  explicit DormantHead(const Parameters& parameters)
      : threshold_(parameters.get<double>("threshold")), score_(parameters.get<std::string>("score")) {
    for (const std::string& name : parameters.get<std::vector<std::string>>("scores"))
      series_.push_back({Score(name), {}});
  }

  void add_site(const SiteObservation& o) override {
    for (auto& [score, table] : series_) {
      const PerHead<double> uniform_of_heads = uniform_score(score, o);
      const Number divisor =
          score.normalised ? layer_mean(score.base == "lthon" ? "ahon" : score.base, o) : Number(1.0);
      for (std::size_t h = 0; h < static_cast<std::size_t>(o.query_heads); ++h) {
        const double uniform = uniform_of_heads.at(h);
        Number value = raw_score(score.base, o, h);
        if (value && std::isfinite(*value)) value = divisor ? Number(*value / *divisor) : Number();
        table.add(o, h, value, uniform);
        if (score.name != score_) continue;
        if (value && std::isfinite(*value)) value = score.dormant(*value, threshold_) ? 1.0 : 0.0;
        const double uniform_dormant = score.dormant(uniform, threshold_) ? 1.0 : 0.0;
        dormant_.add(o, h, value, std::isnan(uniform) ? kNoUniform : uniform_dormant);
      }
    }
  }

  void merge(const Metric& metric) override {
    const auto& other = dynamic_cast<const DormantHead&>(metric);
    dormant_.merge(other.dormant_);
    for (std::size_t i = 0; i < series_.size(); ++i) series_[i].table.merge(other.series_[i].table);
  }

  Measurement result(const Layout& layout) const override {
    Measurement m = dormant_.measurement(layout);
    for (const auto& [score, table] : series_) m.series.push_back(table.series(score.name, score.unit(), layout));
    return m;
  }

 private:
  struct ScoreTable {
    Score score;
    HeadTable table;
  };
  double threshold_;
  std::string score_;
  HeadSamples dormant_;
  std::vector<ScoreTable> series_;
};

Needs needs(const Parameters& p) {
  const auto& scores = p.get<std::vector<std::string>>("scores");
  const auto& chosen = p.get<std::string>("score");
  require_parameter(std::find(scores.begin(), scores.end(), chosen) != scores.end(), "dormant_head", "score",
                    "one of `scores`, which '" + chosen + "' is not");
  Needs result;
  for (const std::string& name : scores) {
    const Score score(name);
    if (score.base == "awft") result.first_keys = 1;
    result.entropy |= score.base == "aeqd";
    result.value_norms |= score.is_any({"ftvvn", "avvn"});
    result.head_output_norms |= score.is_any({"lthon", "ahon"});
  }
  return result;
}

}  // namespace

MetricSpec dormant_head();
MetricSpec dormant_head() {
  return {.name = "dormant_head",
          .unit = "fraction",
          .definition =
              "share of (sequence, site, head) that is dormant: its score is below the threshold (scores awft, "
              "awft_ln: above)",
          .source = "arXiv 2504.03889 (scores); the threshold of the headline is defined here",
          .range = "[0, 1]",
          .cost = "one pass over values and head outputs; scores aeqd and aeqd_ln add one Q K^T pass",
          .example =
              "heads of one layer with mean output norms 1, 4, 7 have ahon_ln 0.25, 1, 1.75: one of three is dormant "
              "below 0.5",
          .undefined_when = "no head is valid; an _ln score where the mean over heads is 0",
          .parameters = {{"threshold", 0.5,
                          "below it (awft scores: above it) a head is dormant; larger finds more (awft: fewer)"},
                         {"score", "ahon_ln", "the score that decides the headline", kScores},
                         {"scores", kScores, "scores reported as series; leaving out aeqd and aeqd_ln saves a pass",
                          kScores},
                         {"row_0", "included", "query 0 counts in means over queries", {"included"}},
                         {"log_base", "e", "base of the logarithm of aeqd", {"e"}},
                         {"comparator", "strict", "awft scores: > threshold; others: < threshold", {"strict"}},
                         {"normaliser",
                          "mean over heads",
                          "what _ln divides by: per sequence and site; lthon_ln: of ahon",
                          {"mean over heads"}}},
          .default_tolerance = {.absolute = 0.02, .relative = 0.05},
          .needs = needs,
          .make = [](const Parameters& p, const RunShape&) {
            needs(p);  // refuses a score that is not among `scores`
            return std::make_unique<DormantHead>(p);
          }};
}

}  // namespace sinkscope::metrics
