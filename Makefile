# Thin front of CMake. `make run` shows the guide on every device; `make test` proves it; `make check` adds sanitizers and
# simulators. All three install what is missing on Debian when they may, and otherwise say which packages to install.
JOBS ?= $(shell nproc)

# `make bench` runs the yardstick beside JAX, which it installs for itself under build/. NAME=x: only these workloads;
# BASE=FILE.json: compared with the results of before; DEVICE=opencl:0, MIN_TIME=1 (seconds of samples, 0.3); GROWTH=no: without the laws of growth.
.PHONY: run test check bench build install-packages clean
run: build
	build/examples/guide

test: build
	ctest --preset release -j $(JOBS)

check: build
	tools/check.sh

bench: build
	@test -x build/jax/bin/python || python3 -m venv build/jax
	@build/jax/bin/python -c 'import jax' 2>/dev/null || build/jax/bin/pip install -q jax==0.10.2 || \
	    build/jax/bin/pip install -q jax || echo "JAX cannot be installed: Heddle alone is measured"
	build/jax/bin/python bench/compare.py build/bench/bench $(NAME) --out build/bench --min-time $(or $(MIN_TIME),0.3) \
	    $(if $(BASE),--base $(BASE)) $(if $(DEVICE),--device $(DEVICE)) \
	    $(if $(filter no,$(GROWTH)),,--growth build/bench/growth)

build: install-packages
	@cmake --preset release >build-cmake.log 2>&1 && rm build-cmake.log || { cat build-cmake.log; exit 1; }
	cmake --build --preset release -j $(JOBS)

install-packages:
	@tools/packages.sh

clean:
	rm -rf build build-debug build-asan build-tsan
