#pragma once
// One quantity per (site, head), averaged over sequences: the part of an accumulator whose size does not depend on the
// number of sequences. Also serves (site, KV head).

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "accumulate/mean.h"
#include "metric/layout.h"
#include "metric/measurement.h"
#include "metric/observation.h"

namespace sinkscope {

/// The uniform value of a quantity that has none.
inline constexpr double kNoUniform = std::numeric_limits<double>::quiet_NaN();

/// Empty for NaN and infinity.
Number finite(double x);

class HeadTable {
 public:
  enum class Outcome { counted, rejected, undefined };

  /// Adds the sample of one query head. Rejected: the head is not valid, or the value is not finite. An empty value is
  /// undefined for this input and leaves no trace. `uniform`: what uniform attention gives for this sample, or
  /// kNoUniform.
  Outcome add(const SiteObservation& observation, std::size_t head, Number value, double uniform = kNoUniform);

  /// The same on plain values. `see` makes the site known with `heads` heads, with or without a value.
  void see(SiteId site, const std::string& kind, std::size_t heads);
  void add(SiteId site, std::size_t head, double value, double uniform = kNoUniform);
  void reject(SiteId site, std::size_t head, std::int64_t samples = 1);

  void merge(const HeadTable& other);

  /// Mean over the samples of the self-attention sites, or of all sites where there are none. `rejected` counts all
  /// sites.
  struct Headline {
    Number value, uniform;
    std::int64_t count = 0, rejected = 0;
  };
  Headline headline() const;
  /// `headline` counts only self-attention sites.
  bool has_self() const;
  bool is_self(std::size_t site) const { return site < sites_.size() && sites_[site].self; }

  std::vector<Number> per_site(const Layout& layout) const;               ///< [site]
  std::vector<std::vector<Number>> per_head(const Layout& layout) const;  ///< [site][head]
  /// One row for each (kind, mask) that was seen, in site order; empty unless there are two or more.
  std::vector<GroupValue> by_group(const Layout& layout) const;
  /// Dims [site, `head_dim`]; `uniform` is empty if no sample had one.
  Series series(const std::string& name, const std::string& unit, const Layout& layout,
                const std::string& head_dim = "head") const;

 private:
  struct Cell {
    Mean value;
    double uniform_sum = 0;  ///< NaN once a sample had none
    std::int64_t rejected = 0;
    void merge(const Cell& other);
    Number uniform() const;
  };
  struct Site {
    bool self = true;
    std::vector<Cell> heads;
  };
  const std::vector<Cell>& cells(std::size_t site) const;  ///< empty for a site not seen
  std::size_t sites(const Layout& layout) const;

  std::vector<Site> sites_;
};

}  // namespace sinkscope
