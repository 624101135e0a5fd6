#!/bin/sh
# Compiles the shim: src/*.c to the shared object of this machine's processor. With --check it compiles elsewhere and fails when the
# committed object differs.
# Needs gcc and libc6-dev: those of Debian 12, since others write other bytes.
set -eu
cd "$(dirname "$0")"

case $(uname -m) in
x86_64) processor=x64 ;;
aarch64) processor=arm64 ;;
*)
  echo "build-preload: no shim is built for $(uname -m)" >&2
  exit 1
  ;;
esac
command -v gcc >/dev/null || { echo 'build-preload: gcc is missing: apt-get install gcc libc6-dev' >&2; exit 1; }

name=xoffload-preload.so
target=$processor/$name
out=$target
if [ "${1:-}" = --check ]; then
  directory=$(mktemp -d)
  trap 'rm -rf "$directory"' EXIT
  out=$directory/$name
fi

mkdir -p "$processor"
# libdl is where dlsym is in a C library before 2.34; later ones have it for such objects.
gcc -std=gnu11 -O2 -flto -fPIC -shared -fvisibility=hidden -fno-plt -fstack-protector-strong -U_FORTIFY_SOURCE -D_GNU_SOURCE \
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror -ffile-prefix-map="$PWD=." \
  -Wl,-z,relro,-z,now,-z,noexecstack,-z,nodelete,--build-id=none,--no-undefined,--no-as-needed -o "$out" src/*.c -l:libdl.so.2
strip --strip-unneeded "$out"

if [ "$out" != "$target" ] && ! cmp -s "$out" "$target"; then
  echo "build-preload: $target is not what src compiles to: run packages/proxy-adapters/preload/build.sh and commit it" >&2
  exit 1
fi
