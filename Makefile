# Thin front of CMake. `make run` shows the guide on every device; `make test` proves it; `make check` adds sanitizers and
# simulators. All three install what is missing on Debian when they may, and otherwise say which packages to install.
JOBS ?= $(shell nproc)

.PHONY: run test check build install-packages clean
run: build
	build/examples/guide

test: build
	ctest --preset release

check: build
	tools/check.sh

build: install-packages
	@cmake --preset release >build-cmake.log 2>&1 && rm build-cmake.log || { cat build-cmake.log; exit 1; }
	cmake --build --preset release -j $(JOBS)

install-packages:
	@tools/packages.sh

clean:
	rm -rf build build-debug build-asan build-tsan
