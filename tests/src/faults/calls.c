/* calls CONTROL PROGRAM [ARGUMENT...]: runs a program whose system calls fail when a file says so.
 *
 * It becomes the program, whose process id is the one that was started. A child stays behind and is asked by the kernel about
 * the calls that write, sync, make, rename and remove files, and about those that fetch mapped pages (seccomp's user
 * notification, seccomp_unotify(2)). This reaches programs that make their calls without the C library, which LD_PRELOAD does not.
 *
 * Each line of CONTROL has a kind of call, a part of the file's path (* for any), and what happens:
 *     sync segment- EIO        fdatasync, fsync
 *     write journal- ENOSPC    pwritev, pwritev2, pwrite64, write
 *     write segment- short     half of it is written, and said to be
 *     write segment- torn      half of it is written, and EIO said
 *     reserve * ENOSPC         fallocate
 *     create * EROFS           openat with O_CREAT
 *     rename * EIO, remove * EIO
 *     fetch segment- EFAULT    madvise MADV_POPULATE_READ: the disk does not give a mapped page back
 *     read segment- EIO        pread64
 * The file may be absent. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

#define NOTIFY BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define ALWAYS(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), NOTIFY
#define ARGUMENT(n) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * (n))

static void die(const char *what) {
    perror(what);
    exit(111);
}

static int filter(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALWAYS(SYS_fdatasync), ALWAYS(SYS_fsync), ALWAYS(SYS_pwritev), ALWAYS(SYS_pwritev2), ALWAYS(SYS_pwrite64),
        ALWAYS(SYS_pread64), ALWAYS(SYS_fallocate),
#ifdef SYS_rename
        ALWAYS(SYS_rename), ALWAYS(SYS_unlink),
#endif
        ALWAYS(SYS_renameat), ALWAYS(SYS_renameat2), ALWAYS(SYS_unlinkat),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 4),
        ARGUMENT(2), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_CREAT, 0, 1), NOTIFY, ALLOW,
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 4),
        ARGUMENT(2), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_POPULATE_READ, 0, 1), NOTIFY, ALLOW,
        ALLOW,
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) die("no_new_privs");
    int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (listener < 0) die("seccomp");
    return listener;
}

static void pass(int socket, int fd) {
    char byte = 0, room[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    if (sendmsg(socket, &message, 0) != 1) die("sendmsg");
}

static int taken(int socket) {
    int fd = -1;
    char byte, room[CMSG_SPACE(sizeof(int))];
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    if (recvmsg(socket, &message, 0) != 1) die("recvmsg");
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

/* Bytes of the program's memory. */
static ssize_t peek(pid_t pid, uint64_t from, void *to, size_t length) {
    struct iovec here = {to, length}, there = {(void *)(uintptr_t)from, length};
    return process_vm_readv(pid, &here, 1, &there, 1, 0);
}

/* A path argument: read up to the end of a page, so that what is behind it need not be there. */
static void text(pid_t pid, uint64_t from, char *to, size_t size) {
    size_t done = 0;
    while (done + 1 < size) {
        size_t step = 4096 - (from + done) % 4096;
        if (step > size - 1 - done) step = size - 1 - done;
        ssize_t got = peek(pid, from + done, to + done, step);
        if (got <= 0) break;
        if (memchr(to + done, 0, got)) return;
        done += got;
    }
    to[done] = 0;
}

/* The file that is mapped at an address. */
static void mapped(pid_t pid, uint64_t at, char *path, size_t size) {
    char name[64], line[4200];
    snprintf(name, sizeof name, "/proc/%d/maps", pid);
    FILE *maps = fopen(name, "r");
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long long from, to;
        char *slash = strchr(line, '/');
        if (sscanf(line, "%llx-%llx", &from, &to) == 2 && from <= at && at < to && slash)
            snprintf(path, size, "%s", slash);
    }
    if (maps) fclose(maps);
}

