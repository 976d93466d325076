/*
 * predict.c - workloads on a GPU in software: what its table says of one call (docs/sim.md).
 *
 * Each runs in a process of its own, some groups of each launch; its results are not those of the program
 * then, so no checksum is asked for. What was dumped before the device was awake is not counted.
 */
#define _GNU_SOURCE
#include "measure.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Prediction { double launches, us, roof; int tables; bool awake; char fault[160]; } Prediction;

/* A line of what the device tells. */
static void read_line(Prediction *p, const char *s)
{
    double launches, us, roof;
    const char *fault = strstr(s, "kernel ");
    if (!strncmp(s, "---- awake", 10))
        p->awake = true;
    else if (sscanf(s, "%lf launches: %lf us, of which the roof is %lf", &launches, &us, &roof) == 3) {
        if (!p->awake)
            return;
        p->tables++, p->launches += launches, p->us += us, p->roof += roof * us;
    } else if (fault && strstr(s, "work-item"))
        snprintf(p->fault, sizeof p->fault, "%.*s", (int)strcspn(fault, "\n"), fault);
}

static int child(const char *name, const char *device, int err)
{
    const char *groups = getenv("HEDDLE_SIM_GROUPS");
    setenv("HEDDLE_SIM", device + strlen("sim:"), 1), setenv("HEDDLE_DUMP", "counts", 1);
    setenv("HEDDLE_SIM_GROUPS", groups ? groups : "64", 1), setenv("HEDDLE_CACHE", "off", 1);
    const char *argv[] = { "bench", "--child", name, "--device", device, "--check", NULL };
    if (!freopen("/dev/null", "w", stdout) || dup2(err, STDERR_FILENO) < 0)
        return 127;
    execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
    return 127;
}

bool predict(const char *name, const char *device)
{
    int p[2], status = 0;
    char line[1024];
    Prediction r = { 0 };
    if (pipe(p))
        return false;
    fflush(NULL);
    pid_t pid = fork();
    if (!pid)
        _exit(child(name, device, p[1]));
    close(p[1]);
    FILE *f = fdopen(p[0], "r");
    while (f && pid > 0 && fgets(line, sizeof line, f))
        read_line(&r, line);
    if (f)
        fclose(f);
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || !r.tables || *r.fault)
        return printf("%-20s %s\n", name, *r.fault ? r.fault : "does not run there"), false;
    printf("%-20s launches %-5.0f predicted %10.2f us  roof %.2f\n", name, r.launches, r.us,
        r.us > 0 ? r.roof / r.us : 0);
    fflush(stdout);
    return true;
}
