#pragma once
// Output that is either complete or absent: written aside in the same folder, then renamed over the target.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace sinkscope {

/// A file to be. Open it before the run, so that a place that cannot be written costs no run; commit when the bytes are
/// there. Until commit() the target keeps its former content, and an object that goes away uncommitted leaves nothing
/// behind.
/// `-` is stdout. What is no regular file (a pipe, /dev/full) is written directly; a symbolic link keeps pointing.
class AtomicFile {
 public:
  /// Throws UsageError (exit 2) that names the path: a directory, a missing folder, no permission.
  static AtomicFile open(const std::string& path);
  ~AtomicFile();
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;

  /// Appends. Throws UsageError on a full disk. To stdout as print().
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Makes the written bytes the content of the target, on disk. Throws as write().
  void commit();
  void commit(std::string_view text) {
    write(text);
    commit();
  }

  const std::string& path() const { return path_; }
  bool is_stdout() const { return path_ == "-"; }

 private:
  explicit AtomicFile(std::string path) : path_(std::move(path)) {}
  void discard() noexcept;
  [[noreturn]] void fail(int error) const;

  std::string path_;    ///< as the user wrote it
  std::string target_;  ///< where symbolic links lead
  std::string aside_;   ///< empty: written directly
  int descriptor_ = -1;
};

}  // namespace sinkscope
