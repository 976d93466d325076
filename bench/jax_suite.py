#!/usr/bin/env python3
"""The workloads of bench/workloads_*.c in JAX: the same mathematics, inputs and order of results.

    jax_suite.py [NAME ...] [--min-time S]      one JSON object a workload on stdout
    jax_suite.py --reference                    what results must add up to, computed in double: checksums.jsonl
    jax_suite.py --serve                        reads lines "NAME SECONDS", answers with one object each (compare.py)

A case is (function, arguments). The function is jitted unless it is marked as the host's own loop.
"""
import argparse
import json
import math
import resource
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random

REAL = np.float32           # double under --reference
M16, M20 = 1 << 24, 1 << 20
CASES = {}


def case(*names, **sized):
    """Registers a maker under names; sized ones are called with what they are given."""
    def register(make):
        for name in names:
            CASES[name] = lambda: make()
        for name, given in sized.items():
            CASES[name] = lambda given=given: make(*given)
        return make
    return register


# ---- inputs

def mix(k, n):
    h = np.arange(n, dtype=np.uint32) + np.uint32(k * 0x9E3779B9 % 2**32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        h = (h ^ (h >> np.uint32(shift))) * np.uint32(factor)
    return h ^ (h >> np.uint32(16))


def A(k, *dims, r=1.0, c=0.0):
    unit = (mix(k, math.prod(dims)) >> np.uint32(8)).astype(np.float64) * 2.0**-23 - 1.0
    return (c + r * unit).astype(np.float32).astype(REAL).reshape(dims)


def D(k, n, m):
    return A(k, n, m, r=math.sqrt(3 / n))


def Z(k, below, *dims):
    return (mix(k, math.prod(dims)) % np.uint32(below)).astype(np.int32).reshape(dims)


def lit(*values):
    return np.array(values, np.float32).astype(REAL)


def seed(s):
    return np.array([0, s], np.uint32)


def layers(*sizes):
    return [(D(10 + i, n, m), A(30 + i, m, r=.1)) for i, (n, m) in enumerate(zip(sizes, sizes[1:]))]


# ---- shared parts

def perceptron(params, x, act):
    for i, (w, b) in enumerate(params):
        x = x @ w + b
        if i + 1 < len(params):
            x = act(x)
    return x


def xent(z, label):
    return jax.nn.logsumexp(z) - z[label]


def mean_xent(z, labels):
    return jnp.mean(jax.vmap(xent)(z, labels))


def normalise(x, gain, shift):
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gain + shift


def conv(x, w, groups=1):
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
                                    feature_group_count=groups)


def vjp_of(f):
    return lambda *a: jax.vjp(f, *a[:-1])[1](a[-1])


# ---- guide

@case(predict_s=(3,), predict_1m=(M20,))
def predict(n):
    def f(p, x):
        z = x @ p["w"] + p["b"]
        return jnp.stack([z, jax.nn.sigmoid(z)])
    x = lit([1, 2], [2.5, -1], [-.25, .75]) if n == 3 else A(1, n, 2, r=3)
    return jax.vmap(f, (None, 0)), (dict(w=lit(1.5, -.5), b=REAL(.25)), x)


@case(scaled_loss_s=(2, 2), scaled_loss_256k=(1 << 18, 64))
def scaled_loss(n, d):
    data = (lit([.2, .8], [.6, .4]), lit([0, 1], [1, 0])) if n == 2 else (A(1, n, d), A(2, n, d))
    return jax.vmap(lambda s, p, t: s * jnp.sum((p - t)**2), (None, 0, 0)), (REAL(.5), *data)


@case(normalize_s=(2, 28, 0), normalize_last_s=(2, 28, -1), normalize_256=(256, 224, 0), normalize_last_256=(256, 224, -1))
def normalize(n, h, out):
    return jax.vmap(lambda x: (x - x.mean()) / x.std(), out_axes=out), (A(1, n, h, h, r=2, c=.5),)


@case(pairwise_s=(3, 2), pairwise_3=(2048, 3), pairwise_64=(2048, 64))
def pairwise(n, d):
    far = lambda x, y: jnp.sqrt(jnp.sum((x - y)**2))
    data = (lit([0, 0], [1, 0], [0, 1]), lit([0, 0], [1, 1])) if n == 3 else (A(1, n, d), A(2, n, d))
    return jax.vmap(jax.vmap(far, (None, 0)), (0, None)), data


