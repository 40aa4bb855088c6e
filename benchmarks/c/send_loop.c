/* The least that a server without shared work can do: for each event and each reader, one `send`.

   send_loop READERS EVENTS PER_S GO

   Prints where it listens, answers READERS of them, waits until the file GO is there, and sends EVENTS events, as many a
   second as said or as it can. Each carries when it was due. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "limit.h"

static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int listen_here(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) {
        perror("listen");
        exit(1);
    }
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("ready at http://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static int answer(int listener)
{
    char request[4096];
    int on = 1, reader = accept(listener, NULL, NULL);
    setsockopt(reader, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (reader < 0 || recv(reader, request, sizeof request, 0) <= 0
        || send(reader, HEAD, sizeof HEAD - 1, MSG_NOSIGNAL) < 0) {
        perror("answer");
        exit(1);
    }
    return reader;
}

static void wait_until(uint64_t due_ns)
{
    uint64_t now = now_ns();
    if (due_ns > now)
        usleep((useconds_t)((due_ns - now) / 1000));
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "send_loop READERS EVENTS PER_S GO\n");
        return 2;
    }
    int count = atoi(argv[1]), events = atoi(argv[2]);
    double per_s = atof(argv[3]);
    raise_limit();
    int listener = listen_here(), *readers = calloc((size_t)count, sizeof *readers);
    for (int at = 0; at < count; at++)
        readers[at] = answer(listener);
    while (access(argv[4], F_OK))
        usleep(10000);
    uint64_t start = now_ns();
    for (int no = 1; no <= events; no++) {
        char event[256];
        uint64_t due = start + (uint64_t)(no * 1e9 / per_s);
        int size = snprintf(event, sizeof event, "data: {\"~no\":%d,\"t\":%lu,\"pad\":\"%s\"}\n\n", no, due,
                            "............................................");
        wait_until(due);
        for (int at = 0; at < count; at++)
            send(readers[at], event, (size_t)size, MSG_NOSIGNAL);
    }
    pause();
    return 0;
}
