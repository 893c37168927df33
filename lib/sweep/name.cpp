#include "sweep/name.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <limits>
#include <regex>

#include "base/error.h"
#include "files/mapped_file.h"

namespace sinkscope {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLongestComponent = 240;  // of 255 bytes, so that .json and the name written aside fit too

/// Of a file inside a folder that is a checkpoint the folder counts.
std::string without_ending(std::string path) {
  for (const std::string_view ending : {"/model.safetensors.index.json", "/model.safetensors", ".safetensors", ".pt"})
    if (path.size() > ending.size() && path.ends_with(ending) && path[path.size() - ending.size() - 1] != '/') {
      path.resize(path.size() - ending.size());
      break;
    }
  return path;
}

bool is_plain(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

std::string encode_component(std::string_view component, bool folder) {
  std::string text;
  for (std::size_t i = 0; i < component.size(); ++i) {
    const char c = component[i];
    if (is_plain(c) && !(i == 0 && (c == '.' || c == '-')))
      text += c;
    else
      text += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  // A folder that looks like a report would stand where the report of a checkpoint may have to.
  if (folder && text.ends_with(".json")) text.replace(text.size() - 5, 1, "%2E");
  if (text.size() > kLongestComponent)
    throw UsageError(
        fmt::format("the checkpoint name '{}' is too long for a file name once it is encoded; give it "
                    "another name in a --manifest",
                    component));
  return text;
}

std::optional<std::int64_t> number(std::string_view digits) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return error == std::errc() && end == digits.data() + digits.size() ? std::optional(value) : std::nullopt;
}

/// "3896" and "B": 3896 billions. Without a letter the number itself.
std::optional<std::int64_t> token_count(const std::string& digits, const std::string& letter) {
  constexpr std::string_view letters = "KMBT";
  std::int64_t factor = 1;
  if (!letter.empty())
    for (std::size_t i = 0; i <= letters.find(static_cast<char>(letter[0] & ~0x20)); ++i) factor *= 1000;
  const auto count = number(digits);
  return count && *count <= std::numeric_limits<std::int64_t>::max() / factor ? std::optional(*count * factor)
                                                                              : std::nullopt;
}

constexpr const char* kDefaultPattern =
    R"((?:^|[^a-z])(?:step[-_]?|checkpoint[-_]|iter[-_]?)(\d+)(?![\d.]*\d)(-tokens(\d+)([KMBT]?)(?![a-z\d]))?)";

/// ECMAScript in C++ has no named groups: names become places. Returns the group numbers of `step` and `tokens`.
std::pair<std::size_t, std::size_t> take_group_names(std::string& pattern) {
  std::size_t groups = 0, step = 0, tokens = 0;
  bool in_class = false;
  std::string plain;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    plain += pattern[i];
    if (pattern[i] == '\\' && i + 1 < pattern.size()) {
      plain += pattern[++i];
    } else if (pattern[i] == '[' && !in_class) {
      in_class = true;
    } else if (pattern[i] == ']') {
      in_class = false;
    } else if (pattern[i] == '(' && !in_class) {
      if (pattern.compare(i + 1, 1, "?") != 0) {
        ++groups;
        continue;
      }
      const std::size_t open = pattern.compare(i + 1, 3, "?P<") == 0 ? i + 4 : i + 3;
      const bool named =
          pattern[open - 1] == '<' && open < pattern.size() && pattern[open] != '=' && pattern[open] != '!';
      const std::size_t close = named ? pattern.find('>', open) : std::string::npos;
      if (close == std::string::npos) continue;  // (?:...) and the like
      ++groups;
      const std::string name = pattern.substr(open, close - open);
      if (name == "step") step = groups;
      if (name == "tokens" || name == "tok" || name == "training_tokens") tokens = groups;
      i = close;
    }
  }
  pattern = plain;
  if (groups == 0)
    throw UsageError("--step-regex: the pattern has no group; put the digits of the step in (...) or (?<step>...)");
  if (step == 0) return {1, groups > 1 && tokens == 0 ? 2 : tokens};
  return {step, tokens};
}

}  // namespace

struct StepReader::Pattern {
  std::regex regex;
  bool own = false;  ///< the default, which has a letter behind its tokens
  std::size_t step = 1, tokens = 3;
};

