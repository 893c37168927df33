#pragma once
// Masks that were recognised, for the layers of a model that share them or build them anew.

#include <ATen/core/Tensor.h>

#include <list>

#include "kernels/score_function.h"
#include "measure/recognise_mask.h"

namespace sinkscope {

class MaskCache {
 public:
  /// What `mask` and `score` together let the queries see (recognise_mask). A tensor that was seen and not changed
  /// since costs nothing, one of equal values one comparison. The result is valid until the next call.
  const RecognisedMask& recognise(const at::Tensor& mask, const ScoreFunction& score, std::int64_t queries,
                                  std::int64_t keys, std::int64_t first_keys);
  void clear() { entries_.clear(); }
  /// Masks that are kept alive.
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    at::Tensor mask;  // kept alive, so that its address cannot be reused by another tensor
    std::uint32_t version;
    ScoreFunction score;
    std::int64_t queries, keys, first_keys;  // a mask of one row serves attention of any number of queries
    RecognisedMask recognised;
  };
  void drop_unneeded();

  std::list<Entry> entries_;  // the last used first
};

}  // namespace sinkscope
