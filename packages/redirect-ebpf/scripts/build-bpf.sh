#!/bin/sh
# Compiles the BPF programs of this package and of the testbed: bpf/*.c to bpf/*.o. With --check it compiles elsewhere and fails
# when a committed object differs.
# Needs clang, llvm-strip and libbpf-dev: those of Debian 12, since another clang writes other bytes.
set -eu
cd "$(dirname "$0")/../../.."

strip=$(command -v llvm-strip || ls /usr/bin/llvm-strip-* /usr/lib/llvm-*/bin/llvm-strip 2>/dev/null | tail -n 1)
for tool in clang "${strip:-llvm-strip}"; do
  command -v "$tool" >/dev/null || { echo "build-bpf: $tool is missing: apt-get install clang llvm libbpf-dev" >&2; exit 1; }
done

out=
if [ "${1:-}" = --check ]; then
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi

# Compiles the sources of one folder, from inside: the object must not depend on where the repository is.
build() (
  cd "$1"
  status=0
  for source in *.c; do
    object=${source%.c}.o
    # -g gives the BTF that libbpf reads the map definitions from; the DWARF next to it is stripped.
    clang -O2 -g -target bpf -mcpu=v2 -Wall -Wextra -Werror "-I/usr/include/$(uname -m)-linux-gnu" \
      -fdebug-compilation-dir=. -c "$source" -o "${out:-.}/$object" || exit 1
    "$strip" -g "${out:-.}/$object" || exit 1
    if [ -n "$out" ] && ! cmp -s "$out/$object" "$object"; then
      echo "build-bpf: $1/$object is not what $1/$source compiles to: run packages/redirect-ebpf/scripts/build-bpf.sh and commit it" >&2
      status=1
    fi
  done
  exit $status
)

status=0
for folder in packages/redirect-ebpf/bpf testbed/bpf; do
  build "$folder" || status=1
done
exit $status
