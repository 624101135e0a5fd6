#!/bin/sh
# Compiles bpf/*.c to bpf/*.o. With --check it compiles elsewhere and fails when a committed object differs.
# Needs clang, llvm-strip and libbpf-dev: those of Debian 12, since another clang writes other bytes.
set -eu
cd "$(dirname "$0")/../bpf"

strip=$(command -v llvm-strip || ls /usr/bin/llvm-strip-* /usr/lib/llvm-*/bin/llvm-strip 2>/dev/null | tail -n 1)
for tool in clang "${strip:-llvm-strip}"; do
  command -v "$tool" >/dev/null || { echo "build-bpf: $tool is missing: apt-get install clang llvm libbpf-dev" >&2; exit 1; }
done

out=.
if [ "${1:-}" = --check ]; then
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi

status=0
for source in *.c; do
  object=${source%.c}.o
  # -g gives the BTF that libbpf reads the map definitions from; the DWARF next to it is stripped.
  clang -O2 -g -target bpf -mcpu=v2 -Wall -Wextra -Werror "-I/usr/include/$(uname -m)-linux-gnu" \
    -fdebug-compilation-dir=. -c "$source" -o "$out/$object"
  "$strip" -g "$out/$object"
  if [ "$out" != . ] && ! cmp -s "$out/$object" "$object"; then
    echo "build-bpf: bpf/$object is not what bpf/$source compiles to: run scripts/build-bpf.sh and commit it" >&2
    status=1
  fi
done
exit $status