static const char *kind(const struct seccomp_notif *call, char *path, size_t size) {
    const uint64_t *args = (const uint64_t *)call->data.args;
    const char *said = "";
    int by_fd = 0, by_path = -1;
    switch (call->data.nr) {
    case SYS_fdatasync: case SYS_fsync: said = "sync", by_fd = 1; break;
    case SYS_pwritev: case SYS_pwritev2: case SYS_pwrite64: said = "write", by_fd = 1; break;
    case SYS_pread64: said = "read", by_fd = 1; break;
    case SYS_fallocate: said = "reserve", by_fd = 1; break;
    case SYS_openat: said = "create", by_path = 1; break;
    case SYS_renameat: case SYS_renameat2: said = "rename", by_path = 1; break;
    case SYS_unlinkat: said = "remove", by_path = 1; break;
#ifdef SYS_rename
    case SYS_rename: said = "rename", by_path = 0; break;
    case SYS_unlink: said = "remove", by_path = 0; break;
#endif
    case SYS_madvise: said = "fetch", mapped(call->pid, args[0], path, size); break;
    }
    if (by_fd) {
        char name[64];
        snprintf(name, sizeof name, "/proc/%d/fd/%d", call->pid, (int)args[0]);
        ssize_t length = readlink(name, path, size - 1);
        path[length < 0 ? 0 : length] = 0;
    } else if (by_path >= 0) {
        text(call->pid, args[by_path], path, size);
    }
    return said;
}

/* What CONTROL says of a call; empty for nothing. */
static void asked(const char *control, const char *said, const char *path, char *what) {
    char line[600], call[20], part[400], action[20];
    FILE *file = fopen(control, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "%19s %399s %19s", call, part, action) == 3 && !strcmp(call, said) &&
            (!strcmp(part, "*") || strstr(path, part)) && !*what)
            strcpy(what, action);
    if (file) fclose(file);
}

/* Writes half of what a pwritev was to write. */
static ssize_t half(const struct seccomp_notif *call) {
    struct iovec parts[1024];
    const uint64_t *args = (const uint64_t *)call->data.args;
    size_t count = args[2] < 1024 ? args[2] : 1024, total = 0, done = 0;
    if (call->data.nr == SYS_pwrite64) {
        parts[0].iov_base = (void *)(uintptr_t)args[1], parts[0].iov_len = args[2], count = 1;
    } else if (peek(call->pid, args[1], parts, count * sizeof *parts) < 0) {
        return -EIO;
    }
    for (size_t n = 0; n < count; n++) total += parts[n].iov_len;
    size_t want = total > 1 ? total / 2 : total;
    char *bytes = malloc(want + 1), name[64];
    for (size_t n = 0; n < count && done < want; n++) {
        size_t step = parts[n].iov_len < want - done ? parts[n].iov_len : want - done;
        if (step && peek(call->pid, (uint64_t)(uintptr_t)parts[n].iov_base, bytes + done, step) != (ssize_t)step) break;
        done += step;
    }
    snprintf(name, sizeof name, "/proc/%d/fd/%d", call->pid, (int)args[0]);
    int fd = open(name, O_WRONLY);
    ssize_t written = fd < 0 ? -EIO : pwrite(fd, bytes, done, (off_t)args[3]);
    if (fd >= 0) close(fd);
    free(bytes);
    return written;
}

static void watch(int listener, const char *control) {
    static const struct { const char *name; int number; } errors[] = {
        {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EROFS", EROFS}, {"EFAULT", EFAULT}, {"EACCES", EACCES},
    };
    for (;;) {
        struct pollfd ready = {listener, POLLIN, 0};
        if (poll(&ready, 1, -1) < 0 && errno != EINTR) return;
        if (ready.revents & (POLLHUP | POLLERR)) return;
        struct seccomp_notif call;
        memset(&call, 0, sizeof call);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call)) continue;
        char path[4200] = "", what[20] = "";
        const char *said = kind(&call, path, sizeof path);
        asked(control, said, path, what);
        struct seccomp_notif_resp answer = {.id = call.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        if (!strcmp(what, "short") || !strcmp(what, "torn")) {
            ssize_t written = half(&call);
            int torn = *what == 't' || written < 0;
            answer.flags = 0, answer.val = torn ? 0 : written, answer.error = torn ? -EIO : 0;
        }
        for (size_t n = 0; n < sizeof errors / sizeof *errors; n++)
            if (!strcmp(what, errors[n].name)) answer.flags = 0, answer.error = -errors[n].number;
        /* It fails when the program was killed meanwhile. */
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
}

int main(int count, char **words) {
    int ends[2];
    if (count < 3) return 64;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) die("socketpair");
    pid_t child = fork();
    if (child < 0) die("fork");
    if (!child) {
        int listener = taken(ends[1]);
        close(ends[0]), close(ends[1]);
        watch(listener, words[1]);
        return 0;
    }
    int listener = filter();
    pass(ends[0], listener);
    close(listener);
    execvp(words[2], words + 2);
    die(words[2]);
}