@case(pergrad_s=(3,), pergrad_1m=(M20,))
def pergrad(n):
    def loss(p, x, y):
        z = x @ p["w"] + p["b"]
        return jnp.mean(-y * jax.nn.log_sigmoid(z) - (1 - y) * jax.nn.log_sigmoid(-z))
    if n == 3:
        x, y = lit([1, 0], [.5, 1.5], [2, -1]), lit([1, 0, 1], [0, 1, 0], [1, 0, 1])
    else:
        x, y = A(1, n, 2, r=3), (mix(2, 3 * n) % 2).astype(REAL).reshape(n, 3)
    return jax.vmap(jax.grad(loss), (None, 0, 0)), (dict(w=lit(1, -2), b=REAL(np.float32(.3))), x, y)


@case(pergrad_mlp=(False,), pergrad_clip=(True,))
def pergrad_mlp(clip):
    gradient = jax.grad(lambda p, x, y: xent(perceptron(p, x, jnp.tanh), y))

    def clipped(p, x, y):
        g = gradient(p, x, y)
        norm = jnp.sqrt(sum(jnp.sum(v**2) for v in jax.tree.leaves(g)))
        return jax.tree.map(lambda v: v / jnp.maximum(1, norm), g)

    each = jax.vmap(clipped if clip else gradient, (None, 0, 0))
    total = lambda *a: jax.tree.map(lambda v: v.sum(0), each(*a))
    return total if clip else each, (layers(32, 64, 10), A(1, 4096, 32, r=1.7), Z(2, 10, 4096))


@case(jacrev_s=(jax.jacrev, 3), jacrev_512=(jax.jacrev, 512), jacfwd_512=(jax.jacfwd, 512))
def jacobian(transform, n):
    return transform(jax.nn.softmax), (lit(1, 0, -1) if n == 3 else A(1, n, r=3),)


@case(hessian_s=(3, 4), hessian_4096=(4096, 16))
def hessian(n, d):
    f = lambda w, x: jnp.sum(jnp.log(jnp.cosh(w @ x)))
    return jax.vmap(jax.hessian(f, 1), (None, 0)), (A(1, d, d), A(2, n, d))


@case(dropout_s=(4, 5), dropout_4m=(4096, 1024))
def dropout(n, d):
    row = lambda k, x: random.bernoulli(k, np.float32(.9), x.shape) * x / .9
    return (lambda k, x: jax.vmap(row)(random.split(k, n), x)), (seed(42), np.ones((n, d), REAL) if n == 4 else A(1, n, d))


def rnn_case(T, H, d, B, gradient):
    def run(p, xs):
        def cell(h, x):
            h = jnp.tanh(h @ p[0] + x @ p[1] + p[2])
            return h, h
        return lax.scan(cell, jnp.zeros(H, REAL), xs)[1]
    batch = jax.vmap(run, (None, 0))
    loss = jax.grad(lambda p, x: jnp.mean(batch(p, x)**2))
    return loss if gradient else batch, ((D(1, H, H), D(2, d, H), A(3, H, r=.1)), A(4, B, T, d))


for _name, _dims in dict(rnn_s=(8, 8, 4, 4), rnn_h8=(256, 8, 8, 64), rnn=(256, 128, 64, 64)).items():
    case(**{_name: (*_dims, False), _name + "_grad": (*_dims, True)})(rnn_case)


# ---- kernels

def erf_gelu(u):
    return u / 2 * (1 + lax.erf(u * math.sqrt(.5)))


@case(saxpy_16m=(lambda x, y: 2 * x + y, 2), exp_16m=(jnp.exp, 1), tanh_16m=(jnp.tanh, 1), erf_16m=(lax.erf, 1),
      gelu_16m=(lambda x: .5 * erf_gelu(2 * x + .1) - x, 1), sum_16m=(jnp.sum, 1), cumsum_16m=(jnp.cumsum, 1))
def flat(f, n):
    return f, tuple(A(k + 1, M16, r=3) for k in range(n))


@case(softmax=(jax.nn.softmax,), logsumexp=(lambda x: jax.nn.logsumexp(x, -1),))
def rows(f):
    return f, (A(1, 4096, 1024, r=3),)


