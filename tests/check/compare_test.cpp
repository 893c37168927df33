#include "check/compare.h"

#include <algorithm>
#include <cmath>

#include "small_report.h"

using namespace sinkscope;

namespace {

const std::string kHead = "/metrics/sink_rate/per_head/1/0";  // .6
const std::string kSite = "/metrics/sink_rate/per_site/1";    // .7
const std::string kModel = "/metrics/sink_rate/value";        // .5

Status status(const Json& fresh, const std::string& keys) { return only({small_report()}, fresh, rule(keys)).status; }

}  // namespace

TEST_CASE("a report compared with itself passes everywhere", "[check]") {
  for (const Comparison& c : compared({small_report()}, small_report())) CHECK(c.status == Status::pass);
  for (const Comparison& c : compared({small_report()}, small_report(), rule("metric='*.*'\ntolerance=0")))
    CHECK(c.status == Status::pass);
}

TEST_CASE("a metric without a sample in any report is not compared unless a rule is about it", "[check]") {
  const Json nothing =
      changed({{kModel, nullptr}, {"/metrics/sink_rate/count", 0}, {"/metrics/sink_rate/rejected", 0}});
  const auto about_it = [](const Comparison& c) { return c.metric == "sink_rate"; };
  const auto implied = compared({nothing}, nothing);
  CHECK(std::none_of(implied.begin(), implied.end(), about_it));
  CHECK(status(nothing, "metric='sink_rate'") == Status::fail);  // OLD has samples
  CHECK(only({nothing}, nothing, rule("metric='sink_rate'")).status == Status::warn);
}

TEST_CASE("model scope: just inside a tolerance passes, just outside fails", "[check]") {
  const std::string absolute = "metric='sink_rate'\ntolerance=0.02", relative = "metric='sink_rate'\ntolerance='10%'";
  for (const double sign : {1.0, -1.0}) {
    CHECK(status(changed({{kModel, 0.5 + sign * 0.0199}}), absolute) == Status::pass);
    CHECK(status(changed({{kModel, 0.5 + sign * 0.0201}}), absolute) == Status::fail);
    CHECK(status(changed({{kModel, 0.5 + sign * 0.0499}}), relative) == Status::pass);
    CHECK(status(changed({{kModel, 0.5 + sign * 0.0501}}), relative) == Status::fail);
  }
}

TEST_CASE("site scope: just inside a tolerance passes, just outside fails", "[check]") {
  const auto at_site = [](double value, const std::string& tolerance) {
    return at(compared({small_report()}, changed({{kSite, value}}),
                       rule("metric='sink_rate'\nscope='site'\ntolerance=" + tolerance)),
              1)
        .status;
  };
  CHECK(at_site(0.7199, "0.02") == Status::pass);
  CHECK(at_site(0.7201, "0.02") == Status::fail);
  CHECK(at_site(0.6301, "'10%'") == Status::pass);
  CHECK(at_site(0.6299, "'10%'") == Status::fail);
}

TEST_CASE("head scope: just inside a tolerance passes, just outside fails, the others pass", "[check]") {
  const auto at_head = [](double value, const std::string& tolerance) {
    const auto found = compared({small_report()}, changed({{kHead, value}}),
                                rule("metric='sink_rate'\nscope='head'\ntolerance=" + tolerance));
    CHECK(found.size() == 4);
    for (const Comparison& c : found) CHECK((c.status == Status::pass || (c.site == 1 && c.head == 0)));
    return at(found, 1, 0).status;
  };
  CHECK(at_head(0.5801, "0.02") == Status::pass);
  CHECK(at_head(0.5799, "0.02") == Status::fail);
  CHECK(at_head(0.6599, "'10%'") == Status::pass);
  CHECK(at_head(0.6601, "'10%'") == Status::fail);
}

TEST_CASE("a change that equals the tolerance passes, although doubles cannot say so", "[check]") {
  // .5 - .45 is .04999999999999999, .45 - .5 as well; .59 - .61 is -.020000000000000018.
  const Json old = changed({{kModel, 0.61}});
  CHECK(only({old}, changed({{kModel, 0.59}}), rule("metric='sink_rate'\ntolerance=0.02")).status == Status::pass);
}

