// dominant_key: which key has the largest mean column C_j / T, the mean over ALL queries (not alpha, whose denominator
// T - j favours late keys). Unit of the headline: fraction of (site, head) whose dominant key is key 0, range [0, 1].
// Why: a model may park its attention on another token than the first. Positions only compare at one length, so only
// sequences of the most frequent length count. Algebraic in the column means (sites x heads x T), then an argmax.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "accumulate/mean.h"
#include "metric/agreed_token.h"
#include "metric/head_table.h"
#include "metric/metric.h"

namespace sinkscope::metrics {
namespace {

struct Head {
  std::vector<double> columns;  ///< [K] sum over sequences of C_j / T
  double uniform_sum = 0;       ///< of uniform attention at key 0
  std::int64_t sequences = 0, rejected = 0;

  void add(const std::vector<double>& more, double uniform, std::int64_t count) {
    if (columns.size() < more.size()) columns.resize(more.size());
    for (std::size_t j = 0; j < more.size(); ++j) columns[j] += more[j];
    uniform_sum += uniform;
    sequences += count;
  }
};

struct Site {
  std::string kind;
  std::vector<Head> heads;
};

class DominantKey final : public Metric {
 public:
  explicit DominantKey(const RunShape& shape) : length_(shape.common_length) {}

  void add_site(const SiteObservation& o) override {
    if (o.sequence->length != length_) return;
    if (sites_.size() <= index(o.site)) sites_.resize(index(o.site) + 1);
    Site& site = sites_[index(o.site)];
    site.kind = o.kind;
    site.heads.resize(static_cast<std::size_t>(o.query_heads));
    add_tokens(*o.sequence);
    const auto keys = static_cast<std::size_t>(o.keys());
    const auto uniform_of_heads = o.of_masks([](const Visibility& mask) {
      return Mean{mask.uniform_column(0, 0, mask.rows()), mask.queries()};
    });
    std::vector<double> means(keys);
    for (std::size_t h = 0; h < site.heads.size(); ++h) {
      const Mean& uniform = uniform_of_heads.at(h);
      if (uniform.count == 0) continue;
      bool usable = o.valid.at(h) != 0;
      for (std::size_t j = 0; j < keys; ++j) {
        means[j] = static_cast<double>(o.column_sum.at(h * keys + j)) / static_cast<double>(uniform.count);
        usable = usable && std::isfinite(means[j]);
      }
      if (usable) {
        site.heads[h].add(means, uniform.value().value_or(kNoUniform), 1);
      } else {
        ++site.heads[h].rejected;
      }
    }
  }

  void merge(const Metric& metric) override {
    const auto& other = dynamic_cast<const DominantKey&>(metric);
    if (sites_.size() < other.sites_.size()) sites_.resize(other.sites_.size());
    for (std::size_t s = 0; s < other.sites_.size(); ++s) {
      const Site& from = other.sites_[s];
      if (from.heads.empty()) continue;
      sites_[s].kind = from.kind;
      sites_[s].heads.resize(from.heads.size());
      for (std::size_t h = 0; h < from.heads.size(); ++h) {
        sites_[s].heads[h].add(from.heads[h].columns, from.heads[h].uniform_sum, from.heads[h].sequences);
        sites_[s].heads[h].rejected += from.heads[h].rejected;
      }
    }
    if (tokens_.size() < other.tokens_.size()) tokens_.resize(other.tokens_.size());
    for (std::size_t j = 0; j < other.tokens_.size(); ++j) tokens_[j].merge(other.tokens_[j]);
  }

  Measurement result(const Layout& layout) const override {
    HeadTable on_first, position, mass, token;
    for (std::size_t s = 0; s < sites_.size(); ++s) {
      const auto id = static_cast<SiteId>(s);
      for (HeadTable* table : {&on_first, &position, &mass, &token})
        table->see(id, sites_[s].kind, sites_[s].heads.size());
      for (std::size_t h = 0; h < sites_[s].heads.size(); ++h) {
        const Head& head = sites_[s].heads[h];
        on_first.reject(id, h, head.rejected);
        if (head.sequences == 0 || head.columns.empty()) continue;
        // max_element returns the first of equal columns: ties go to the lowest index.
        const auto largest = std::max_element(head.columns.begin(), head.columns.end());
        const auto key = static_cast<std::size_t>(largest - head.columns.begin());
        const auto sequences = static_cast<double>(head.sequences);
        on_first.add(id, h, key == 0 ? 1.0 : 0.0, 1.0);
        position.add(id, h, static_cast<double>(key));
        mass.add(id, h, *largest / sequences, head.uniform_sum / sequences);
        // The keys of cross attention are positions of another sequence, projected keys no positions at all.
        const bool positions = sites_[s].kind == "self" && head.columns.size() == tokens_.size();
        const auto agreed = positions ? tokens_[key].id() : std::nullopt;
        if (agreed) token.add(id, h, static_cast<double>(*agreed));
      }
    }
    const HeadTable::Headline headline = on_first.headline();
    Measurement m;
    m.value = headline.value;
    m.uniform = headline.uniform;
    m.count = headline.count;
    m.count_of = "site x head";
    m.rejected = headline.rejected;
    m.per_site = on_first.per_site(layout);
    m.per_head = on_first.per_head(layout);
    m.by_group = on_first.by_group(layout);
    m.series = {position.series("position", "key", layout), mass.series("mass", "probability", layout),
                token.series("token_id", "id", layout)};
    m.series.front().integer = m.series.back().integer = true;
    return m;
  }

 private:
  void add_tokens(const Sequence& sequence) {
    const auto length = static_cast<std::size_t>(sequence.length);
    if (tokens_.size() < length) tokens_.resize(length);
    for (std::size_t j = 0; j < length; ++j) tokens_[j].add(sequence.ids, static_cast<std::int64_t>(j));
  }

  std::int64_t length_;
  std::vector<Site> sites_;
  std::vector<AgreedToken> tokens_;  ///< [T]
};

}  // namespace

MetricSpec dominant_key();
MetricSpec dominant_key() {
  return {.name = "dominant_key",
          .unit = "fraction",
          .definition = "share of (site, head) whose key with the largest mean attention over all queries is key 0",
          .source = "arXiv 2606.08105 (dominant column)",
          .range = "[0, 1]; series position in [0, T), mass in [1/T, 1]",
          .cost = "one more Q K^T pass",
          .example =
              "A = [[1,0],[.1,.9]] has column means (.55, .45): key 0 dominates with mass .55, although alpha is "
              "largest at key 1",
          .undefined_when = "no head is valid in any sequence of the most frequent length",
          .parameters = {{"ties", "lowest key", "which of equal columns wins", {"lowest key"}},
                         {"denominator", "all queries", "what a column is divided by", {"all queries"}},
                         {"lengths",
                          "most frequent",
                          "sequences that take part; of equally frequent lengths the longest",
                          {"most frequent"}}},
          .default_tolerance = {.absolute = 0.02, .relative = 0.05},
          .needs = [](const Parameters&) { return Needs{.column_sums = true}; },
          .make = [](const Parameters&, const RunShape& shape) { return std::make_unique<DominantKey>(shape); }};
}

}  // namespace sinkscope::metrics
