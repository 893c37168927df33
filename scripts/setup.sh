#!/usr/bin/env bash
# Sets sinkscope up: system packages, .venv with the pinned Python packages, and the build in build/. What is there already is
# left alone, so a second run takes seconds. demo.sh and test.sh call it.
#
#   scripts/setup.sh [TARGET...]     CMake targets; `program` (the default) is all that a user needs, `all` adds the tests
#
# SINKSCOPE_SKIP_PACKAGES=1 leaves the system packages to you: CMake then fetches the libraries that it does not find.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(g++ cmake ninja-build ccache libfmt-dev libcli11-dev nlohmann-json3-dev libtomlplusplus-dev catch2 libhwy-dev
  libssl-dev)
# Only for tests, with the target `all`: a Slurm of one node. Where they cannot be had its test is skipped.
test_packages=(slurmctld slurmd slurm-client munge)
wanted="g++ 12, cmake 3.25, ninja and libcrypto (OpenSSL), each with its headers, and Python 3.11 with venv"

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
stop() { say "$@"; exit 1; }

venv_works() { [ -x .venv/bin/python ] && .venv/bin/python -c 'import pip' 2>/dev/null; }

# The first Python that the pinned packages support and that can make virtual environments.
find_python() {
  local python
  for python in python3.11 python3.12 python3.13 python3; do
    if "$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  return 1
}

install_packages() {
  [ -z "${SINKSCOPE_SKIP_PACKAGES:-}" ] || return 0
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    local tool
    for tool in c++ cmake ninja; do
      command -v "$tool" >/dev/null || stop "$tool is missing. Please install $wanted; CMake fetches the other libraries."
    done
    venv_works || find_python >/dev/null || stop "no Python with venv from 3.11 on. Please install $wanted."
    return 0
  fi

  local package missing=()
  for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  venv_works || find_python >/dev/null || missing+=(python3 python3-venv)
  [ "${#missing[@]}" -gt 0 ] || return 0

  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
      as_root=(sudo -n)
    else
      stop "packages are missing and only root may install them. Please run: sudo apt-get install ${missing[*]}"
    fi
  fi
  say "installing ${missing[*]}"
  as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
  "${as_root[@]}" update </dev/null >&2 || say "apt-get update failed; trying with the package lists that are there"
  "${as_root[@]}" install --yes --no-install-recommends "${missing[@]}" </dev/null >&2 ||
    stop "apt-get could not install ${missing[*]}"
}

# Not on a machine with systemd, where Debian would start them as services.
install_test_packages() {
  [ -z "${SINKSCOPE_SKIP_PACKAGES:-}" ] && command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ] || return 0
  [ ! -d /run/systemd/system ] || return 0
  [ "$(dpkg-query -W -f='${db:Status-Status} ' "${test_packages[@]}" 2>/dev/null)" != \
    "$(printf 'installed %.0s' "${test_packages[@]}")" ] || return 0
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 install --yes
    --no-install-recommends "${test_packages[@]}")
  "${install[@]}" </dev/null >/dev/null 2>&1 || { apt-get -q update </dev/null && "${install[@]}" </dev/null; } >/dev/null 2>&1 ||
    say "could not install ${test_packages[*]}; the test that needs them will be skipped"
}

install_python() {
  local stamp=.venv/.requirements.sha256 wanted_stamp
  wanted_stamp=$(sha256sum <requirements.txt)
  if venv_works; then
    [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted_stamp" ] || return 0
  else
    local python
    python=$(find_python) || stop "no Python with venv from 3.11 on. Please install it (Debian: python3 python3-venv)."
    "$python" -m venv --clear .venv
  fi
  say "installing the Python packages of requirements.txt into .venv (about 5 GB; minutes the first time)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt </dev/null >&2 ||
    stop "pip could not install requirements.txt"
  printf '%s\n' "$wanted_stamp" >"$stamp"
}

# One job a core, but no more than memory allows: a file with torch headers takes up to 2 GB.
job_count() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/^MemAvailable:/ {print int($2 / 2000000)}' /proc/meminfo 2>/dev/null || echo "$cores")
  [ "$memory" -ge 1 ] || memory=1
  echo $((cores < memory ? cores : memory))
}

build() {
  local configure=(cmake -S . --preset default)
  if [ -f build/CMakeCache.txt ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" build/CMakeCache.txt; then
    configure+=(--fresh) # the folder was moved or copied
  fi
  local log=/dev/stderr
  [ ! -f build/build.ninja ] || log=/dev/null # said the first time; warnings and errors go to stderr anyway
  "${configure[@]}" </dev/null >"$log"
  cmake --build build --parallel "$(job_count)" --target "$@" </dev/null >&2
}

install_packages
case " $* " in *" all "*) install_test_packages & ;; esac # while the rest goes on
install_python
build "${@:-program}"
wait
