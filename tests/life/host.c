/*
 * Opens plugins one after the other and prints the last element that each one's functions give at 1, 2, 3,
 * and whether it lay where the first did. A name that begins with '-' is told to forget its functions before
 * it is closed.
 */
#include <dlfcn.h>
#include <heddle.h>
#include <string.h>

typedef hd_fn *make(void);

static double last(hd_fn *f, hd_array *x)
{
    float v[3] = { 0 };
    hd_array *y = NULL;
    if (hd_call(f, &y, x) || hd_array_size(y) > 3 || hd_read(y, v, (size_t)hd_array_size(y)))
        printf("%s ", hd_error());
    double d = v[y ? hd_array_size(y) - 1 : 0];
    hd_drop(y);
    return d;
}

int main(int argc, char **argv)
{
    hd_array *x = hd_array_lit(float, (3), 1, 2, 3), *x1 = hd_array_scalar(HD_F32, 2),
             *x2 = hd_array_lit(float, (2), 1, 2);
    void *first = NULL;
    hd_fn *f = NULL;
    for (int i = 1; i < argc; i++) {
        bool leaves = *argv[i] == '-';
        void *l = dlopen(argv[i] + leaves, RTLD_NOW);
        make *plain = l ? (make *)(size_t)dlsym(l, "plain") : NULL,
             *bound = l ? (make *)(size_t)dlsym(l, "bound") : NULL;
        if (!l)
            return puts(dlerror()), 1;
        f = plain();
        first = first ? first : dlsym(l, "plain");
        printf("%g %g%s\n", last(f, x), last(bound(), x1), first == dlsym(l, "plain") ? "" : " elsewhere");
        if (leaves)
            ((void (*)(void))(size_t)dlsym(l, "leave"))();
        dlclose(l);
    }
    /* The last one's function is not there any more; what was compiled is, unless it was forgotten. */
    hd_array *y = NULL;
    int code = hd_call(f, &y, x2);
    printf("%d %s\n", code, hd_error());
    hd_drop(y), hd_drop(x), hd_drop(x1), hd_drop(x2);
    return hd_live() != 0;
}