TEST_CASE("a tolerance of 0 lets nothing move", "[check]") {
  CHECK(status(changed({{kModel, std::nextafter(0.5, 1)}}), "metric='sink_rate'\ntolerance=0") == Status::fail);
}

TEST_CASE("of an absolute and a relative tolerance the wider holds", "[check]") {
  const std::string both = "metric='sink_rate'\ntolerance={abs=0.02, rel=0.1}";
  CHECK(status(changed({{kModel, 0.54}}), both) == Status::pass);
  CHECK(status(changed({{kModel, 0.56}}), both) == Status::fail);
  CHECK(only({changed({{kModel, 0.05}})}, changed({{kModel, 0.065}}), rule(both)).status == Status::pass);
}

TEST_CASE("fail_on looks at one direction only", "[check]") {
  const Json up = changed({{kModel, 0.9}}), down = changed({{kModel, 0.1}});
  const std::string keys = "metric='sink_rate'\ntolerance=0.02\nfail_on=";
  CHECK(status(up, keys + "'change'") == Status::fail);
  CHECK(status(down, keys + "'change'") == Status::fail);
  CHECK(status(up, keys + "'increase'") == Status::fail);
  CHECK(status(down, keys + "'decrease'") == Status::fail);
  const Comparison better = only({small_report()}, down, rule(keys + "'increase'"));
  CHECK(better.status == Status::pass);
  CHECK(better.reason == Reason::other_direction);
  CHECK(status(up, keys + "'decrease'") == Status::pass);
}

TEST_CASE("severity warn turns FAIL into WARN and never fails the gate", "[check]") {
  const Comparison c =
      only({small_report()}, changed({{kModel, 0.9}}), rule("metric='sink_rate'\ntolerance=0.02\nseverity='warn'"));
  CHECK(c.status == Status::warn);
  CHECK_FALSE(is_finding(c));
}

TEST_CASE("the message names metric, site, head, old, new, change and tolerance", "[check]") {
  const auto found =
      compared({small_report()}, changed({{kHead, 0.402}}), rule("metric='sink_rate'\nscope='head'\ntolerance=0.02"));
  CHECK(at(found, 1, 0).message ==
        "sink_rate, site 1 (m.layers.1.attn), head 0: 0.6 -> 0.402, change -0.198, tolerance 0.02");
}

TEST_CASE("a message has the digits that tell old from new and the change from its tolerance", "[check]") {
  const Comparison c =
      only({small_report()}, changed({{kModel, 0.500001}}), rule("metric='sink_rate'\ntolerance=0.0000009999"));
  CHECK(contains(c.message, "0.5 -> 0.500001"));
  CHECK(contains(c.message, "change +1e-06"));
  CHECK(contains(
      only({small_report()}, changed({{kModel, 0.5200004}}), rule("metric='sink_rate'\ntolerance=0.02")).message,
      "change +0.0200004, tolerance 0.02"));
}

TEST_CASE("null is never PASS: in one report it fails, in both it warns", "[check]") {
  for (const char* scope : {"model", "site", "head"}) {
    CAPTURE(scope);
    const std::string place = scope[0] == 'm' ? kModel : scope[0] == 's' ? kSite : kHead;
    const std::string rules = rule(std::string("metric='sink_rate'\ntolerance=9\nscope='") + scope + "'");
    const auto worst = [&](const Json& old, const Json& fresh) {
      for (const Comparison& c : compared({old}, fresh, rules))
        if (c.status != Status::pass) return c;
      return Comparison{};
    };
    const Json null = changed({{place, nullptr}});
    CHECK(worst(small_report(), null).status == Status::fail);
    CHECK(worst(small_report(), null).reason == Reason::null_in_new);
    CHECK(worst(null, small_report()).status == Status::fail);
    CHECK(worst(null, small_report()).reason == Reason::null_in_old);
    CHECK(worst(null, null).status == Status::warn);
    CHECK(worst(null, null).reason == Reason::null_in_both);
  }
}

