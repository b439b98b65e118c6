/* For LD_PRELOAD: the wall clock is so many milliseconds off as the file named by CLOCK_OFF says. The monotonic clock goes on as it
 * does, as when somebody sets the time of a machine. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long off(void) {
    static const char *path;
    char digits[32] = "";
    if (!path && !(path = getenv("CLOCK_OFF"))) return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    if (read(fd, digits, sizeof digits - 1) < 0) digits[0] = 0;
    close(fd);
    return atoll(digits);
}

int clock_gettime(clockid_t which, struct timespec *out) {
    int answer = syscall(SYS_clock_gettime, which, out);
    if (!answer && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        long long nanoseconds = out->tv_nsec + off() % 1000 * 1000000;
        out->tv_sec += off() / 1000 + nanoseconds / 1000000000;
        out->tv_nsec = nanoseconds % 1000000000;
        if (out->tv_nsec < 0) out->tv_sec--, out->tv_nsec += 1000000000;
    }
    return answer;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec, out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