@case(layernorm=(False,), layernorm_grad=(True,))
def layernorm(gradient):
    data = A(1, 4096, 1024, r=2, c=.5), A(2, 1024, r=.5, c=1), A(3, 1024, r=.1)
    return (vjp_of(normalise), (*data, A(4, 4096, 1024))) if gradient else (normalise, data)


@case("transpose_4096")
def transpose():
    return jnp.transpose, (A(1, 4096, 4096),)


@case(gemm_256=(256,) * 3, gemm_512=(512,) * 3, gemm_1024=(1024,) * 3, gemm_2048=(2048,) * 3, gemm_skinny=(1 << 18, 32, 32))
def gemm(m, k, n):
    return jnp.matmul, (A(1, m, k), D(2, k, n))


@case("gemm_gelu_1024")
def gemm_gelu(n=1024):
    return (lambda a, b, c: jax.nn.gelu(a @ b + c)), (A(1, n, n), D(2, n, n), A(3, n))


@case("gram_256k")
def gram():
    return (lambda a: a.T @ a), (A(1, 1 << 18, 32),)


@case("bmm_512")
def bmm():
    return jax.vmap(jnp.matmul), (A(1, 512, 64, 64), A(2, 512, 64, 64, r=.2))


@case("matvec_4096")
def matvec(n=4096):
    return jnp.matmul, (D(1, n, n), A(2, n))


