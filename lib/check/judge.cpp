#include "check/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;
using Number = std::optional<double>;

const Json& metric_of(const Json& report, const Quantity& quantity) { return report["metrics"][quantity.metric]; }

bool holds(const Json& report, const Quantity& quantity) { return report["metrics"].contains(quantity.metric); }

std::int64_t rejected_in(const Json& report, const Quantity& quantity) {
  return metric_of(report, quantity)["rejected"].get<std::int64_t>();
}

std::string shown(const Number& value) { return value ? fmt::format("{:.4g}", *value) : "null"; }

/// One rule applied to one quantity of one pair of reports.
class Judge {
 public:
  Judge(const Reports& reports, const Selected& selected, const std::vector<Difference>& run,
        const std::vector<Reason>& ignored, std::size_t group)
      : reports_(reports), selected_(selected), rule_(*selected.rule), run_(run), ignored_(ignored), group_(group) {
    for (const Json* old : reports.baselines)
      if (holds(*old, selected.quantity)) {
        baselines_.push_back(old);
        old_elements_.push_back(elements_of(*old, selected.quantity, rule_.scope));
      }
    new_elements_ = elements_of(reports.fresh, selected.quantity, rule_.scope);
  }

  std::vector<Comparison> comparisons() {
    const bool in_old =
        std::any_of(old_elements_.begin(), old_elements_.end(), [](const auto& elements) { return !elements.empty(); });
    if (!in_old) return {lone(Status::only_new, Reason::only_in_new, "only in NEW", nullptr, &new_elements_)};
    if (new_elements_.empty())
      return {lone(Status::missing, Reason::only_in_old, "only in OLD", &old_elements_.front(), nullptr)};
    if (const auto found = differences(); !found.empty()) return {incomparable(found)};

    for (const auto& [key, place] : places()) judge(place);
    apply_allowed_fraction();
    judge_rejected();
    return std::move(found_);
  }

 private:
  /// The element of one place in each report; null where a report has none there.
  struct Place {
    std::vector<const ComparedElement*> old_ones;
    const ComparedElement* fresh = nullptr;
  };

  Comparison blank(const ComparedElement* element) const {
    Comparison c;
    c.checkpoint = reports_.checkpoint;
    c.metric = selected_.quantity.text();
    c.scope = rule_.scope;
    c.severity = rule_.severity;
    c.rule = rule_.where;
    c.group = group_;
    c.ignored = passed_over_;
    if (element != nullptr) {
      c.site = element->site;
      c.head = element->head;
      c.kv_head = element->kv_head;
      c.coordinate = element->coordinate;
      for (const Json* report : {baselines_.empty() ? &reports_.fresh : baselines_.front(), &reports_.fresh})
        if (c.site && *c.site < (*report)["sites"].size()) c.site_path = (*report)["sites"][*c.site]["path"];
    }
    return c;
  }

  /// The headline, for statements about a quantity as a whole.
  static Number headline(const std::vector<ComparedElement>* elements) {
    return elements != nullptr && elements->size() == 1 ? elements->front().value : std::nullopt;
  }

  Comparison lone(Status status, Reason reason, const std::string& words, const std::vector<ComparedElement>* old_ones,
                  const std::vector<ComparedElement>* new_ones) const {
    Comparison c = blank(nullptr);
    c.status = status;
    c.reason = reason;
    if (rule_.scope == Scope::model) {
      c.old_value = headline(old_ones);
      c.new_value = headline(new_ones);
    }
    c.message = fmt::format("{}: {}", place_of(c), words);
    if (c.old_value) c.message += fmt::format(", where it is {}", shown(c.old_value));
    if (c.new_value) c.message += fmt::format(", {}", shown(c.new_value));
    return c;
  }

  std::vector<Difference> differences() {
    std::vector<Difference> all = run_;
    for (const Json* old : baselines_)
      for (const Difference& d :
           metric_differences(metric_of(*old, selected_.quantity), metric_of(reports_.fresh, selected_.quantity)))
        if (std::none_of(all.begin(), all.end(), [&](const Difference& other) { return other.words == d.words; }))
          all.push_back(d);
    std::vector<Difference> kept;
    for (const Difference& d : all) {
      if (std::find(ignored_.begin(), ignored_.end(), d.reason) == ignored_.end()) {
        kept.push_back(d);
      } else if (std::find(passed_over_.begin(), passed_over_.end(), d.reason) == passed_over_.end()) {
        passed_over_.push_back(d.reason);
      }
    }
    return kept;
  }

