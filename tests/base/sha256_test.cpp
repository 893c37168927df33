#include "base/sha256.h"

#include "base/error.h"
#include "catch.h"
#include "files/temporary.h"

using namespace sinkscope;

TEST_CASE("SHA-256 gives the digests of FIPS 180-4", "[base]") {
  CHECK(sha256_of("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("hashing in pieces gives the hash of the whole", "[base]") {
  CHECK(Sha256().update("a").update("").update("bc").hex() == sha256_of("abc"));
}

TEST_CASE("numbers are hashed as eight bytes, little endian", "[base]") {
  using namespace std::string_literals;
  CHECK(Sha256().update_int64(258).hex() == sha256_of("\x02\x01\0\0\0\0\0\0"s));
  CHECK(Sha256().update_int64(-1).hex() == sha256_of(std::string(8, '\xff')));
}

TEST_CASE("a hash that was read out cannot be used again", "[base]") {
  Sha256 hash;
  hash.hex();
  CHECK_THROWS_AS(hash.update("more"), std::logic_error);
  CHECK_THROWS_AS(hash.hex(), std::logic_error);
}

TEST_CASE("a file larger than one piece has the hash of its content", "[base]") {
  const TemporaryFolder folder;
  const std::string content((std::size_t{1} << 20) + 17, 'x');
  CHECK(sha256_of_file(folder.file("big", content)) == sha256_of(content));
}

TEST_CASE("hashing a file that is not there names it", "[base]") {
  CHECK(contains(message_of<InputError>([] { sha256_of_file("nowhere/file.pt"); }), "nowhere/file.pt"));
}

TEST_CASE("hashing a directory is an error that names it", "[base]") {
  const TemporaryFolder folder;
  CHECK(contains(message_of<InputError>([&] { sha256_of_file(folder.path()); }), folder.path()));
}
