/* A picture of a scene that is given by one function, the distance to its surface: a ray for each pixel goes
 * as far as that function says that nothing is near, in a while of its own; the surface's direction is
 * hd_grad of the distance. */
#include <getopt.h>
#include <heddle.h>
#include <stdlib.h>
#ifdef HAVE_PNG
#include <png.h>
#endif

#define RAY(F, S) F(way) F(near) F(steps)
HD_STRUCT(ray, RAY);

static hd vector(double x, double y, double z) { return hd_lit(float, (3), (float)x, (float)y, (float)z); }
static hd unit(hd v) { return hd_div(v, hd_norm(v)); }

static hd ball(hd at, hd centre, double radius) { return hd_sub(hd_norm(hd_sub(at, centre)), hd_c(radius)); }

static hd ring(hd at, double large, double small)
{
    hd x = hd_index(at, 0, 0), y = hd_index(at, 0, 1), z = hd_index(at, 0, 2);
    return hd_sub(hd_hypot(hd_sub(hd_hypot(x, z), hd_c(large)), y), hd_c(small));
}

static hd soft_minimum(hd a, hd b, double width)
{
    return hd_mul_c(hd_logaddexp(hd_div_c(a, -width), hd_div_c(b, -width)), -width);
}

/* f32[3] -> f32[]: a ring with a ball on it over a floor */
static hd distance(hd at)
{
    hd things = soft_minimum(ring(at, 1, 0.3), ball(at, vector(0.9, 0.5, 0.3), 0.4), 0.05);
    return hd_minimum(things, hd_add_c(hd_index(at, 0, 1), 0.5));
}

static hd point(hd from, hd toward, hd way) { return hd_add(from, hd_mul(toward, way)); }

static hd open_air(hd from, hd toward, hd state)
{
    (void)from, (void)toward;
    ray r = hd_unpack(ray, state);
    return hd_and(hd_and(hd_gt(r.near, hd_c(1e-3)), hd_lt(r.way, hd_c(20))), hd_lt(r.steps, hd_c(200)));
}

static hd march(hd from, hd toward, hd state)
{
    ray r = hd_unpack(ray, state);
    r.way = hd_add(r.way, r.near), r.near = distance(point(from, toward, r.way)),
    r.steps = hd_add_c(r.steps, 1);
    return hd_pack(ray, r);
}

static hd follow(hd from, hd toward)                    /* where the ray ends */
{
    hd start = hd_pack(ray,
        { .way = hd_full(hd_c(0.02)),
            .near = distance(point(from, toward, hd_c(0.02))),
            .steps = hd_zeros(HD_I32) });
    return hd_while(hd_partial(open_air, from, toward), hd_partial(march, from, toward), start);
}

/* Light from a lamp far away, less where something is in its way, and a little from everywhere. */
static hd shade(hd at)
{
    hd lamp = unit(vector(0.5, 0.8, -0.4)), up = unit(hd_apply(hd_grad(distance), at));
    ray shadow = hd_unpack(ray, follow(hd_add(at, hd_mul_c(up, 0.01)), lamp));
    hd lit = hd_where(hd_gt(shadow.way, hd_c(10)), hd_maximum_c(hd_dot(up, lamp), 0), hd_c(0));
    return hd_add_c(hd_mul_c(lit, 0.8), 0.1);
}

struct picture { int width, height; };

static hd pixel(hd row, hd column, const void *env)     /* i32[], i32[] -> u8[] */
{
    const struct picture *p = env;
    hd x = hd_div_c(hd_sub(hd_cast(column, HD_F32), hd_c((p->width - 1) / 2.)), p->height / 2.);
    hd y = hd_div_c(hd_sub(hd_c((p->height - 1) / 2.), hd_cast(row, HD_F32)), p->height / 2.);
    hd eye = vector(0, 1.5, -3.5), ahead = unit(vector(0, -1.5, 3.5)), right = vector(1, 0, 0),
       up = hd_cross(ahead, right);
    hd toward = unit(hd_add_all(hd_mul_c(ahead, 1.8), hd_mul(right, x), hd_mul(up, y)));
    ray r = hd_unpack(ray, follow(eye, toward));
    hd light = hd_where(hd_lt(r.way, hd_c(20)), shade(point(eye, toward, r.way)), hd_c(0.05));
    return hd_cast(hd_round(hd_mul_c(hd_clip(light, hd_c(0), hd_c(1)), 255)), HD_U8);
}

static hd render(const void *env)                       /* u8[height,width] */
{
    struct picture p = *(const struct picture *)env;
    hd_fn *line = hd_vmap(hd_bind(pixel, p), .in_axes = { HD_NONE, 0 });
    return hd_apply(
        hd_vmap(line, .in_axes = { 0, HD_NONE }), hd_iota(HD_I32, 0, p.height), hd_iota(HD_I32, 0, p.width));
}

/* As PNG where libpng is there, else as PGM, which most viewers show too. */
static int save(const char *stem, const uint8_t *pixels, const struct picture *p)
{
    char path[256];
#ifdef HAVE_PNG
    png_image image = { .version = PNG_IMAGE_VERSION,
        .width = (png_uint_32)p->width,
        .height = (png_uint_32)p->height,
        .format = PNG_FORMAT_GRAY };
    snprintf(path, sizeof path, "%s.png", stem);
    return png_image_write_to_file(&image, path, 0, pixels, 0, NULL) ? 0 : (perror(path), 1);
#else
    snprintf(path, sizeof path, "%s.pgm", stem);
    FILE *f = fopen(path, "wb");
    int bad = !f || fprintf(f, "P5\n%d %d\n255\n", p->width, p->height) < 0
        || fwrite(pixels, (size_t)p->width, (size_t)p->height, f) < (size_t)p->height;
    bad |= f && fclose(f);
    return bad ? (perror(path), 1) : 0;
#endif
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { "height", 1, NULL, 'n' },
        { "save", 1, NULL, 's' }, { 0 } };
    struct picture p = { 96, 64 };
    hd_array *out = NULL;
    const char *stem = NULL;
    int status = 1;

    for (int k; (k = getopt_long(argc, argv, "d:n:s:", options, NULL)) != -1; )
        if (k == '?' || (k == 'd' && !hd_default_device(optarg)))
            goto fail;
        else if (k == 'n')
            p.height = atoi(optarg), p.width = p.height * 3 / 2;
        else if (k == 's')
            stem = optarg;
    const uint8_t *pixels;
    if (hd_call(hd_bind(render, p), &out) || !(pixels = hd_data(out)))
        goto fail;
    double sum = 0;
    for (int i = 0; i < p.width * p.height; i++)
        sum += pixels[i];
    printf("brightness on average %.2f\n", sum / p.width / p.height);
    for (int y = p.height / 32; y < p.height; y += p.height / 16) {       /* the picture in letters */
        for (int x = p.width / 96; x < p.width; x += p.width / 48)
            putchar(" .:-=+*#%@"[pixels[y * p.width + x] / 26]);
        putchar('\n');
    }
    status = stem ? save(stem, pixels, &p) : 0;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    hd_drop(out);
    return status;
}
