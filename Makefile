# Thin front of CMake. `make` builds with what is there. `make run` shows the guide on every device; `make test` proves it;
# `make check` adds sanitizers and simulators. These three install what is missing on Debian when they may, and otherwise say which
# packages to ask for, and go as far as what is installed allows.
JOBS ?= $(shell nproc)

.NOTPARALLEL:
.PHONY: build run test check bench install-packages clean
build:
	@cmake --preset release >build-cmake.log 2>&1 && rm build-cmake.log || { cat build-cmake.log; exit 1; }
	cmake --build --preset release -j $(JOBS)

run: packages-run build
	build/examples/guide

test: packages-test build
	ctest --preset release -j $(JOBS)

check: packages-check build
	tools/check.sh

# `make bench` runs the yardstick beside JAX, which it installs for itself under build/. NAME=x: only these workloads;
# BASE=FILE.json: compared with the results of before; DEVICE=opencl:0, MIN_TIME=1 (seconds of samples, 0.3); GROWTH=no: without the laws of growth.
bench: packages-test build
	@test -x build/jax/bin/python || python3 -m venv build/jax
	@build/jax/bin/python -c 'import jax' 2>/dev/null || build/jax/bin/pip install -q jax==0.10.2 || \
	    build/jax/bin/pip install -q jax || echo "JAX cannot be installed: Heddle alone is measured"
	build/jax/bin/python bench/compare.py build/bench/bench $(NAME) --out build/bench --min-time $(or $(MIN_TIME),0.3) \
	    $(if $(BASE),--base $(BASE)) $(if $(DEVICE),--device $(DEVICE)) \
	    $(if $(filter no,$(GROWTH)),,--growth build/bench/growth)

install-packages: packages-check
packages-%:
	@tools/packages.sh $*

clean:
	rm -rf build build-debug build-asan build-tsan build-fuzz
