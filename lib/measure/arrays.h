#pragma once
// The large arrays of --arrays: written beside the report, never into it.

#include <string>
#include <vector>

#include "files/atomic_file.h"
#include "metric/layout.h"
#include "metric/observation.h"

namespace sinkscope {

/// Collects and writes
///
///   - first_token_mass [sequence, site, head] float32: mean attention to key 0
///   - column_mean [site, head, key] float32: mean over queries, then over the sequences of the most frequent length
///   - stream_norm [stream, position] float32: mean over the same sequences
///
/// NaN stands for undefined (rejected samples, heads that a site does not have).
class Arrays {
 public:
  Arrays(std::int64_t sequences, std::int64_t common_length) : sequences_(sequences), common_length_(common_length) {}

  void add_site(const SiteObservation& o);
  void add_stream(const StreamObservation& o);
  /// `ran`: indices of the sequences that the report covers, ascending.
  void write(AtomicFile& file, const Layout& layout, const std::vector<std::size_t>& ran) const;

 private:
  struct SiteTable {
    std::int64_t heads = 0, keys = 0;
    std::vector<float> mass;            // [sequence, head]
    std::vector<double> column_total;   // [head, key]
    std::vector<std::int64_t> samples;  // [head]
  };
  struct StreamTable {
    std::vector<double> norm_total;  // [position]
    std::int64_t samples = 0;
  };

  std::int64_t sequences_, common_length_;
  std::vector<SiteTable> sites_;
  std::vector<StreamTable> streams_;
};

}  // namespace sinkscope
