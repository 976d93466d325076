#!/bin/sh
# What groups of work-items do together, on GPUs in software of 4, 16, 32 and 64 lanes, with races and
# bounds looked for, and on the devices that are here, planned for such a machine: all agree with the host.
#     groups.sh BUILD ROOT
set -u
heddle=$1/tools/heddle root=$2 bad=0
[ -x "$heddle" ] || { echo "skipped: the command is not built"; exit 77; }
machines=$root/tests/backends/machines
devices=kernel
for d in opencl:0 vulkan:0; do
    "$heddle" devices 2>/dev/null | grep -q "^$d" && devices=$devices,$d
done
export HEDDLE_CHECK=1
sim=$machines/lanes4.txt,$machines/lanes16.txt,$machines/lanes32.txt,$machines/lanes64.txt
HEDDLE_SIM=$sim "$heddle" compare "$root"/tests/groups/*.hd \
    --devices sim:lanes4,sim:lanes16,sim:lanes32,sim:lanes64 || bad=1
HEDDLE_MACHINE=$root/machines/gpu32.txt "$heddle" compare "$root"/tests/groups/*.hd \
    --devices "$devices" || bad=1
exit $bad