TEST_CASE("a head without a value inside a mean fails, although the mean has a value", "[check]") {
  const Json fresh = changed({{"/metrics/sink_rate/series/tail/data/1/1", nullptr}});
  const std::string keys = "metric='sink_rate.tail'\ntolerance=9";
  CHECK(only({small_report()}, fresh, rule(keys)).reason == Reason::null_in_new);
  CHECK(only({fresh}, small_report(), rule(keys)).reason == Reason::null_in_old);
  CHECK(only({fresh}, fresh, rule(keys)).status == Status::pass);
}

TEST_CASE("rejected samples are never PASS at any scope", "[check]") {
  const Json rejected = changed({{"/metrics/sink_rate/rejected", 1}});
  for (const char* scope : {"model", "site", "head"}) {
    const std::string rules = rule(std::string("metric='sink_rate'\ntolerance=9\nscope='") + scope + "'");
    const auto worse = compared({small_report()}, rejected, rules);
    CHECK(worse.back().status == Status::fail);
    CHECK(worse.back().reason == Reason::rejected);
    CHECK(compared({rejected}, rejected, rules).back().status == Status::warn);
    if (scope[0] == 'm')  // undefined before, broken now
      CHECK(
          only({changed({{kModel, nullptr}})}, changed({{kModel, nullptr}, {"/metrics/sink_rate/rejected", 16}}), rules)
              .status == Status::fail);
    CHECK(compared({rejected}, small_report(), rules).back().status == Status::warn);
  }
}

TEST_CASE("a metric of one report only is NEW or MISSING", "[check]") {
  Json less = small_report();
  less["metrics"].erase("loss");
  const auto of_loss = [](const std::vector<Comparison>& found) {
    for (const Comparison& c : found)
      if (c.metric == "loss") return c;
    return Comparison{};
  };
  const Comparison missing = of_loss(compared({small_report()}, less));
  CHECK(missing.status == Status::missing);
  CHECK(is_finding(missing));
  CHECK(missing.old_value == 2.0);
  const Comparison fresh = of_loss(compared({less}, small_report()));
  CHECK(fresh.status == Status::only_new);
  CHECK_FALSE(is_finding(fresh));
}

TEST_CASE("every difference that makes reports incomparable is INCOMPARABLE, never PASS", "[check]") {
  Json one_site = small_report();
  one_site["sites"].erase(1);
  const std::vector<std::pair<Reason, Json>> cases = {
      {Reason::complete, changed({{"/complete", false}})},
      {Reason::input, changed({{"/input/sha256", std::string(64, 'f')}})},
      {Reason::input, changed({{"/input/sha256", std::string(64, 'f')}, {"/input/length/max", 128}})},
      {Reason::tokenizer, changed({{"/input/tokenizer/sha256", std::string(64, 'f')}})},
      {Reason::tokenizer, changed({{"/input/tokenizer", nullptr}})},
      {Reason::dtype, changed({{"/settings/dtype", "bfloat16"}})},
      {Reason::sites, one_site},
      {Reason::sites, changed({{"/sites/1/kind", "cross"}})},
      {Reason::heads, changed({{"/sites/1/query_heads", 4}})},
      {Reason::heads, changed({{"/sites/0/kv_heads", 2}})},
      {Reason::definition, changed({{"/metrics/sink_rate/definition_version", 2}})},
      {Reason::definition, changed({{"/metrics/sink_rate/unit", "percent"}})},
      {Reason::parameters, changed({{"/metrics/sink_rate/parameters/epsilon", 0.2}})},
      {Reason::parameters, changed({{"/metrics/sink_rate/parameters/more", 1}})}};
  for (const auto& [reason, fresh] : cases) {
    CAPTURE(name_of(reason));
    for (const char* scope : {"model", "site", "head"}) {
      const std::string rules = rule(std::string("metric='sink_rate'\ntolerance=9\nscope='") + scope + "'");
      const Comparison c = only({small_report()}, fresh, rules);
      CHECK(c.status == Status::incomparable);
      CHECK(c.reason == reason);
      CHECK(is_finding(c));
      CHECK(only({fresh}, small_report(), rules).reason == reason);  // and the other way round
      for (const Comparison& forced : compared({small_report()}, fresh, rules, {reason})) {
        CHECK(forced.status != Status::incomparable);
        CHECK(forced.ignored == std::vector<Reason>{reason});
        CHECK(contains(forced.message, "in spite of"));
      }
    }
  }
}

