/* The guest itself: its clock, name, randomness and end; and the port to the host. */
#include "agent.h"

#define PORT_NAME "org.ringfence.agent.0\n"
#define PORTS "/sys/class/virtio-ports"
#define RNDADDENTROPY 0x40085203UL

void set_clock(struct stream *s, const char *data, u32 n)
{
    if (n < 8 || *(const s64 *)data < 0) {
        fail(s, -EINVAL);
        return;
    }
    struct timespec time = from_ns(*(const s64 *)data);
    fail(s, call2(clock_settime, CLOCK_REALTIME, &time));
}

void set_hostname(struct stream *s, const char *name)
{
    fail(s, call2(sethostname, name, length(name)));
}

/* Randomness that another copy of this guest does not have, credited: it comes from the host's generator. */
void add_entropy(struct stream *s, const char *data, u32 n)
{
    struct { int bits, bytes; char data[512]; } pool;
    int fd = open("/dev/random", O_WRONLY | O_CLOEXEC, 0);
    if (n > sizeof pool.data)
        n = sizeof pool.data;
    pool.bytes = (int)n;
    pool.bits = (int)n * 8;
    memcpy(pool.data, data, n);
    long result = fd < 0 ? fd : call3(ioctl, fd, RNDADDENTROPY, &pool);
    if (fd >= 0)
        close(fd);
    fail(s, result);
}

/* Process 1 ends the system in order: by signals that systemd names, or those that busybox' init knows. */
void shut_down(struct stream *s, int how)
{
    int is_systemd = open("/run/systemd/system", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) >= 0;
    int number;
    if (is_systemd)
        number = how == REBOOT ? SIGRTMIN + 5 : SIGRTMIN + 4;
    else
        number = how == REBOOT ? SIGTERM : SIGUSR2;
    finish(s, EXITED, 0); /* now: nobody can say so afterwards */
    call2(kill, 1, number);
}

/* The device whose port has our name. The driver may still be adding it, and the host may be slow; a machine
   without such a port is let alone after a minute and a half. */
int find_port(void)
{
    static char names[4096], path[512], name[64];
    for (int attempt = 1; attempt < 130; attempt++) {
        int folder = open(PORTS, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        long n = folder < 0 ? 0 : call3(getdents64, folder, names, sizeof names);
        if (folder >= 0)
            close(folder);
        for (long at = 0; at < n;) {
            struct dirent *entry = (struct dirent *)(names + at);
            at += entry->length;
            put_text(put_text(put_text(path, PORTS "/"), entry->name), "/name");
            read_file(path, name, sizeof name);
            if (!is_equal(name, PORT_NAME))
                continue;
            put_text(put_text(path, "/dev/"), entry->name);
            int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK, 0);
            if (fd >= 0)
                return fd;
        }
        call3(poll, 0, 0, attempt < 100 ? 10 * attempt : 1000);
    }
    return -ENOENT;
}
