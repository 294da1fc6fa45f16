/* TCP connections, counted: `serve PORT` answers each byte with a byte, for ever; `connect HOST PORT COUNT` makes
 * a connection for each byte it sends, `echo HOST PORT COUNT` one for all of them. Prints how many a second. */

#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static struct sockaddr_in address_of(const char *host, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        errx(2, "no address: %s", host);
    return address;
}

static int tcp(void)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one))
        err(1, "socket");
    return fd;
}

static int connected(const struct sockaddr_in *address)
{
    int fd = tcp();
    if (connect(fd, (const struct sockaddr *)address, sizeof *address))
        err(1, "connect");
    return fd;
}

static void ask(int fd)
{
    char byte = 'x';
    if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
        err(1, "no answer");
}

static void serve(const char *port)
{
    struct sockaddr_in address = address_of("0.0.0.0", port);
    int one = 1, listener = tcp();
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 128))
        err(1, "port %s", port);
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        char byte;
        int fd = accept(listener, NULL, NULL);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        while (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1)
            ;
        close(fd);
    }
}

int main(int count, char **words)
{
    if (count == 3 && !strcmp(words[1], "serve"))
        serve(words[2]);
    if (count != 5)
        errx(2, "usage: connections serve PORT | connect|echo HOST PORT COUNT");
    struct sockaddr_in address = address_of(words[2], words[3]);
    int is_one = !strcmp(words[1], "echo"), times = atoi(words[4]), fd = -1;
    if (is_one)
        ask(fd = connected(&address));
    double start = now();
    for (int i = 0; i < times; i++) {
        if (!is_one)
            fd = connected(&address);
        ask(fd);
        if (!is_one)
            close(fd);
    }
    printf("%.1f\n", times / (now() - start));
    return 0;
}