@case(conv3x3=(1, False), conv3x3_grad=(1, True), dwconv3x3=(64, False))
def conv3x3(groups, gradient):
    f = lambda x, w: conv(x, w, groups)
    shape = 32, 56, 56, 64
    data = A(1, *shape), A(2, 3, 3, 64 // groups, 64, r=math.sqrt(groups / 192))
    return (vjp_of(f), (*data, A(3, *shape))) if gradient else (f, data)


@case(sort_1m=(M20,), sort_rows=(1024, 1024))
def sort(*dims):
    return jnp.sort, (A(1, *dims),)


@case("gather")
def gather():
    return (lambda t, i: t[i]), (A(1, 100000, 64), Z(2, 100000, 65536))


@case("scatter_add")
def scatter_add():
    return (lambda t, i, u: t.at[i].add(u)), (*gather()[1], A(3, 65536, 64))


@case(random_bits_16m=(lambda k: random.bits(k, (M16,), jnp.uint32),),
      uniform_16m=(lambda k: random.uniform(k, (M16,), jnp.float32),),
      normal_16m=(lambda k: random.normal(k, (M16,), jnp.float32),))
def numbers(f):
    return f, (seed(0),)


# ---- numeric

@case(fft_1m=(jnp.fft.fft, M20), fft2_1024=(jnp.fft.fft2, 1024, 1024))
def fft(f, *dims):
    return (lambda re, im: f(lax.complex(re, im))), (A(1, *dims), A(2, *dims))


@case("rfft_rows")
def rfft():
    return jnp.fft.rfft, (A(1, 4096, 1024),)


@case("complex_512")
def complex_product(n=512):
    return (lambda a, b, c, d: lax.complex(a, b) @ lax.complex(c, d)), (A(1, n, n), A(2, n, n), D(3, n, n), D(4, n, n))


def heavy(a):
    return a + 4 * jnp.eye(a.shape[-1], dtype=a.dtype)


def matrices(count, n):
    return A(1, count, n, n, r=1 / math.sqrt(n))


@case(cholesky_8=(100000, 8), cholesky_512=(8, 512))
def cholesky(count, n):
    return (lambda a: jnp.linalg.cholesky(heavy(a))), (matrices(count, n),)


@case(solve_8=(100000, 8), solve_512=(8, 512))
def solve(count, n):
    return (lambda a, b: jnp.linalg.solve(heavy(a), b)), (matrices(count, n), A(2, count, n, 1))


@case("svd_64")
def svd():
    def f(a):
        u, s, v = jnp.linalg.svd(a, full_matrices=False)
        return abs(u), s, abs(v)
    return f, (matrices(256, 64),)


def strided(stride, groups=1):
    return lambda x, w: lax.conv_general_dilated(x, w, (stride, stride), "SAME", feature_group_count=groups,
                                                 dimension_numbers=("NHWC", "HWIO", "NHWC"))


@case(conv1x1=(1, 1, 64, 256), conv3x3_s2=(3, 2, 128, 128))
def conv_resnet(k, stride, c, m):
    return strided(stride), (A(1, 32, 56, 56, c), A(2, k, k, c, m, r=math.sqrt(3 / (k * k * c))))


@case("dwconv5x5")
def dwconv():
    return strided(1, 64), (A(1, 32, 56, 56, 64), A(2, 5, 5, 1, 64, r=math.sqrt(3 / 25)))


@case("max_pool_grad")
def max_pool_grad():
    pool = lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
    return (lambda x, ct: jax.vjp(pool, x)[1](ct)[0]), (A(1, 32, 56, 56, 64), A(2, 32, 28, 28, 64))


# ---- control

@case("mandelbrot")
def mandelbrot(n=1024):
    def escape(cr, ci):
        more = lambda s: (s[2] < 200) & (s[0] * s[0] + s[1] * s[1] <= 4)
        step = lambda s: (s[0] * s[0] - s[1] * s[1] + cr, 2 * s[0] * s[1] + ci, s[2] + 1)
        return lax.while_loop(more, step, (cr * 0, cr * 0, 0))[2]
    axis = lambda start: ((np.arange(n) + .5) * (2.5 / n) + start).astype(np.float32).astype(REAL)
    return jax.vmap(jax.vmap(escape, (0, None)), (None, 0)), (axis(-2), axis(-1.25))


@case("collatz_1m")
def collatz():
    def f(m):
        more = lambda s: (s[0] != 1) & (s[1] < 1000)
        step = lambda s: (jnp.where(s[0] & 1, 3 * s[0] + 1, s[0] >> 1), s[1] + 1)
        return lax.while_loop(more, step, (m, 0))[1]
    return jax.vmap(f), (np.arange(1, M20 + 1, dtype=np.uint32),)


@case("newton_1m")
def newton():
    def f(a):
        more = lambda s: (jnp.abs(s[0]**2 - a) > 1e-6 * a) & (s[1] < 60)
        return lax.while_loop(more, lambda s: (.5 * (s[0] + a / s[0]), s[1] + 1), (a, 0))
    return jax.vmap(f), (A(1, M20, r=500, c=500.01),)


@case("rare_branch")
def rare_branch():
    slow = lambda x: lax.fori_loop(0, 500, lambda _, y: y * (1.5 - .5 * (1 + x) * y * y), x)
    return jax.vmap(lambda x: lax.cond(x > 31 / 32, slow, jnp.square, x)), (A(1, M20),)


@case("logistic_10k")
def logistic():
    f = lambda r, x: lax.fori_loop(0, 10000, lambda _, x: r * x * (1 - x), x)
    return jax.vmap(f), (A(1, 4096, r=.4, c=3), A(2, 4096, r=.4, c=.5))


@case("lorenz_rk4")
def lorenz(n=4096, dt=.002):
    def f(start, rho):
        slope = lambda s: (10 * (s[1] - s[0]), s[0] * (rho - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2])
        along = lambda s, h, d: tuple(u + h * v for u, v in zip(s, d))

        def step(_, s):
            a = slope(s)
            b = slope(along(s, dt / 2, a))
            c = slope(along(s, dt / 2, b))
            d = slope(along(s, dt, c))
            return along(s, dt / 6, along(along(along(a, 2, b), 2, c), 1, d))
        return lax.fori_loop(0, 1000, step, start)
    start = A(1, n, c=1), A(2, n, c=1), A(3, n, c=20)
    return jax.vmap(f), (start, A(4, n, r=2, c=28))


@case(hodgkin_huxley=(False,), hodgkin_huxley_grad=(True,))
def nerve(gradient):
    def q(x):
        small = jnp.abs(x) < 1e-3
        safe = jnp.where(small, 1, x)
        return jnp.where(small, 1 + x / 2, safe / (1 - jnp.exp(-safe)))

    def cell(g, current):
        def step(s, _):
            v, m, h, n = s
            move = lambda x, opens, closes: x + .01 * (opens * (1 - x) - closes * x)
            i = g[0] * m**3 * h * (v - 50) + g[1] * n**4 * (v + 77) + g[2] * (v + 54.387)
            return (v + .01 * (current - i),
                    move(m, q((v + 40) / 10), 4 * jnp.exp(-(v + 65) / 18)),
                    move(h, .07 * jnp.exp(-(v + 65) / 20), 1 / (1 + jnp.exp(-(v + 35) / 10))),
                    move(n, .1 * q((v + 55) / 10), .125 * jnp.exp(-(v + 65) / 80))), None
        return lax.scan(step, tuple(jnp.asarray(v, REAL) for v in (-65, .05, .6, .32)), None, length=1000)[0]

    cells = jax.vmap(cell, (None, 0))
    loss = jax.grad(lambda g, i: jnp.mean(cells(g, i)[0]), (0, 1))
    return loss if gradient else cells, (tuple(REAL(v) for v in (120, 36, .3)), A(1, 1024, r=5, c=7))


@case("nbody")
def nbody(n=1024, dt=1e-3):
    def pull(a, b):
        d = b - a
        r2 = jnp.sum(d * d) + .01
        return d * (lax.rsqrt(r2) / r2)

    def step(_, s):
        p, v = s
        force = jax.vmap(lambda a: jax.vmap(lambda b: pull(a, b))(p).sum(0))(p)
        v = v + dt / n * force
        return p + dt * v, v
    return (lambda p, v: lax.fori_loop(0, 100, step, (p, v))), (A(1, n, 3), A(2, n, 3, r=.1))


@case("heat2d")
def heat2d():
    def step(_, u):
        around = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
        return u.at[1:-1, 1:-1].add(.2 * (around - 4 * u[1:-1, 1:-1]))
    return (lambda u: lax.fori_loop(0, 200, step, u)), (A(1, 512, 512),)


@case("metropolis")
def metropolis(n=4096, steps=1000):
    energy = lambda x: x * x * (x * x - 2)

    def chain(key, x):
        def step(t, s):
            x, moved, total = s
            u = random.uniform(random.fold_in(key, t), (2,), jnp.float32).astype(REAL)
            y = x + 2 * u[0] - 1
            take = u[1] < jnp.exp(energy(x) - energy(y))
            x = jnp.where(take, y, x)
            return x, moved + take, total + x * x
        _, moved, total = lax.fori_loop(0, steps, step, (x, 0, jnp.zeros((), REAL)))
        return moved, total / steps
    return (lambda k, x: jax.vmap(chain)(random.split(k, n), x)), (seed(7), A(1, n))


@case("kalman")
def kalman():
    F, eye = np.eye(4, dtype=REAL) + REAL(.1) * np.eye(4, k=2, dtype=REAL), np.eye(4, dtype=REAL)

    def run(r, ys):
        def step(s, y):
            x, p = F @ s[0], F @ s[1] @ F.T + .01 * eye
            a, b, d = p[0, 0] + r, p[0, 1], p[1, 1] + r
            gain = p[:, :2] @ (jnp.array([[d, -b], [-b, a]]) / (a * d - b * b))
            x = x + gain @ (y - x[:2])
            return (x, p - gain @ p[:2]), x
        return lax.scan(step, (jnp.zeros(4, REAL), jnp.asarray(eye)), ys)[1]
    return jax.vmap(run), (A(1, 256, r=.4, c=.5), A(2, 256, 1000, 2))


# ---- models

def trained(loss):
    def step(params, *data):
        value, g = jax.value_and_grad(loss)(params, *data)
        return value, jax.tree.map(lambda p, d: p - .1 * d, params, g)
    return step


@case("mlp_step")
def mlp_step():
    loss = lambda p, x, y: mean_xent(perceptron(p, x, jax.nn.relu), y)
    return trained(loss), (layers(784, 512, 256, 10), A(1, 128, 784), Z(2, 10, 128))


@case("cnn_step")
def cnn_step():
    def loss(p, x, y):
        for w, b in p["conv"]:
            x = jax.nn.relu(conv(x, w) + b)
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return mean_xent(perceptron(p["mlp"], x.reshape(len(x), -1), jax.nn.relu), y)
    taps = lambda k, n, m: (A(k, 3, 3, n, m, r=math.sqrt(3 / (9 * n))), A(k + 1, m, r=.1))
    params = dict(conv=[taps(3, 1, 32), taps(5, 32, 64)], mlp=layers(3136, 128, 10))
    return trained(loss), (params, A(1, 32, 28, 28, 1), Z(2, 10, 32))


@case("resblock_grad")
def resblock_grad(c=64):
    def norm(x, a, b):
        return (x - x.mean((0, 1, 2))) * lax.rsqrt(x.var((0, 1, 2)) + 1e-5) * a + b

    def loss(p, x):
        y = jax.nn.relu(norm(conv(x, p["w1"]), p["a1"], p["b1"]))
        return jnp.mean(jax.nn.relu(x + norm(conv(y, p["w2"]), p["a2"], p["b2"]))**2)
    taps = lambda k: A(k, 3, 3, c, c, r=math.sqrt(3 / (9 * c)))
    params = dict(w1=taps(2), w2=taps(3), a1=A(4, c, r=.5, c=1), b1=A(5, c, r=.1), a2=A(6, c, r=.5, c=1), b2=A(7, c, r=.1))
    return jax.grad(loss, (0, 1)), (params, A(1, 32, 28, 28, c))


def lstm_cell(p, s, x):
    i, f, g, o = jnp.split(x @ p["wx"] + s[0] @ p["wh"] + p["b"], 4, -1)
    c = jax.nn.sigmoid(f) * s[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def gru_cell(p, s, x):
    xr, xz, xn = jnp.split(x @ p["wx"] + p["b"], 3, -1)
    hr, hz, hn = jnp.split(s[0] @ p["wh"], 3, -1)
    z = jax.nn.sigmoid(xz + hz)
    return (1 - z) * jnp.tanh(xn + jax.nn.sigmoid(xr + hr) * hn) + z * s[0],


@case(lstm=(lstm_cell, 4, 2, False), lstm_grad=(lstm_cell, 4, 2, True), gru=(gru_cell, 3, 1, False), gru_grad=(gru_cell, 3, 1, True))
def gated(cell, gates, states, gradient, T=64, B=32, H=256):
    def run(p, xs):
        def step(s, x):
            s = cell(p, s, x)
            return s, s[0]
        return lax.scan(step, (jnp.zeros((B, H), REAL),) * states, xs)[1]
    loss = jax.value_and_grad(lambda p, xs: jnp.mean(run(p, xs)**2))
    params = dict(wx=D(1, H, gates * H), wh=D(2, H, gates * H), b=A(3, gates * H, r=.1))
    return loss if gradient else run, (params, A(4, T, B, H))


def attend(q, k, v, mask=None):
    s = jnp.einsum("bhqd,bhkd->bhqk", q, k) * (1 / math.sqrt(q.shape[-1]))
    return jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(s if mask is None else jnp.where(mask, s, -1e9)), v)


@case("attention")
def attention():
    return attend, tuple(A(k, 8, 8, 512, 64, r=1.7) for k in (1, 2, 3))


@case(transformer=(False,), transformer_grad=(True,))
def transformer(gradient, b=4, t=128, d=256, h=8):
    mask = np.tril(np.ones((t, t), bool))

    def block(p, x):
        y = normalise(x, p["g1"], p["c1"]) @ p["wqkv"]
        q, k, v = (z.reshape(b, t, h, d // h).transpose(0, 2, 1, 3) for z in jnp.split(y, 3, -1))
        x = x + attend(q, k, v, mask).transpose(0, 2, 1, 3).reshape(b, t, d) @ p["wo"]
        y = jax.nn.gelu(normalise(x, p["g2"], p["c2"]) @ p["w1"] + p["b1"])
        return x + y @ p["w2"] + p["b2"]
    params = dict(wqkv=D(1, d, 3 * d), wo=D(2, d, d), w1=D(3, d, 4 * d), b1=A(4, 4 * d, r=.1), w2=D(5, 4 * d, d), b2=A(6, d, r=.1),
                  g1=A(7, d, r=.5, c=1), c1=A(8, d, r=.1), g2=A(9, d, r=.5, c=1), c2=A(10, d, r=.1))
    loss = jax.value_and_grad(lambda p, x: jnp.mean(block(p, x)**2))
    return loss if gradient else block, (params, A(11, b, t, d, r=1.7))


@case("dlrm_grad")
def dlrm(n=2048, fields=8, rows=100000, d=32):
    def loss(p, idx, x, y):
        flat = p["table"][idx].reshape(n, fields * d)
        return mean_xent(perceptron(p["mlp"], jnp.concatenate([flat, x], 1), jax.nn.relu), y)
    params = dict(table=A(1, rows, d), mlp=layers(fields * d + 16, 128, 16))
    return jax.value_and_grad(loss), (params, Z(2, rows, n, fields), A(3, n, 16), Z(4, 16, n))


# ---- latency

def host(f):
    f.host = True
    return f


def wave(x):
    return .9 * jnp.sin(x) + .1


@case("lat_one")
def lat_one():
    return (lambda x: x + 1), (A(1, 1),)


@case("lat_args100")
def lat_args():
    return (lambda xs: [x + 1 for x in xs]), ([A(k, 16) for k in range(100)],)


@case("lat_chain100")
def lat_chain():
    def f(x):
        for _ in range(100):
            x = wave(x)
        return x
    return f, (A(1, 16),)


@case(lat_calls100=(False,), lat_calls100_sync=(True,))
def lat_calls(wait):
    one = jax.jit(wave)

    def f(x):
        for _ in range(100):
            x = one(x)
            if wait:
                x.block_until_ready()
        return x
    return host(f), (A(1, 16),)


@case("lat_scan1000")
def lat_scan():
    f = lambda w, b, x: lax.scan(lambda x, _: (jnp.tanh(w @ x + b), None), x, None, length=1000)[0]
    return f, (A(1, 8, 8, r=.5), A(2, 8, r=.5), A(3, 8))


@case(compile_mlp=("mlp_step",), compile_transformer=("transformer_grad",), compile_rnn=("rnn_grad",))
def compiling(name):
    f, args = CASES[name]()

    def fresh(*a):
        jax.clear_caches()
        return jax.jit(lambda *b: f(*b))(*a)
    return host(fresh), args


# ---- running

def processor():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_stime, u.ru_stime + u.ru_utime


def checksum(out):
    leaves = [np.asarray(v) for v in jax.tree.leaves(out)]
    leaves = [np.stack([v.real, v.imag], -1) if np.iscomplexobj(v) else v for v in leaves]
    flat = np.concatenate([v.astype(np.float64).ravel() for v in leaves])
    n = flat.size
    return dict(n=n, sum=float(flat.sum()), abs=float(np.abs(flat).sum()), elems=[float(flat[k]) for k in (0, n // 3, 2 * n // 3, n - 1)])


class Prepared:
    """A workload that has run once, with empty caches."""

    def __init__(self, name):
        f, args = CASES[name]()
        self.name, self.args = name, jax.block_until_ready(jax.device_put(args))
        jax.clear_caches()
        self.call = f if hasattr(f, "host") else jax.jit(lambda *a: f(*a))
        start = time.perf_counter()
        self.out = jax.block_until_ready(self.call(*self.args))
        self.first = 1e3 * (time.perf_counter() - start)
        self.sums = checksum(self.out)
        del self.out

    def steady(self, seconds):
        """Two calls to warm up, then at least five and as many as fit; each waited for."""
        for _ in range(2):
            jax.block_until_ready(self.call(*self.args))
        ms, stop, (sys0, all0) = [], time.perf_counter() + seconds, processor()
        while len(ms) < 5 or (time.perf_counter() < stop and len(ms) < 2000):
            start = time.perf_counter()
            jax.block_until_ready(self.call(*self.args))
            ms.append(1e3 * (time.perf_counter() - start))
        sys1, all1 = processor()
        return dict(name=self.name, min_ms=min(ms), median_ms=statistics.median(ms), sys_ms=1e3 * (sys1 - sys0) / len(ms),
                    cpu_ms=1e3 * (all1 - all0) / len(ms), first_call_ms=self.first, **self.sums)


def serve():
    held = None
    for line in sys.stdin:
        name, seconds = line.split()
        try:
            if held is None or held.name != name:
                held = None
                held = Prepared(name)
            row = held.steady(float(seconds))
        except Exception as e:                          # one workload must not end the others
            held, row = None, dict(name=name, failed=str(e).split("\n")[0])
        print(json.dumps(row), flush=True)


def reference():
    global REAL
    jax.config.update("jax_enable_x64", True)
    REAL = np.float64
    for name in CASES:
        if not name.startswith("compile_"):
            print(json.dumps(dict(name=name, **Prepared(name).sums)), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("names", nargs="*")
    p.add_argument("--min-time", type=float, default=1)
    p.add_argument("--serve", action="store_true")
    p.add_argument("--reference", action="store_true")
    a = p.parse_args()
    if a.serve:
        return serve()
    if a.reference:
        return reference()
    for name in a.names or CASES:
        if name not in CASES:
            sys.exit(f"no workload {name}")
        print(json.dumps(Prepared(name).steady(a.min_time)), flush=True)


if __name__ == "__main__":
    main()
