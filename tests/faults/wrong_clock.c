/* Preloaded into a program, this library sets the program's clock ahead by a number of seconds from a file. The
   file has 64 bits for each clock. It is read at each call, so a clock can jump while the program runs.
   CLOCK_MONOTONIC stays right. See clocks.py. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define CLOCKS 8

static volatile int64_t *ahead;
static volatile int chosen;

/* Select this process's clock. */
void choose_clock(int clock) { chosen = clock; }

__attribute__((constructor)) static void look_up(void) {
    const char *path = getenv("WRONG_CLOCKS"), *clock = getenv("WRONG_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, CLOCKS * sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (clock) chosen = atoi(clock);
    if (mapped != MAP_FAILED) ahead = mapped;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, id, now);
    if (!failed && ahead && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead[chosen];
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *into) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}
