#!/bin/sh
# Installs the packages that building and testing need, on Debian and its kin, if this user may; else names them.
set -u
need="gcc make cmake pkg-config libsqlite3-dev zlib1g-dev opencl-headers check libjansson-dev
    ocl-icd-libopencl1 pocl-opencl-icd clang-14 oclgrind valgrind
    libvulkan-dev mesa-vulkan-drivers vulkan-validationlayers spirv-tools"
command -v dpkg-query >/dev/null 2>&1 || exit 0         # another system: CMake will say what it does not find
missing=""
for p in $need; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then
    sudo=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    sudo="sudo"
else
    echo "Heddle needs packages that are not installed, and this user may not install them. Ask for:"
    echo "    apt install$missing"
    exit 1
fi
echo "installing:$missing"
$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