TEST_CASE("INCOMPARABLE says what differs, everything at once", "[check]") {
  const Comparison c =
      only({small_report()}, changed({{"/settings/dtype", "bfloat16"}, {"/metrics/sink_rate/parameters/epsilon", 0.2}}),
           rule("metric='sink_rate'"));
  CHECK(c.message == "sink_rate: dtype float32 -> bfloat16; epsilon 0.3 -> 0.2");
}

TEST_CASE("another epsilon makes its metric incomparable and no other", "[check]") {
  const auto found = compared({small_report()}, changed({{"/metrics/sink_rate/parameters/epsilon", 0.2}}));
  for (const Comparison& c : found) CHECK(c.status == (c.metric == "sink_rate" ? Status::incomparable : Status::pass));
}

TEST_CASE("other paths, devices and versions make nothing incomparable", "[check]") {
  const Json fresh =
      changed({{"/sites/1/path", "other.attn"}, {"/settings/device", "cuda:0"}, {"/tool/version", "9.9.9"}});
  for (const Comparison& c : compared({small_report()}, fresh)) CHECK(c.status == Status::pass);
}

TEST_CASE("with another number of sites ignored, the sites that both have are compared", "[check]") {
  Json less = small_report();
  less["sites"].erase(1);
  less["metrics"]["sink_rate"]["per_site"].erase(1);
  const auto found = compared({small_report()}, less, rule("metric='sink_rate'\nscope='site'"), {Reason::sites});
  REQUIRE(found.size() == 2);
  CHECK(at(found, 0).status == Status::pass);
  CHECK(at(found, 1).status == Status::missing);
}

TEST_CASE("allow_fraction lets so many heads exceed, and not one more", "[check]") {
  const Json one = changed({{kHead, 0.9}});
  const Json two = changed({{kHead, 0.9}, {"/metrics/sink_rate/per_head/0/0", 0.9}});
  const std::string rules = rule("metric='sink_rate'\nscope='head'\ntolerance=0.02\nallow_fraction=0.25");
  CHECK(at(compared({small_report()}, one, rules), 1, 0).status == Status::pass);
  CHECK(at(compared({small_report()}, one, rules), 1, 0).reason == Reason::allowed_fraction);
  CHECK(at(compared({small_report()}, two, rules), 1, 0).status == Status::fail);
  CHECK(at(compared({small_report()}, two, rules), 0, 0).status == Status::fail);
  // A head without a value is not one that moved.
  CHECK(at(compared({small_report()}, changed({{kHead, nullptr}}), rules), 1, 0).status == Status::fail);
}

TEST_CASE("with several baselines the mean is the old value and the tolerance spans them", "[check]") {
  const std::vector<Json> olds = {changed({{kModel, 0.45}}), changed({{kModel, 0.55}})};
  const auto with = [&](double value) {
    return only(olds, changed({{kModel, value}}), rule("metric='sink_rate'\ntolerance=0.02"));
  };
  CHECK(with(0.599).status == Status::pass);
  CHECK(with(0.601).status == Status::fail);
  CHECK(with(0.5).old_value == 0.5);
  CHECK(*with(0.5).tolerance == near(0.1, 1e-12));
  CHECK(contains(with(0.5).message, "the spread of 2 baselines"));
  // A tolerance wider than the spread stays.
  CHECK(only(olds, changed({{kModel, 0.79}}), rule("metric='sink_rate'\ntolerance=0.3")).status == Status::pass);
}

TEST_CASE("a baseline that cannot be compared with NEW spoils the comparison with the others", "[check]") {
  const std::vector<Json> olds = {small_report(), changed({{"/settings/dtype", "bfloat16"}})};
  CHECK(only(olds, small_report(), rule("metric='sink_rate'")).status == Status::incomparable);
}

