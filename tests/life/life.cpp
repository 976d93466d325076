// Closures of C++ as functions: each holds what it captured until it is forgotten, and lies where others lay before.
#include <heddle.h>

#include <cstdio>
#include <functional>
#include <memory>

static int alive;

struct Closure {
    std::function<hd(const hd *, int)> f;
    explicit Closure(std::function<hd(const hd *, int)> g) : f(std::move(g)) { alive++; }
    Closure(const Closure &) = delete;
    Closure &operator=(const Closure &) = delete;
    ~Closure() { alive--; }
};

static int call(hd *out, const hd *in, int n, void *payload)
{
    *out = static_cast<Closure *>(payload)->f(in, n);
    return 0;
}

struct Forget { void operator()(hd_fn *f) const { hd_forget_n(f); } };
using Function = std::unique_ptr<hd_fn, Forget>;

static Function function(std::function<hd(const hd *, int)> f, const char *name)
{
    return Function(hd_function(call, new Closure(std::move(f)), [](void *p) { delete static_cast<Closure *>(p); }, name));
}

static double at(hd_fn *f, double x)
{
    hd_array *a = hd_array_scalar(HD_F32, x), *y = nullptr;
    if (hd_call_n(f, &y, 1, &a, 1))
        std::fprintf(stderr, "%s\n", hd_error());
    double v = hd_item(y);
    hd_drop(a), hd_drop(y);
    return v;
}

int main()
{
    hd_grad_opts none = {};
    for (int k = 1; k <= 20; k++) {
        Function power = function([k](const hd *x, int) { return hd_integer_pow(x[0], k); }, "power");
        hd_fn *inner = power.get();
        Function twice = function([inner](const hd *x, int) { return hd_apply_n(inner, x, 1); }, "twice");
        if (at(power.get(), 1.5) <= 0 || at(hd_grad_n(twice.get(), &none), 1) != k || alive != 2)
            return std::printf("power %d: %g, %d alive\n", k, at(hd_grad_n(twice.get(), &none), 1), alive), 1;
    }
    if (alive || hd_live())
        return std::printf("%d closures and %lld arrays are left\n", alive, (long long)hd_live()), 1;
    return 0;
}
