/* syscalls.c - a library to be preloaded: it counts the system calls of files and makes
 * the n-th one fail, for a test that tries every n (tests/syscalls.py).
 *
 * Between fault_arm and fault_disarm each call below takes the next number. The call with
 * number `nth` (and with `for_good` all after it) does not reach the kernel but fails with
 * `error`; SHORT transfers a half, ZERO nothing. close does close, as Linux does, and then
 * fails. One thread. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SHORT = -1, ZERO = -2 };

static bool armed, unsynced, for_good_;
static long at, nth_, hits, renames, unsafe;
static int error_;
static const char *hit;

void fault_arm(long nth, int error, int for_good)
{
    at = hits = renames = unsafe = 0;
    hit = "";
    nth_ = nth;
    error_ = error;
    for_good_ = for_good;
    unsynced = false;
    armed = true;
}

/* How many calls there were. */
long fault_disarm(void)
{
    armed = false;
    return at;
}

const char *fault_hit(void) { return hit; }      /* the first call that failed, or "" */
long fault_hits(void) { return hits; }           /* how many failed */
long fault_renames(void) { return renames; }     /* how many files took another's place */
long fault_unsafe(void) { return unsafe; }       /* of these, before their data were synced */

/* The error of this call, 0 to let it pass. `moves`: can it transfer less than asked? */
static int fault(const char *name, bool moves)
{
    if (!armed)
        return 0;
    long k = at++;
    if (!(k == nth_ || (for_good_ && k > nth_)) || (error_ < 0 && !moves))
        return 0;
    if (!hits++)
        hit = name;
    return error_;
}

static int refuse(int error)
{
    errno = error;
    return -1;
}

static int open_(const char *path, int flags, unsigned mode)
{
    int e = fault("open", false);
    return e ? refuse(e) : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    unsigned mode = flags & O_CREAT ? va_arg(list, unsigned) : 0;
    va_end(list);
    return open_(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    unsigned mode = flags & O_CREAT ? va_arg(list, unsigned) : 0;
    va_end(list);
    return open_(path, flags, mode);
}

int close(int fd)
{
    int e = fault("close", false);
    int done = (int)syscall(SYS_close, fd);
    return e ? refuse(e) : done;
}

static size_t less(int e, size_t n)
{
    return e == SHORT ? (n + 1) / 2 : e == ZERO ? 0 : n;
}

ssize_t read(int fd, void *data, size_t n)
{
    int e = fault("read", true);
    return e > 0 ? refuse(e) : syscall(SYS_read, fd, data, less(e, n));
}

ssize_t write(int fd, const void *data, size_t n)
{
    int e = fault("write", true);
    if (e > 0)
        return refuse(e);
    unsynced |= armed;
    return syscall(SYS_write, fd, data, less(e, n));
}

/* vectors: with one part alone, as Python's os.readv and os.preadv are given here */
static struct iovec part(int e, const struct iovec *v)
{
    return (struct iovec){v->iov_base, less(e, v->iov_len)};
}

ssize_t readv(int fd, const struct iovec *v, int n)
{
    int e = n == 1 ? fault("readv", true) : 0;
    if (e > 0)
        return refuse(e);
    struct iovec one = n ? part(e, v) : (struct iovec){0};
    return syscall(SYS_readv, fd, n == 1 ? &one : v, n);
}

static ssize_t preadv_(int fd, const struct iovec *v, int n, off_t offset, int flags)
{
    int e = n == 1 ? fault("preadv", true) : 0;
    if (e > 0)
        return refuse(e);
    struct iovec one = n ? part(e, v) : (struct iovec){0};
    return syscall(SYS_preadv2, fd, n == 1 ? &one : v, n, offset, 0, flags);
}

ssize_t preadv(int fd, const struct iovec *v, int n, off_t offset)
{
    return preadv_(fd, v, n, offset, 0);
}

ssize_t preadv64(int fd, const struct iovec *v, int n, off_t offset)
{
    return preadv_(fd, v, n, offset, 0);
}

ssize_t preadv2(int fd, const struct iovec *v, int n, off_t offset, int flags)
{
    return preadv_(fd, v, n, offset, flags);
}

ssize_t preadv64v2(int fd, const struct iovec *v, int n, off_t offset, int flags)
{
    return preadv_(fd, v, n, offset, flags);
}

off_t lseek64(int fd, off_t offset, int whence)
{
    int e = fault("lseek", false);
    return e ? refuse(e) : syscall(SYS_lseek, fd, offset, whence);
}

int fsync(int fd)
{
    int e = fault("fsync", false);
    if (e)
        return refuse(e);
    unsynced = false;
    return (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
    int e = fault("rename", false);
    if (e)
        return refuse(e);
    renames += armed;
    unsafe += armed && unsynced;
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path)
{
    int e = fault("unlink", false);
    return e ? refuse(e) : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int fchmod(int fd, mode_t mode)
{
    int e = fault("fchmod", false);
    return e ? refuse(e) : (int)syscall(SYS_fchmod, fd, mode);
}

int flock(int fd, int how)
{
    int e = fault("flock", false);
    return e ? refuse(e) : (int)syscall(SYS_flock, fd, how);
}

ssize_t getrandom(void *data, size_t n, unsigned flags)
{
    int e = fault("getrandom", false);
    return e ? refuse(e) : syscall(SYS_getrandom, data, n, flags);
}

ssize_t readlink(const char *path, char *text, size_t n)
{
    int e = fault("readlink", false);
    return e ? refuse(e) : syscall(SYS_readlinkat, AT_FDCWD, path, text, n);
}

/* What the C library does itself between here and the kernel is left to it. */
#define NEXT(type, name, ...)                                                            \
    (((type)dlsym(RTLD_NEXT, name))(__VA_ARGS__))

typedef int stat_path(const char *, struct stat64 *);
typedef int stat_fd(int, struct stat64 *);
typedef DIR *open_folder(const char *);
typedef struct dirent64 *read_folder(DIR *);

int stat64(const char *path, struct stat64 *s)
{
    int e = fault("stat", false);
    return e ? refuse(e) : NEXT(stat_path *, "stat64", path, s);
}

int lstat64(const char *path, struct stat64 *s)
{
    int e = fault("lstat", false);
    return e ? refuse(e) : NEXT(stat_path *, "lstat64", path, s);
}

int fstat64(int fd, struct stat64 *s)
{
    int e = fault("fstat", false);
    return e ? refuse(e) : NEXT(stat_fd *, "fstat64", fd, s);
}

DIR *opendir(const char *path)
{
    int e = fault("opendir", false);
    if (!e)
        return NEXT(open_folder *, "opendir", path);
    errno = e;
    return NULL;
}

struct dirent64 *readdir64(DIR *folder)
{
    int e = fault("readdir", false);
    if (!e)
        return NEXT(read_folder *, "readdir64", folder);
    errno = e;
    return NULL;
}