TEST_CASE("noise: a change within the paired interval is AMBIGUOUS, a clear one FAIL, a small one PASS", "[check]") {
  const std::string rules = rule("metric='loss'\ntolerance=0.1\nnoise='sequences'");
  const auto fresh = [](double value, const std::vector<double>& sequences) {
    return changed({{"/metrics/loss/value", value}, {"/metrics/loss/per_sequence", sequences}});
  };
  // Every sequence moves by .2: no resampling brings the change below .1.
  CHECK(only({small_report()}, fresh(2.2, {1.2, 2.2, 2.2, 3.2}), rules).status == Status::fail);
  // One sequence moves by .8: resamples without it show no change at all.
  const Comparison ambiguous = only({small_report()}, fresh(2.2, {1.8, 2.0, 2.0, 3.0}), rules);
  CHECK(ambiguous.status == Status::ambiguous);
  CHECK(ambiguous.reason == Reason::within_noise);
  CHECK(is_finding(ambiguous));
  REQUIRE(ambiguous.interval);
  CHECK((*ambiguous.interval)[0] == 0);
  // The sequences spread far more than the change: unpaired, both would be AMBIGUOUS.
  CHECK(only({small_report()}, fresh(2.05, {1.05, 2.05, 2.05, 3.05}), rules).status == Status::pass);
  // Without the key there is no AMBIGUOUS.
  CHECK(only({small_report()}, fresh(2.2, {1.8, 2.0, 2.0, 3.0}), rule("metric='loss'\ntolerance=0.1")).status ==
        Status::fail);
}

TEST_CASE("noise looks in the direction that fails", "[check]") {
  const Json fresh = changed({{"/metrics/loss/value", 2.2}, {"/metrics/loss/per_sequence", {1.8, 2.0, 2.0, 3.0}}});
  CHECK(only({small_report()}, fresh, rule("metric='loss'\ntolerance=0.1\nnoise='sequences'\nfail_on='increase'"))
            .status == Status::ambiguous);
  CHECK(only({small_report()}, fresh, rule("metric='loss'\ntolerance=0.1\nnoise='sequences'\nfail_on='decrease'"))
            .status == Status::pass);
}

TEST_CASE("the paired interval is that of the differences", "[check]") {
  CHECK(paired_interval({1.0, 5.0}, {2.0, 6.0}) == std::array<double, 2>{1, 1});
  CHECK_FALSE(paired_interval({1.0}, {2.0}));
  CHECK_FALSE(paired_interval({1.0, 2.0}, {2.0}));
  CHECK_FALSE(paired_interval({1.0, std::nullopt}, {2.0, 3.0}));  // one pair is left
}

TEST_CASE("elements of a series are compared by their coordinates", "[check]") {
  const auto found = compared({small_report()}, changed({{"/metrics/sink_rate/series/by_epsilon/data/0", 0.8}}),
                              rule("metric='sink_rate.by_epsilon'\ntolerance=0.02"));
  REQUIRE(found.size() == 2);
  CHECK(found[0].status == Status::fail);
  CHECK(found[0].message == "sink_rate.by_epsilon, epsilon 0.1: 0.9 -> 0.8, change -0.1, tolerance 0.02");
  CHECK(found[1].status == Status::pass);
}

TEST_CASE("a series of heads is its mean at coarser scopes", "[check]") {
  const std::string keys = "metric='sink_rate.tail'\ntolerance=0.02\n";
  const Json fresh = changed({{"/metrics/sink_rate/series/tail/data/1/1", 0.8}});  // mean .4 -> .425, site .6 -> .65
  CHECK(*only({small_report()}, fresh, rule(keys)).change == near(0.025, 1e-12));
  CHECK(*at(compared({small_report()}, fresh, rule(keys + "scope='site'")), 1).change == near(0.05, 1e-12));
  CHECK(*at(compared({small_report()}, fresh, rule(keys + "scope='head'")), 1, 1).change == near(0.1, 1e-12));
}

TEST_CASE("padding of ragged heads is no head without a value", "[check]") {
  Json report = changed({{"/sites/0/query_heads", 1}, {"/metrics/sink_rate/series/tail/data/0/1", nullptr}});
  CHECK(compared({report}, report, rule("metric='sink_rate.tail'\nscope='head'")).size() == 3);
}

TEST_CASE("without a baseline every value is NEW", "[check]") {
  for (const Comparison& c : compared({}, small_report())) CHECK(c.status == Status::only_new);
}