StepReader::StepReader(const std::optional<std::string>& pattern) : pattern_(std::make_unique<Pattern>()) {
  if (!pattern) {
    pattern_->own = true;
    pattern_->regex = std::regex(kDefaultPattern, std::regex::icase);
    return;
  }
  std::string text = *pattern;
  std::tie(pattern_->step, pattern_->tokens) = take_group_names(text);
  try {
    pattern_->regex = std::regex(text);
  } catch (const std::regex_error& error) {
    throw UsageError(fmt::format("--step-regex {}: not a regular expression (ECMAScript): {}", *pattern, error.what()));
  }
}

StepReader::~StepReader() = default;
StepReader::StepReader(StepReader&&) noexcept = default;

NamedStep StepReader::read(const std::string& name) const {
  std::smatch last;
  for (std::sregex_iterator match(name.begin(), name.end(), pattern_->regex), end; match != end; ++match)
    if ((*match)[pattern_->step].matched) last = *match;
  NamedStep found;
  if (last.empty()) return found;
  found.step = number(last[pattern_->step].str());
  if (!found.step) return found;
  const bool tokens = pattern_->tokens > 0 && last[pattern_->tokens].matched;
  if (tokens)
    found.training_tokens =
        token_count(last[pattern_->tokens].str(), pattern_->own ? last[pattern_->tokens + 1].str() : "");
  const auto begin = static_cast<std::size_t>(last.position(pattern_->step));
  const std::string digits = last[pattern_->step].str();
  const bool with_tokens = pattern_->own && last[2].matched;
  const std::size_t end =
      with_tokens ? static_cast<std::size_t>(last.position(2) + last.length(2)) : begin + digits.size();
  found.place = {name.substr(0, begin), name.substr(end), digits.size() > 1 && digits[0] == '0' ? digits.size() : 0};
  return found;
}

std::vector<std::string> names_below_common_parent(const std::vector<std::string>& paths) {
  std::vector<fs::path> stems;
  for (const std::string& path : paths) {
    std::string text = fs::absolute(path).lexically_normal().string();
    while (text.size() > 1 && text.back() == '/') text.pop_back();
    stems.emplace_back(without_ending(text));
  }
  if (stems.empty()) return {};
  fs::path parent = stems.front().parent_path();
  for (const fs::path& stem : stems) {
    fs::path common;
    const fs::path folder = stem.parent_path();
    for (auto a = parent.begin(), b = folder.begin(); a != parent.end() && b != folder.end() && *a == *b; ++a, ++b)
      common /= *a;
    parent = common;
  }
  std::vector<std::string> names;
  for (const fs::path& stem : stems) names.push_back(stem.lexically_relative(parent).string());
  return names;
}

std::string encode_name(std::string_view name) {
  std::string encoded;
  while (!name.empty()) {
    const std::size_t slash = name.find('/');
    const std::string_view component = name.substr(0, slash);
    name.remove_prefix(slash == std::string_view::npos ? name.size() : slash + 1);
    const bool folder = name.find_first_not_of('/') != std::string_view::npos;
    if (!component.empty()) encoded += (encoded.empty() ? "" : "/") + encode_component(component, folder);
  }
  if (encoded.empty()) throw UsageError("a checkpoint has an empty name");
  return encoded == "sweep" ? "%73weep" : encoded;  // DIR/sweep.json is the index
}

std::vector<std::string> hub_revisions(const std::string& path) {
  const fs::path whole = fs::absolute(path).lexically_normal();
  fs::path before;
  for (auto part = whole.begin(); part != whole.end(); before /= *part, ++part) {
    if (*part != "snapshots" || std::next(part) == whole.end()) continue;
    const std::string commit = std::next(part)->string();
    std::vector<std::string> found;
    std::error_code error;
    for (fs::recursive_directory_iterator entry(before / "refs", error), end; !error && entry != end;
         entry.increment(error)) {
      if (!entry->is_regular_file(error)) continue;
      std::string text = read_text(entry->path().string());
      text.erase(text.find_last_not_of(" \r\n") + 1);
      if (text == commit) found.push_back(entry->path().lexically_relative(before / "refs").string());
    }
    std::sort(found.begin(), found.end());
    if (!found.empty()) return found;
  }
  return {};
}

}  // namespace sinkscope
