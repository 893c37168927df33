#include "metric/head_samples.h"

#include "accumulate/bootstrap.h"

namespace sinkscope {

void HeadSamples::add(const SiteObservation& observation, std::size_t head, Number value, double uniform) {
  const std::size_t sequence = index(observation.sequence->id);
  if (sequences_.size() <= sequence) sequences_.resize(sequence + 1);
  if (table_.add(observation, head, value, uniform) != HeadTable::Outcome::counted) return;
  PerSequence& sums = sequences_[sequence];
  (observation.kind == "self" ? sums.self : sums.cross).add(*value);
}

void HeadSamples::merge(const HeadSamples& other) {
  table_.merge(other.table_);
  if (sequences_.size() < other.sequences_.size()) sequences_.resize(other.sequences_.size());
  for (std::size_t i = 0; i < other.sequences_.size(); ++i) {
    sequences_[i].self.merge(other.sequences_[i].self);
    sequences_[i].cross.merge(other.sequences_[i].cross);
  }
}

Measurement HeadSamples::measurement(const Layout& layout) const {
  const HeadTable::Headline headline = table_.headline();
  std::vector<Mean> means;
  for (const PerSequence& sequence : sequences_) means.push_back(table_.has_self() ? sequence.self : sequence.cross);
  Measurement m;
  m.value = headline.value;
  m.ci95 = bootstrap_mean(means);
  m.uniform = headline.uniform;
  m.count = headline.count;
  m.count_of = "sequence x site x head";
  m.rejected = headline.rejected;
  for (const Mean& mean : means) m.per_sequence.push_back(mean.value());
  m.per_site = table_.per_site(layout);
  m.per_head = table_.per_head(layout);
  m.by_group = table_.by_group(layout);
  return m;
}

}  // namespace sinkscope
