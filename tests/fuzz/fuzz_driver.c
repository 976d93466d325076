/*
 * fuzz_driver.c - drives a fuzz target without libFuzzer.
 *
 *     fuzz_text [--count N] [--seed N] [--folder DIR] [FILE...]     each seed, each FILE, N mutations of
 *     seeds
 *     fuzz_text --write DIR [--folder DIR]                          the seeds as files, and their words as
 *     DIR.dict, for libFuzzer
 *
 * Deterministic: an input that breaks the target is left as fuzz-failed here, and comes again with the same
 * numbers.
 */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz_target.h"

enum { MOST = 4096, ROOM = 1 << 16 };
typedef struct Piece { char *p; size_t n; } Piece;
static struct { Piece of[MOST]; int n; } seeds, words;
static uint64_t state;
static char input[ROOM];
static size_t size;
static const char *write_to;

void fuzz_wrong(const char *format, ...)
{
    va_list v;
    va_start(v, format);
    vfprintf(stderr, format, v);
    va_end(v);
    fputc('\n', stderr);
    abort();
}

static void keep(Piece *p, int *n, const void *data, size_t bytes)
{
    if (*n == MOST || !(p[*n].p = malloc(bytes + 1)))
        return;
    memcpy(p[*n].p, data, bytes);
    p[(*n)++].n = bytes;
}

static void take_seed(const void *data, size_t n)
{
    keep(seeds.of, &seeds.n, data, n < ROOM / 2 ? n : ROOM / 2);
}
static void take_word(const void *data, size_t n) { keep(words.of, &words.n, data, n); }

static unsigned draw(size_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return n ? (unsigned)((state >> 33) % n) : 0;
}

/* The n bytes at `at` give way to others. */
static void replace(size_t at, size_t n, const void *data, size_t bytes)
{
    if (size - n + bytes > ROOM)
        return;
    memmove(input + at + bytes, input + at + n, size - at - n);
    memmove(input + at, data, bytes);
    size += bytes - n;
}

static void mutate(void)
{
    char part[256];
    size_t at = draw(size + 1), left = size - at;
    const Piece *other =
        draw(3) && words.n ? &words.of[draw((size_t)words.n)] : &seeds.of[draw((size_t)seeds.n)];
    switch (draw(7)) {
    case 0: if (left) input[at] ^= (char)(1 << draw(8)); break;
    case 1: if (left) input[at] = (char)draw(256); break;
    case 2: replace(at, draw(left < 16 ? left + 1 : 16), "", 0); break;
    case 3: replace(at, draw(2) && left ? 1 : 0, other->p, other->n < 256 ? other->n : 256); break;
    case 4: {
        size_t n = draw(left < sizeof part ? left + 1 : sizeof part);
        memcpy(part, input + at, n);
        replace(draw(size + 1), 0, part, n);
        break;
    }
    case 5: {
        static const char *const numbers[] = { "0", "1", "2", "-1", "65535", "65536", "2147483647",
            "4294967296", "9223372036854775807" };
        const char *s = numbers[draw(sizeof numbers / sizeof *numbers)];
        for (size_t k = 0; k < size && (input[at % size] < '0' || input[at % size] > '9'); k++)
            at++;
        if (size)
            replace(at % size, 1, s, strlen(s));
        break;
    }
    default: size = draw(16) ? size : at; break;
    }
}

/* It crashed, or takes far too long: the input is left behind. */
static void left_behind(int number)
{
    int fd = open("fuzz-failed", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    ssize_t n = write(fd, input, size);
    signal(number, SIG_DFL);
    raise(n < 0 ? SIGABRT : number);
}

static void run_input(void)
{
    char *exact = malloc(size + !size);         /* so that a byte too far is noticed */
    memcpy(exact, input, size);
    alarm(60);
    LLVMFuzzerTestOneInput((const uint8_t *)exact, size);
    alarm(0);
    free(exact);
}

static void run_piece(const Piece *p)
{
    memcpy(input, p->p, size = p->n);
    run_input();
}

static void run_file(const char *name)
{
    FILE *f = fopen(name, "rb");
    if (!f)
        fuzz_wrong("%s cannot be read", name);
    size = fread(input, 1, sizeof input, f);
    fclose(f);
    run_input();
}

static void write_piece(const char *name, const Piece *p)
{
    FILE *f = fopen(name, "wb");
    if (!f || fwrite(p->p, 1, p->n, f) != p->n || fclose(f))
        fuzz_wrong("%s cannot be written", name);
}

/* Seeds as files; words as libFuzzer reads them. */
static void write_all(void)
{
    char name[4096];
    for (int k = 0; k < seeds.n; k++) {
        snprintf(name, sizeof name, "%s/%04d", write_to, k);
        write_piece(name, &seeds.of[k]);
    }
    snprintf(name, sizeof name, "%s.dict", write_to);
    FILE *f = fopen(name, "w");
    if (!f)
        fuzz_wrong("%s cannot be written", name);
    for (int k = 0; k < words.n; k++) {
        fputc('"', f);
        for (size_t i = 0; i < words.of[k].n; i++)
            fprintf(f, "\\x%02x", (unsigned char)words.of[k].p[i]);
        fputs("\"\n", f);
    }
    fclose(f);
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "count", 1, NULL, 'c' }, { "seed", 1, NULL, 's' },
        { "folder", 1, NULL, 'f' }, { "write", 1, NULL, 'w' }, { 0 } };
    static const int ends[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM };
    long count = 0, seed = 1;
    const char *folder = NULL;
    for (int key; (key = getopt_long(argc, argv, "", options, NULL)) != -1; )
        switch (key) {
        case 'c': count = atol(optarg); break;
        case 's': seed = atol(optarg); break;
        case 'f': folder = optarg; break;
        case 'w': write_to = optarg; break;
        default: return 2;
        }
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++)
        signal(ends[k], left_behind);
    fuzz_seeds(folder, take_seed);
    fuzz_words(take_word);
    if (write_to)
        return write_all(), 0;
    for (int k = 0; k < seeds.n; k++)
        run_piece(&seeds.of[k]);
    for (int k = optind; k < argc; k++)
        run_file(argv[k]);
    for (long k = 0; k < count && seeds.n; k++) {
        state = ((uint64_t)seed << 32 | (uint64_t)k) * 0x9E3779B97F4A7C15u;
        const Piece *p = &seeds.of[draw((size_t)seeds.n)];
        memcpy(input, p->p, size = p->n);
        for (unsigned m = 1 + draw(6); m; m--)
            mutate();
        run_input();
    }
    printf("%d seeds, %ld mutations: refused or understood\n", seeds.n, count);
    return 0;
}