  Comparison incomparable(const std::vector<Difference>& found) const {
    Comparison c = blank(nullptr);
    c.status = Status::incomparable;
    c.reason = found.front().reason;
    if (rule_.scope == Scope::model) {
      c.old_value = headline(&old_elements_.front());
      c.new_value = headline(&new_elements_);
    }
    c.message = place_of(c) + ": ";
    for (std::size_t i = 0; i < found.size(); ++i) c.message += (i > 0 ? "; " : "") + found[i].words;
    return c;
  }

  /// By place, in the order of NEW and then of what only OLD has.
  std::vector<std::pair<std::string, Place>> places() const {
    std::vector<std::pair<std::string, Place>> all;
    std::map<std::string, std::size_t> known;
    const auto at = [&](const ComparedElement& element) -> Place& {
      const auto [entry, added] = known.emplace(element.key(), all.size());
      if (added) all.push_back({entry->first, {std::vector<const ComparedElement*>(old_elements_.size()), nullptr}});
      return all[entry->second].second;
    };
    for (const ComparedElement& element : new_elements_) at(element).fresh = &element;
    for (std::size_t i = 0; i < old_elements_.size(); ++i)
      for (const ComparedElement& element : old_elements_[i]) at(element).old_ones[i] = &element;
    return all;
  }

  void judge(const Place& place) {
    std::vector<const ComparedElement*> old_ones;
    for (const ComparedElement* element : place.old_ones)
      if (element != nullptr) old_ones.push_back(element);
    Comparison c = blank(place.fresh != nullptr ? place.fresh : old_ones.front());
    if (place.fresh != nullptr) c.new_value = place.fresh->value;
    double least = HUGE_VAL, most = -HUGE_VAL, sum = 0;
    bool old_is_null = old_ones.empty();
    for (const ComparedElement* element : old_ones) {
      old_is_null |= !element->value.has_value();
      const double value = element->value.value_or(0);
      least = std::min(least, value);
      most = std::max(most, value);
      sum += value;
    }
    if (!old_is_null) c.old_value = least == most ? least : sum / static_cast<double>(old_ones.size());

    if (place.fresh == nullptr) {
      decide(c, Status::missing, Reason::only_in_old, fmt::format("only in OLD, where it is {}", shown(c.old_value)));
    } else if (old_ones.empty()) {
      decide(c, Status::only_new, Reason::only_in_new, fmt::format("only in NEW, {}", shown(c.new_value)));
    } else if (!judge_null(c, *place.fresh, old_ones)) {
      judge_numbers(c, most - least, old_ones.size());
    }
    found_.push_back(std::move(c));
  }

  /// Whether a missing value decides; parts of a mean count like values of their own.
  bool judge_null(Comparison& c, const ComparedElement& fresh,
                  const std::vector<const ComparedElement*>& old_ones) const {
    const auto lacks = [](const std::vector<bool>& these, const std::vector<bool>& others) {
      if (these.size() != others.size()) {  // compared in spite of another number of heads
        const auto any = [](const std::vector<bool>& parts) {
          return std::find(parts.begin(), parts.end(), true) != parts.end();
        };
        return any(others) && !any(these);
      }
      for (std::size_t i = 0; i < others.size(); ++i)
        if (others[i] && !these[i]) return true;
      return false;
    };
    bool new_lacks = false, old_lacks = false;
    for (const ComparedElement* old : old_ones) {
      new_lacks |= lacks(fresh.defined, old->defined);
      old_lacks |= lacks(old->defined, fresh.defined);
    }
    const std::string values = fmt::format("{} -> {}", shown(c.old_value), shown(c.new_value));
    const char* part = c.new_value && c.old_value ? " (a part of this mean)" : "";
    if (new_lacks) {
      decide(c, Status::fail, Reason::null_in_new, fmt::format("{}: NEW has no value{}", values, part));
    } else if (old_lacks) {
      decide(c, Status::fail, Reason::null_in_old, fmt::format("{}: OLD has no value{}", values, part));
    } else if (!c.new_value || !c.old_value) {
      decide(c, Status::warn, Reason::null_in_both, "no value in either report");
    } else {
      return false;
    }
    return true;
  }

