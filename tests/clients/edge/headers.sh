#!/usr/bin/env bash
# ONNX Runtime's C and C++ headers (MIT, Microsoft), for compiling clients/edge/cpp where no package of the
# system has them: neither Debian 12 nor the Python wheel does. This npm package carries them; nothing else
# of it is kept or run. The wheel's library serves newer and older headers alike.
set -euo pipefail
PACKAGE=@siteed/sherpa-onnx.rn@1.3.1
SHA512=75ecffb5277ed89cc43b0ebb387b87734b48288f3850fbc962fe0e898055869c30bdd3a0126d5d1e55ccc7f0d06008ef74fddd43bbc2d3ef980ccb63c10a83d7
TO="$(cd "$(dirname "$0")" && pwd)/build/include"

[ ! -e "$TO/onnxruntime_cxx_api.h" ] || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
archive="$work/$(npm pack --silent --ignore-scripts --pack-destination "$work" "$PACKAGE" | tail -1)"
echo "$SHA512  $archive" | sha512sum --check --quiet
mkdir -p "$TO"
tar xzf "$archive" -C "$TO" --strip-components=4 package/prebuilt/include/onnxruntime
