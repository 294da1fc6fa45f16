/* Sends each datagram back to where it came from: `udp_echo PORT`. */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int count, char **words)
{
    static char data[65536];
    struct sockaddr_in own = {.sin_family = AF_INET}, from;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    own.sin_port = htons(count > 1 ? atoi(words[1]) : 7);
    if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own))
        err(1, "udp_echo");
    for (;;) {
        socklen_t size = sizeof from;
        ssize_t got = recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&from, &size);
        if (got >= 0)
            sendto(fd, data, got, 0, (struct sockaddr *)&from, size);
    }
}