  void judge_numbers(Comparison& c, double spread, std::size_t baselines) const {
    const double allowed = selected_.allowance.at(*c.old_value);
    c.change = *c.new_value - *c.old_value;
    c.tolerance = std::max(allowed, spread);
    std::string words = change_words(*c.old_value, *c.new_value, *c.tolerance);
    if (spread > allowed) {
      words += fmt::format(" (the spread of {} baselines)", baselines);
    } else if (selected_.allowance.relative && allowed != selected_.allowance.absolute.value_or(-1)) {
      words += fmt::format(" ({:.4g} %)", *selected_.allowance.relative * 100);
    }
    if (!exceeds(*c.change, *c.tolerance, *c.old_value, *c.new_value)) {
      decide(c, Status::pass, Reason::within_tolerance, words);
    } else if ((rule_.fail_on == Direction::increase && *c.change < 0) ||
               (rule_.fail_on == Direction::decrease && *c.change > 0)) {
      decide(
          c, Status::pass, Reason::other_direction,
          words + fmt::format("; only {} fails", rule_.fail_on == Direction::increase ? "an increase" : "a decrease"));
    } else if (rule_.noise_of_sequences && within_noise(c)) {
      decide(c, Status::ambiguous, Reason::within_noise,
             words + fmt::format("; the paired 95 % interval of the change, [{:+.3g}, {:+.3g}], meets the tolerance",
                                 (*c.interval)[0], (*c.interval)[1]));
    } else {
      if (c.interval)
        words +=
            fmt::format("; paired 95 % interval of the change [{:+.3g}, {:+.3g}]", (*c.interval)[0], (*c.interval)[1]);
      decide(c, Status::fail, Reason::exceeds_tolerance, words);
    }
  }

  /// Computes the interval; whether some change that it holds would pass.
  bool within_noise(Comparison& c) const {
    c.interval = change_interval(baselines_, reports_.fresh, selected_.quantity.metric);
    if (!c.interval) return false;
    const auto [low, high] = *c.interval;
    const bool too_high = low > *c.tolerance, too_low = high < -*c.tolerance;
    if (rule_.fail_on == Direction::increase) return !too_high;
    if (rule_.fail_on == Direction::decrease) return !too_low;
    return !too_high && !too_low;
  }

  void decide(Comparison& c, Status status, Reason reason, const std::string& words) const {
    c.status = status == Status::fail && rule_.severity == Severity::warn ? Status::warn : status;
    c.reason = reason;
    c.message = fmt::format("{}: {}", place_of(c), words);
    if (c.ignored.empty()) return;
    c.message += " [in spite of: ";
    for (std::size_t i = 0; i < c.ignored.size(); ++i)
      c.message += (i > 0 ? ", " : "") + std::string(name_of(c.ignored[i]));
    c.message += "]";
  }

  void apply_allowed_fraction() {
    if (rule_.allow_fraction == 0) return;
    std::size_t compared = 0, beyond = 0;
    for (const Comparison& c : found_) {
      compared += c.change.has_value();
      beyond += c.reason == Reason::exceeds_tolerance;
    }
    // 0.1 * 30 is 3.0000000000000004 in one order and less in another.
    const auto allowed =
        static_cast<std::size_t>(std::floor(rule_.allow_fraction * static_cast<double>(compared) + 1e-9));
    for (Comparison& c : found_) {
      if (c.reason != Reason::exceeds_tolerance) continue;
      c.message += fmt::format("; {} of {} exceed, {} may", beyond, compared, allowed);
      if (beyond > allowed) continue;
      c.status = Status::pass;
      c.reason = Reason::allowed_fraction;
    }
  }

  /// A mean over fewer samples than it should have must not pass unseen, at whatever scope.
  void judge_rejected() {
    const std::int64_t now = rejected_in(reports_.fresh, selected_.quantity);
    std::int64_t before = 0;
    for (const Json* old : baselines_) before = std::max(before, rejected_in(*old, selected_.quantity));
    if (now == 0 && before == 0) return;
    const std::string words =
        fmt::format("{} samples rejected for a NaN or a wrong row sum in NEW, {} in OLD", now, before);
    const bool part_of_the_headline = rule_.scope == Scope::model && found_.size() == 1;
    if (!part_of_the_headline) {
      found_.push_back(blank(nullptr));
      found_.back().message = place_of(found_.back()) + ": " + words;
    } else {
      found_.back().message += "; " + words;
    }
    Comparison& c = found_.back();
    const bool worse = now > before && rule_.severity == Severity::fail;
    if (c.status == Status::fail || (c.status != Status::pass && !worse)) return;
    c.status = worse ? Status::fail : Status::warn;
    c.reason = Reason::rejected;
  }

  const Reports& reports_;
  const Selected& selected_;
  const Rule& rule_;
  const std::vector<Difference>& run_;
  const std::vector<Reason>& ignored_;
  std::size_t group_;
  std::vector<const Json*> baselines_;  ///< those that have the metric
  std::vector<std::vector<ComparedElement>> old_elements_;
  std::vector<ComparedElement> new_elements_;
  std::vector<Reason> passed_over_;
  std::vector<Comparison> found_;
};

}  // namespace

std::vector<Comparison> judge(const Reports& reports, const Selected& selected, const std::vector<Difference>& run,
                              const std::vector<Reason>& ignored, std::size_t group) {
  return Judge(reports, selected, run, ignored, group).comparisons();
}

}  // namespace sinkscope
