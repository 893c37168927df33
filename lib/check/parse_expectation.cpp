#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "check/expectation.h"

namespace sinkscope {
namespace {

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text), rest_(text) {}

  Expectation parse() {
    Expectation result;
    result.text = text_;
    std::string name = word();
    static constexpr std::array<std::pair<std::string_view, Expectation::Over>, 3> functions = {
        {{"max", Expectation::Over::max}, {"min", Expectation::Over::min}, {"mean", Expectation::Over::mean}}};
    bool call = false;
    for (const auto& [function, over] : functions)
      if (name == function && take("(")) {
        result.over = over;
        call = true;
        name = word();
        break;
      }
    const std::size_t dot = name.find('.');
    result.quantity.metric = name.substr(0, dot);
    if (dot != std::string::npos) result.quantity.series = name.substr(dot + 1);
    if (result.quantity.metric.empty() || (dot != std::string::npos && result.quantity.series.empty())) fail();
    while (take("[")) {
      do result.indices.push_back(integer());
      while (take(","));
      if (!take("]")) fail();
    }
    if (call && !take(")")) fail();
    result.op = comparison();
    result.number = number();
    skip_spaces();
    if (!rest_.empty()) fail();
    return result;
  }

 private:
  [[noreturn]] void fail() const {
    throw UsageError(fmt::format(
        "--expect '{}': expects METRIC[.SERIES] OP NUMBER with <, <=, >, >=, == or !=, such as 'sink_rate<0.05', "
        "'max(massive_activation.ratio)<1000' or 'first_token_mass.tail[2][0]>.1'",
        text_));
  }

  void skip_spaces() {
    while (rest_.starts_with(' ') || rest_.starts_with('\t')) rest_.remove_prefix(1);
  }

  bool take(std::string_view token) {
    skip_spaces();
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }

  std::string word() {
    skip_spaces();
    std::size_t end = 0;
    while (end < rest_.size() && (std::isalnum(static_cast<unsigned char>(rest_[end])) || rest_[end] == '_' ||
                                  rest_[end] == '.' || rest_[end] == '-'))
      ++end;
    std::string text(rest_.substr(0, end));
    rest_.remove_prefix(end);
    return text;
  }

  template <class T>
  T parsed() {
    skip_spaces();
    T value{};
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc()) fail();
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return value;
  }

  std::int64_t integer() { return parsed<std::int64_t>(); }

  double number() {
    const auto value = parsed<double>();
    if (!std::isfinite(value)) fail();
    return value;
  }

  Expectation::Operator comparison() {
    using Operator = Expectation::Operator;
    static constexpr std::array<std::pair<std::string_view, Operator>, 6> operators = {// the longer ones first
                                                                                       {{"<=", Operator::less_equal},
                                                                                        {">=", Operator::greater_equal},
                                                                                        {"==", Operator::equal},
                                                                                        {"!=", Operator::not_equal},
                                                                                        {"<", Operator::less},
                                                                                        {">", Operator::greater}}};
    for (const auto& [token, op] : operators)
      if (take(token)) return op;
    fail();
  }

  const std::string& text_;
  std::string_view rest_;
};

}  // namespace

Expectation parse_expectation(const std::string& text) { return Parser(text).parse(); }

}  // namespace sinkscope
