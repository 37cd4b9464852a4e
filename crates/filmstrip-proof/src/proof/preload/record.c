/* Preloaded into a process. Records what it does to the files below FILMSTRIP_TRACE_ROOT, and what it
 * prints on its standard output, in the order of the calls.
 *
 * A record: kind (1 byte), descriptor (4), number (8), length (4), bytes. sync_file_range is passed
 * through and not recorded, because it makes nothing durable. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define DESCRIPTORS 65536

static pthread_mutex_t order = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static unsigned char tracked[DESCRIPTORS];
static const char *root;
static int trace = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FILMSTRIP_TRACE");
    root = getenv("FILMSTRIP_TRACE_ROOT");
    if (path && root)
        trace = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void put(const void *bytes, size_t length) {
    const char *at = bytes;
    while (length > 0) {
        ssize_t done = syscall(SYS_write, trace, at, length);
        if (done <= 0)
            abort();
        at += done;
        length -= done;
    }
}

static void record(char kind, int descriptor, uint64_t number, const void *bytes, uint32_t length) {
    char head[17];
    if (trace < 0)
        return;
    int saved = errno;
    int32_t fd = descriptor;
    head[0] = kind;
    memcpy(head + 1, &fd, 4);
    memcpy(head + 5, &number, 8);
    memcpy(head + 13, &length, 4);
    put(head, sizeof head);
    put(bytes, length);
    errno = saved;
}

static int is_ours(const char *path) {
    return trace >= 0 && root && strncmp(path, root, strlen(root)) == 0;
}

/* Resolves a path that begins with a directory's descriptor. Returns other paths unchanged. */
static const char *resolved(const char *path, char *buffer) {
    static const char below[] = "/proc/self/fd/";
    const char *rest = path + sizeof below - 1;
    if (strncmp(path, below, sizeof below - 1) != 0 || strlen(path) >= PATH_MAX)
        return path;
    rest += strcspn(rest, "/");
    char link[PATH_MAX];
    memcpy(link, path, rest - path);
    link[rest - path] = 0;
    ssize_t length = readlink(link, buffer, PATH_MAX);
    if (length <= 0 || length + strlen(rest) >= PATH_MAX)
        abort();
    strcpy(buffer + length, rest);
    return buffer;
}

static int is_tracked(int fd) {
    return fd >= 0 && fd < DESCRIPTORS && tracked[fd];
}

static void lock(void) { pthread_mutex_lock(&order); }
static void unlock(void) { pthread_mutex_unlock(&order); }

static int opened(int fd, const char *path, int flags) {
    char buffer[PATH_MAX];
    path = resolved(path, buffer);
    if (fd >= 0 && fd < DESCRIPTORS) {
        int ours = is_ours(path);
        if (ours)
            record('o', fd, (uint64_t)(flags & O_TRUNC ? 1 : 0), path, strlen(path));
        else if (tracked[fd])
            record('c', fd, 0, "", 0);
        tracked[fd] = ours;
    }
    return fd;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...) {                                                   \
        mode_t mode = 0;                                                                           \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        if (flags & (O_CREAT | O_TMPFILE))                                                         \
            mode = va_arg(rest, mode_t);                                                           \
        va_end(rest);                                                                              \
        lock();                                                                                    \
        int fd = opened(REAL(name)(path, flags, mode), path, flags);                               \
        unlock();                                                                                  \
        return fd;                                                                                 \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    lock();
    if (is_tracked(fd)) {
        record('c', fd, 0, "", 0);
        tracked[fd] = 0;
    }
    int result = REAL(close)(fd);
    unlock();
    return result;
}

#define PWRITE(name, offset_type)                                                                  \
    ssize_t name(int fd, const void *bytes, size_t length, offset_type offset) {                   \
        if (!is_tracked(fd))                                                                       \
            return REAL(name)(fd, bytes, length, offset);                                          \
        lock();                                                                                    \
        ssize_t done = REAL(name)(fd, bytes, length, offset);                                      \
        if (done > 0)                                                                              \
            record('w', fd, offset, bytes, done);                                                  \
        unlock();                                                                                  \
        return done;                                                                               \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *bytes, size_t length) {
    if (fd == STDOUT_FILENO) {
        lock();
        record('n', fd, 0, bytes, length);
        unlock();
    }
    if (!is_tracked(fd))
        return REAL(write)(fd, bytes, length);
    lock();
    ssize_t done = REAL(write)(fd, bytes, length);
    if (done > 0)
        record('w', fd, lseek64(fd, 0, SEEK_CUR) - done, bytes, done);
    unlock();
    return done;
}

#define SYNC(name)                                                                                 \
    int name(int fd) {                                                                             \
        if (!is_tracked(fd))                                                                       \
            return REAL(name)(fd);                                                                 \
        lock();                                                                                    \
        int result = REAL(name)(fd);                                                               \
        if (result == 0)                                                                           \
            record('s', fd, 0, "", 0);                                                             \
        unlock();                                                                                  \
        return result;                                                                             \
    }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name, offset_type)                                                                \
    int name(int fd, offset_type length) {                                                         \
        if (!is_tracked(fd))                                                                       \
            return REAL(name)(fd, length);                                                         \
        lock();                                                                                    \
        int result = REAL(name)(fd, length);                                                       \
        if (result == 0)                                                                           \
            record('t', fd, length, "", 0);                                                        \
        unlock();                                                                                  \
        return result;                                                                             \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

/* No file of a store is extended with this call. If one ever is, the proof must record it. */
int fallocate(int fd, int mode, off_t offset, off_t length) {
    if (is_tracked(fd))
        abort();
    return REAL(fallocate)(fd, mode, offset, length);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    if (is_tracked(fd))
        abort();
    return REAL(fallocate64)(fd, mode, offset, length);
}

int rename(const char *from, const char *to) {
    lock();
    char from_buffer[PATH_MAX], to_buffer[PATH_MAX];
    int result = REAL(rename)(from, to);
    from = resolved(from, from_buffer);
    to = resolved(to, to_buffer);
    if (result == 0 && is_ours(from)) {
        record('f', -1, 0, from, strlen(from));
        record('r', -1, 0, to, strlen(to));
    }
    unlock();
    return result;
}

int unlink(const char *path) {
    lock();
    char buffer[PATH_MAX];
    int result = REAL(unlink)(path);
    path = resolved(path, buffer);
    if (result == 0 && is_ours(path))
        record('u', -1, 0, path, strlen(path));
    unlock();
    return result;
}

int mkdir(const char *path, mode_t mode) {
    lock();
    char buffer[PATH_MAX];
    int result = REAL(mkdir)(path, mode);
    path = resolved(path, buffer);
    if (result == 0 && is_ours(path))
        record('d', -1, 0, path, strlen(path));
    unlock();
    return result;
}
