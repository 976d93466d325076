#!/bin/sh
# Installs the packages that something needs, on Debian and its kin, if this user may; else names them. Always goes on: what is built
# with what is there says itself what it lacks.
#     packages.sh build | run | test | check          each list has those before it
set -u
build="gcc make cmake pkg-config libsqlite3-dev zlib1g-dev opencl-headers libvulkan-dev"
run="ocl-icd-libopencl1 pocl-opencl-icd mesa-vulkan-drivers"
test="libopenmpi-dev openmpi-bin check libjansson-dev libpng-dev clang-14 libclang-rt-14-dev musl-tools vulkan-validationlayers spirv-tools"
check="mesa-opencl-icd oclgrind valgrind gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
case ${1:-test} in
build) need=$build ;;
run) need="$build $run" ;;
test) need="$build $run $test" ;;
check) need="$build $run $test $check" ;;
*) echo "packages.sh build | run | test | check"; exit 2 ;;
esac
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
    echo "These packages are not installed, and this user may not install them. What needs them is left out. To have it, ask for:"
    echo "    apt install$missing"
    exit 0
fi
echo "installing:$missing"
$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    echo "not all of them could be installed: what needs them is left out"
