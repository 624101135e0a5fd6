#!/bin/bash
# Compiles the module for the nginx of this machine, to build/ngx_http_xoffload_module.so or to the path that is given. Does nothing when
# that is newer than the sources, the nginx program and its headers.
# Needs nginx-dev (Debian 12 and later, Ubuntu 23.04 and later), or the configured sources of nginx in the folder NGINX_SOURCE.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
name=ngx_http_xoffload_module.so
out=${1:-$here/build/$name}
source=${NGINX_SOURCE:-/usr/share/nginx/src}
program=$(PATH=$PATH:/usr/sbin:/sbin command -v nginx || true)

if [ ! -x "$source/configure" ]; then
  echo "build-nginx: $source has no sources of nginx: apt-get install nginx-dev, or set NGINX_SOURCE" >&2
  exit 1
fi

stale() {
  [ ! -e "$out" ] || [ -n "$(find "$here/src" "$here/../preload/src/protocol.h" "$here/config" "$here/build.sh" "$source/configure" $program -newer "$out" -print -quit)" ]
}
stale || exit 0

mkdir -p "$(dirname "$out")"
# Several may build at once: each in a folder of its own, and the result comes in one step.
directory=$(mktemp -d "$(dirname "$out")/.build-XXXXXX")
trap 'rm -rf "$directory"' EXIT

# What nginx was configured with: else it refuses the module. Debian says it in a file, others in the program.
NGX_CONF_FLAGS=(--with-compat)
if [ -e "$source/conf_flags" ]; then . "$source/conf_flags"; fi

# configure writes a Makefile and objects where it runs.
cp -rs "$source/." "$directory/nginx"
cd "$directory/nginx"
rm -f Makefile
if ! ./configure "${NGX_CONF_FLAGS[@]}" --with-cc-opt='-g -O2 -Wall -Wextra -Wno-unused-parameter -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIC' \
  --with-ld-opt='-Wl,-z,relro -Wl,-z,now' --add-dynamic-module="$here" >../log 2>&1 || ! make -f objs/Makefile modules >>../log 2>&1; then
  cat ../log >&2
  echo 'build-nginx: the module could not be built' >&2
  exit 1
fi
mv "objs/$name" "$out"
