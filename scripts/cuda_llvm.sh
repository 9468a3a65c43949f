#!/usr/bin/env bash
# Lays out the LLVM that `--features cuda` links, from Debian's packages. Needs apt-get and dpkg but
# no root: nothing is installed, and all files are in one folder [default: target/llvm].
#
#     scripts/cuda_llvm.sh [FOLDER] && source FOLDER/env
#
# CubeCL's build script looks for an unpacked LLVM in a folder of the user's data home and downloads
# one if it is missing. This script puts Debian's there. It is safe to run again.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$here/target/llvm}
llvm=${LLVM_VERSION:-22}

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

# The folder is named after the version of the crate that looks for it.
bundler=$(sed -n '/^name = "tracel-llvm-bundler"/{n;s/^version = "\(.*\)"/\1/p}' "$here/Cargo.lock")
[ -n "$bundler" ] || { echo "error: Cargo.lock does not contain tracel-llvm-bundler" >&2; exit 1; }
bundle=$folder/data/tracel/tracel-llvm-$bundler

if [ ! -e "$bundle/.tracel-llvm-installed" ]; then
    if ! apt-cache show "llvm-$llvm-dev" >/dev/null 2>&1; then
        echo "error: apt does not know the package llvm-$llvm-dev" >&2
        echo "hint: run apt-get update as root; Debian 12 has the package in its security updates" >&2
        exit 1
    fi
    mkdir -p "$folder/packages" "$folder/root"
    # llvm-config and the static archives; the shared libraries that llvm-config itself needs to
    # start; what the archives call: zlib and zstd.
    (cd "$folder/packages" && apt-get -o APT::Sandbox::User=root download \
        "llvm-$llvm-dev" "llvm-$llvm" "libpolly-$llvm-dev" libz3-4 libzstd1 libzstd-dev zlib1g-dev)
    for package in "$folder"/packages/*.deb; do
        dpkg -x "$package" "$folder/root"
    done
    rm -r "$folder/packages"

    mkdir -p "$bundle/bin"
    cat > "$bundle/bin/llvm-config" <<WRAPPER
#!/bin/sh
# Z3 and libxml2 serve parts of LLVM that are not linked here.
case "\$*" in
    *--system-libs*) echo "-lrt -ldl -lm -lz -lzstd" ;;
    *) LD_LIBRARY_PATH="$(echo "$folder"/root/usr/lib/*-linux-gnu)" exec "$folder/root/usr/lib/llvm-$llvm/bin/llvm-config" "\$@" ;;
esac
WRAPPER
    chmod +x "$bundle/bin/llvm-config"
    "$bundle/bin/llvm-config" --version >/dev/null
    touch "$bundle/.tracel-llvm-installed"
fi

cat > "$folder/env" <<ENV
export XDG_DATA_HOME="$folder/data"
export LIBRARY_PATH="$(echo "$folder"/root/usr/lib/*-linux-gnu)\${LIBRARY_PATH:+:\$LIBRARY_PATH}"
export CUDARC_CUDA_VERSION=13000
ENV

echo "LLVM $("$bundle/bin/llvm-config" --version) is in $folder"
echo "next: source $folder/env && cargo build --release -p witan --features cuda --locked"
