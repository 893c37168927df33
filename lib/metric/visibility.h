#pragma once
// Which keys a query can see, and with it what uniform attention over the visible keys would give
// (docs/metrics.md).

#include <cstdint>
#include <vector>

namespace sinkscope {

enum class MaskKind { none, causal, window, chunk, padding, other };
const char* name_of(MaskKind kind);

/// Keys that are no tokens and that every query sees, such as a learned key: so many before those of the tokens, or
/// behind them.
struct ExtraKeys {
  std::int64_t before = 0, behind = 0;
};

class Visibility {
 public:
  /// Every query sees every key.
  static Visibility full(std::int64_t queries, std::int64_t keys);
  /// Query i sees keys j <= i (top-left aligned).
  static Visibility causal(std::int64_t queries, std::int64_t keys);
  /// Query i sees keys i - width < j <= i.
  static Visibility window(std::int64_t length, std::int64_t width);
  /// Query i sees the keys j <= i of its own chunk of `width` positions.
  static Visibility chunk(std::int64_t length, std::int64_t width);
  /// Any other mask. `visible` [queries]: how many keys each query sees (0: the row is no query);
  /// `first_keys_seen` [queries, first_keys]: 1 where the query sees that key.
  static Visibility other(MaskKind kind, std::int64_t keys, bool causal, std::vector<std::int64_t> visible,
                          std::int64_t first_keys, std::vector<std::uint8_t> first_keys_seen, ExtraKeys extra = {});

  MaskKind kind() const { return kind_; }
  /// No query sees a later token: alpha of a token's key then divides by the queries from that token on.
  bool is_causal() const { return causal_; }
  std::int64_t rows() const { return queries_; }
  std::int64_t keys() const { return keys_; }
  std::int64_t width() const { return width_; }

  /// Number of keys that query `i` sees.
  std::int64_t visible(std::int64_t i) const;
  /// For MaskKind::other only defined for k < first_keys.
  bool sees(std::int64_t i, std::int64_t k) const;
  /// Rows that are queries: all but those which see no key.
  std::int64_t queries() const { return queries_in(0, rows()); }
  /// The same of the rows [begin, end).
  std::int64_t queries_in(std::int64_t begin, std::int64_t end) const;
  bool last_is_query() const { return rows() > 0 && queries_in(rows() - 1, rows()) > 0; }
  /// Rows that alpha_k averages over: where causal, the queries from the key's token on; all queries otherwise.
  std::int64_t alpha_rows(std::int64_t k) const;

  /// Sum over queries i in [begin, end) of the uniform attention 1 / visible(i) to key k (0 where unseen).
  double uniform_column(std::int64_t k, std::int64_t begin, std::int64_t end) const;
  /// Mean over queries of ln(visible(i)): the row entropy of uniform attention, nats. 0 queries: NaN.
  double uniform_entropy() const;

 private:
  /// The first row that causality lets see key k.
  std::int64_t first_row(std::int64_t k) const;

  MaskKind kind_ = MaskKind::none;
  bool causal_ = false;
  std::int64_t queries_ = 0, keys_ = 0, width_ = 0, first_keys_ = 0;
  ExtraKeys extra_;
  std::vector<std::int64_t> visible_;
  std::vector<std::uint8_t> first_keys_seen_;
};

}  // namespace sinkscope
