/*
 * error.c - the thread's message: what went wrong, where, and inside which functions and transforms.
 *
 * base.c keeps the first error of the thread. Here it gets the frames around it ("in cell, scanned at
 * rnn.c:51"), taken down once, at the first frame that is left after the error; and a life: an error of
 * which the program has been told, by a code or by hd_error(), gives way to the next, one that is still on
 * its way to a call does not.
 */
#include "api.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local Context *frames;
static _Thread_local char *message;             /* the text with its frames; NULL: not composed */
static _Thread_local bool told;

/* Messages that gave way, the last of them: what hd_error() returned is still read in the same
 * expression. */
enum { PAST = 8 };
typedef struct Past { char *text[PAST]; int turn; } Past;
static _Thread_local Past past;

static pthread_key_t at_exit;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void past_free(void *p)                  /* when the thread ends */
{
    for (int i = 0; i < PAST; i++)
        free(((Past *)p)->text[i]), ((Past *)p)->text[i] = NULL;
}

static void make_key(void) { pthread_key_create(&at_exit, past_free); }

static void message_set(char *s)
{
    pthread_once(&once, make_key);
    message = s;
    if (!s)
        return;
    free(past.text[past.turn]);
    past.text[past.turn] = s;
    past.turn = (past.turn + 1) % PAST;
    pthread_setspecific(at_exit, &past);
}

static void forget(void)
{
    error_clear();
    message_set(NULL);
    told = false;
}

/* Does the message begin with this place already? */
static bool named(Loc l)
{
    char b[512];
    int n = snprintf(b, sizeof b, "%s:%d: ", l.file ? l.file : "", l.line);
    return l.file && n > 0 && n < (int)sizeof b && !strncmp(error_text(), b, (size_t)n);
}

enum { FRAMES_SHOWN = 12 };

static void compose(void)
{
    Text t = { 0 };
    text_add(&t, "%s", error_text());
    if (!t.s)
        return;                                 /* no memory: what error_text() has is told */
    int n = 0;
    for (const Context *f = frames; f; f = f->up) {
        if (f->verb ? named(f->loc) : !f->name)
            continue;
        if (n++ >= FRAMES_SHOWN)
            continue;
        text_add(&t, "%s", n > 1 ? ", " : "  (");
        if (!f->verb)
            text_add(&t, "in %s", f->name);
        else if (f->loc.file)
            text_add(&t, "%s at %s:%d", f->verb, f->loc.file, f->loc.line);
        else
            text_add(&t, "%s", f->verb);
    }
    if (n > FRAMES_SHOWN)
        text_add(&t, ", and %d more around it", n - FRAMES_SHOWN);
    if (n)
        text_add(&t, ")");
    message_set(text_take(&t));
}

void context_push(Context *f, const char *verb, const char *name, Loc loc)
{
    *f = (Context){ verb, name, loc, frames };
    frames = f;
}

void context_pop(Context *f)
{
    if (error_pending() && !message)
        compose();
    frames = f->up;
}

void error_begin(void)
{
    if (told && !trace_top)
        forget();
}

void error_forget(void)
{
    if (!trace_top)
        forget();
}

int no_memory(size_t bytes) { return error_set(E_NOMEM, "out of host memory: %zu bytes", bytes); }

int error_told(int code)
{
    if (code && !trace_top)
        told = true;
    return code;
}

int error_pass(void)
{
    if (!error_pending())
        error_set(E_INVAL, "an argument is NULL");
    return error_told((int)error_code());
}

const char *hd_error(void)
{
    if (!error_pending())
        return "";
    if (!message)
        compose();
    told = !trace_top;
    return message ? message : error_text();    /* no memory for the frames around it */
}

int hd_error_code(void) { return (int)error_code(); }

hd hd_fail(const char *format, ...)
{
    OP(hd_fail);
    char *s = NULL;
    if (!format)
        format = "hd_fail: no reason is given";
    va_list v;
    va_start(v, format);
    int n = vsnprintf(NULL, 0, format, v);
    va_end(v);
    if (n >= 0 && (s = malloc((size_t)n + 1))) {
        va_start(v, format);
        vsnprintf(s, (size_t)n + 1, format, v);
        va_end(v);
    }
    error_begin();
    error_set(E_INVAL, "%s", s ? s : format);
    free(s);
    return HD_NIL;
}

bool hd_ok(hd x) { return x.trace != 0; }

const char *hd_version(void)
{
#define TEXT(x) TEXT_(x)
#define TEXT_(x) #x
    return TEXT(HD_VERSION_MAJOR) "." TEXT(HD_VERSION_MINOR) ".0";
}

const char *hd_dtype_name(enum hd_dtype d) { return dtype_name((Dtype)d); }

size_t hd_dtype_size(enum hd_dtype d) { return is_dtype(d) ? dtype_size((Dtype)d) : 0; }
