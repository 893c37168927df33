#!/usr/bin/env bash
# Makes a folder with the libraries that sinkscope needs besides torch, and with models to run, to be taken to a GPU machine that
# can fetch nothing:
#
#   scripts/gpu_deps.sh FOLDER        on Debian 12, or another system with the same packages, after scripts/setup.sh
#   PYTHON                            interpreter that has transformers (.venv/bin/python)
#   DEPS=FOLDER scripts/gpu_check.sh  over there
set -euo pipefail
if [ "$#" -ne 1 ]; then
  echo "usage: scripts/gpu_deps.sh FOLDER" >&2
  exit 2
fi
packages=(libfmt-dev libfmt9 libcli11-dev nlohmann-json3-dev libtomlplusplus-dev libtomlplusplus3 catch2 libhwy-dev libhwy1
  libssl-dev libssl3)
mkdir -p "$1"
folder=$(realpath "$1")
repository=$(realpath "$(dirname "$0")/..")
"${PYTHON:-$repository/.venv/bin/python}" "$repository/tests/python/gpu_models.py" "$folder/models"
cd "$(mktemp -d)"
apt-get -q download "${packages[@]}" >&2
for package in *.deb; do dpkg-deb -x "$package" "$folder"; done
cp -r "$folder"/usr/include/*-linux-gnu/openssl "$folder"/usr/include/ # two folders on Debian, one where CMake looks
rm -rf "$folder"/usr/share/doc "$folder"/usr/share/man "$folder"/usr/lib/*/*.a "$PWD"
du -sh "$folder"
