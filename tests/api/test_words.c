/*
 * test_words.c - what is said to a program about its mistakes outlives the next ones, and words of
 * HEDDLE_DUMP and HEDDLE_CHECK that mean nothing are told, once.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heddle.h"
#include "suite_run.h"

static const char *failed(int k)
{
    hd_array *a = hd_array_new((enum hd_dtype)(100 + k), HD_INTS(), NULL, NULL);
    ck_assert_ptr_null(a);
    return hd_error();
}

START_TEST(messages_stay)
{
    const char *text[8];
    char want[32];
    for (int turn = 0; turn < 3; turn++) {
        for (int k = 0; k < 8; k++)
            text[k] = failed(k);
        for (int k = 0; k < 8; k++) {
            snprintf(want, sizeof want, "%d is no dtype", 100 + k);
            ck_assert_msg(strstr(text[k], want) != NULL, "%s: %s", want, text[k]);
        }
    }
}
END_TEST

static hd twice(hd x) { return hd_add(x, x); }

START_TEST(unknown_words)
{
    static char b[4096];
    int p[2], status;
    ck_assert(!pipe(p));
    pid_t child = fork();
    if (!child) {
        setenv("HEDDLE_DUMP", "tiem", 1), setenv("HEDDLE_CHECK", "nan,memroy", 1),
            setenv("HEDDLE_DEVICE", "host", 1);
        dup2(p[1], 2), close(p[0]), close(p[1]);
        for (int i = 0; i < 2; i++) {
            hd_array *x = hd_array_scalar(i ? HD_F32 : HD_I32, 1), *r = NULL;
            if (hd_call(twice, &r, x))
                _exit(1);
            hd_drop(x), hd_drop(r);
        }
        exit(0);
    }
    close(p[1]);
    size_t n = 0;
    for (ssize_t k; (k = read(p[0], b + n, sizeof b - 1 - n)) > 0; )
        n += (size_t)k;
    waitpid(child, &status, 0);
    ck_assert_int_eq(status, 0);
    ck_assert_str_eq(b,
        "heddle: HEDDLE_DUMP has no \"tiem\"; there are "
        "trace,graph,prepared,spec,kernel,plan,opencl,spirv,mesh,code,time,counts\n"
        "heddle: HEDDLE_CHECK has no \"memroy\"; there are 1,"
        "trace,graph,prepared,spec,kernel,plan,opencl,spirv,nan,keys,memory,stream,buffers,staging,groups,"
        "narrow,validation\n");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("words");
    TCase *c = tcase_create("messages");
    tcase_add_test(c, messages_stay);
    tcase_add_test(c, unknown_words);
    suite_add_tcase(s, c);
    return suite_run(s);
}
