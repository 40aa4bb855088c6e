/* Many readers of one stream of server-sent events, in one thread, so cheap that the server is what is measured.

   readers PORT READERS EVENTS SECONDS SAMPLED REQUEST

   Every event carries `"~no":NUMBER,"t":NANOSECONDS`, numbers from 1, and no other `~`. Each reader counts these marks in
   all that it receives, and the number of the last whole one must be the count: then none was lost, doubled or
   out of order. SAMPLED of the readers parse every event and note how old it is.

   Prints `ready` when all have been answered; then one JSON object, when every reader has EVENTS events, or
   SECONDS after the first was made, or at the end of standard input. With EVENTS 0 it reads until that end. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "limit.h"

enum {
    BUFFER_BYTES = 256 * 1024,
    REST_BYTES = 512,        /* an event's beginning, until the rest of it comes */
    HEAD_BYTES = 2048,
    UNANSWERED = 128,        /* readers that wait for their answer at once: no listener's backlog is less */
    BUCKETS = 1000 * 1000,   /* latencies, to 0.1 ms: up to 100 s */
    EVENTS_AT_ONCE = 1024,
    SILENCE_S = 30,          /* without a byte in this time the stream is given up */
};

typedef struct {
    int fd, closed, sampled;
    int in_body, chunked;
    char head[HEAD_BYTES];
    size_t head_bytes;
    size_t chunk_left;       /* of the chunk's data and the line's end after it */
    size_t size_seen;        /* of a chunk's head that is not whole yet */
    int in_size;
    uint64_t count, last;
    char *rest;
    size_t rest_bytes;
} Reader;

static Reader *readers;
static int count, answered, complete, closed;
static uint64_t wanted, delivered, wrong, received;
static uint32_t latencies[BUCKETS];
static uint64_t measured, made_first;
static char buffer[BUFFER_BYTES], joined[BUFFER_BYTES + REST_BYTES];

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static double cpu_s(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void give_up(const char *why)
{
    perror(why);
    exit(1);
}

/* A loop that the compiler makes a vector of. */
__attribute__((optimize("O3"))) static uint64_t marks(const char *data, size_t size)
{
    uint64_t found = 0;
    while (size) {
        size_t part = size < 255 ? size : 255;
        uint8_t seen = 0;
        for (size_t at = 0; at < part; at++)
            seen += data[at] == '~';
        found += seen;
        data += part;
        size -= part;
    }
    return found;
}

/* The number after `"~no":`, if it is whole. */
static int number_at(const char *mark, const char *end, uint64_t *number, const char **after)
{
    const char *at = mark + 5; /* past `~no":` */
    *number = 0;
    while (at < end && *at >= '0' && *at <= '9')
        *number = *number * 10 + (uint64_t)(*at++ - '0');
    *after = at;
    return at < end;
}

static void note(uint64_t made, uint64_t now)
{
    uint64_t tenths = now > made ? (now - made) / 100000 : 0;
    latencies[tenths < BUCKETS ? tenths : BUCKETS - 1]++;
    measured++;
    if (!made_first || made < made_first)
        made_first = made;
}

static void sample(Reader *reader, const char *data, size_t size, uint64_t now)
{
    memcpy(joined, reader->rest, reader->rest_bytes);
    memcpy(joined + reader->rest_bytes, data, size);
    const char *at = joined, *end = joined + reader->rest_bytes + size;
    reader->rest_bytes = 0;
    while ((at = memchr(at, '~', (size_t)(end - at)))) {
        const char *after, *made_at;
        uint64_t number, made;
        if (!number_at(at, end, &number, &after) || end - after < 8 || !number_at(after, end, &made, &made_at)) {
            reader->rest_bytes = (size_t)(end - at) < REST_BYTES ? (size_t)(end - at) : REST_BYTES;
            memcpy(reader->rest, at, reader->rest_bytes);
            return;
        }
        note(made, now);
        at = made_at;
    }
}

static void body(Reader *reader, const char *data, size_t size, uint64_t now)
{
    uint64_t more = marks(data, size);
    if (reader->sampled)
        sample(reader, data, size, now);
    if (!more)
        return;
    const char *after, *mark = memrchr(data, '~', size);
    uint64_t before = reader->count, number;
    reader->count += more;
    delivered += more;
    if (number_at(mark, data + size, &number, &after)) {
        wrong += number != reader->count;
        reader->last = number;
    }
    complete += before < wanted && reader->count >= wanted;
}

/* The data of chunks; their heads are skipped. A chunk's data ends with a line's end of its own. */
static void chunks(Reader *reader, const char *data, size_t size, uint64_t now)
{
    while (size) {
        if (reader->in_size) {
            char one = *data++;
            size--;
            if (one == '\n') {
                reader->in_size = 0;
                reader->chunk_left = reader->size_seen + 2;
                reader->size_seen = 0;
            } else if (one != '\r') {
                reader->size_seen = reader->size_seen * 16 + (size_t)(one <= '9' ? one - '0' : (one | 32) - 'a' + 10);
            }
            continue;
        }
        size_t part = size < reader->chunk_left ? size : reader->chunk_left;
        body(reader, data, part, now);
        data += part;
        size -= part;
        reader->chunk_left -= part;
        reader->in_size = reader->chunk_left == 0;
    }
}

static void take(Reader *reader, const char *data, size_t size, uint64_t now)
{
    if (reader->chunked)
        chunks(reader, data, size, now);
    else
        body(reader, data, size, now);
}

static void head(Reader *reader, const char *data, size_t size, uint64_t now)
{
    size_t part = size < HEAD_BYTES - 1 - reader->head_bytes ? size : HEAD_BYTES - 1 - reader->head_bytes;
    memcpy(reader->head + reader->head_bytes, data, part);
    size_t before = reader->head_bytes;
    reader->head_bytes += part;
    char *end = memmem(reader->head, reader->head_bytes, "\r\n\r\n", 4);
    if (!end) {
        if (reader->head_bytes == HEAD_BYTES - 1)
            give_up("an answer's head is too long");
        return;
    }
    *end = 0;
    if (!strstr(reader->head, " 200 ")) {
        fprintf(stderr, "%s\n", reader->head);
        exit(1);
    }
    reader->in_body = reader->in_size = 1;
    reader->chunked = strcasestr(reader->head, "transfer-encoding: chunked") != NULL;
    answered++;
    size_t used = (size_t)(end + 4 - reader->head) - before;
    take(reader, data + used, size - used, now);
}

static void receive(Reader *reader)
{
    ssize_t size = recv(reader->fd, buffer, sizeof buffer, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size <= 0) {
        close(reader->fd);
        reader->closed = 1;
        closed += !wanted || reader->count < wanted; /* before its end */
        return;
    }
    received += (uint64_t)size;
    uint64_t now = reader->sampled ? now_ns() : 0;
    if (reader->in_body)
        take(reader, buffer, (size_t)size, now);
    else
        head(reader, buffer, (size_t)size, now);
}

static void join(int poll, int index, int port, const char *request)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    Reader *reader = &readers[index];
    reader->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (reader->fd < 0 || connect(reader->fd, (struct sockaddr *)&address, sizeof address))
        give_up("connect");
    if (send(reader->fd, request, strlen(request), 0) < 0)
        give_up("send");
    fcntl(reader->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = reader};
    epoll_ctl(poll, EPOLL_CTL_ADD, reader->fd, &event);
}

/* 0 at the end of standard input, -1 when nothing came. */
static int look(int poll, int wait_ms)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int found = epoll_wait(poll, events, EVENTS_AT_ONCE, wait_ms), going = 1;
    for (int at = 0; at < found; at++) {
        char ignored[256];
        if (events[at].data.ptr)
            receive(events[at].data.ptr);
        else if (read(STDIN_FILENO, ignored, sizeof ignored) <= 0)
            going = 0;
    }
    return found <= 0 ? -1 : going;
}

static void connect_all(int poll, int port, const char *request)
{
    int joined_in = 0;
    while (answered < count) {
        while (joined_in < count && joined_in - answered < UNANSWERED)
            join(poll, joined_in++, port, request);
        if (look(poll, SILENCE_S * 1000) < 0 || closed)
            give_up("no answer to a reader");
    }
}

static void read_all(int poll, double seconds)
{
    uint64_t heard = now_ns(), limit_ns = (uint64_t)(seconds * 1e9);
    while (!wanted || complete + closed < count) {
        int found = look(poll, 100);
        uint64_t now = now_ns();
        if (found > 0)
            heard = now;
        if (!found || (made_first && wanted && now > made_first + limit_ns))
            return;
        if (wanted && now > heard + SILENCE_S * 1000000000ull)
            return;
    }
}

static double latency_ms(double share)
{
    uint64_t seen = 0, wanted_rank = (uint64_t)(share * (double)measured);
    for (int at = 0; at < BUCKETS; at++)
        if ((seen += latencies[at]) > wanted_rank)
            return at / 10.0;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "readers PORT READERS EVENTS SECONDS SAMPLED REQUEST\n");
        return 2;
    }
    count = atoi(argv[2]);
    wanted = strtoull(argv[3], NULL, 10);
    int sampled = atoi(argv[5]) < count ? atoi(argv[5]) : count;
    raise_limit();
    readers = calloc((size_t)count, sizeof *readers);
    for (int at = 0; at < sampled; at++) {
        Reader *reader = &readers[(int64_t)at * count / sampled];
        reader->sampled = 1;
        reader->rest = malloc(REST_BYTES);
    }
    int poll = epoll_create1(0);
    connect_all(poll, atoi(argv[1]), argv[6]);
    struct epoll_event input = {.events = EPOLLIN};
    epoll_ctl(poll, EPOLL_CTL_ADD, STDIN_FILENO, &input);
    double cpu_before = cpu_s();
    uint64_t began = now_ns();
    puts("ready");
    fflush(stdout);
    read_all(poll, atof(argv[4]));
    uint64_t ended = now_ns();
    printf("{\"delivered\": %lu, \"complete\": %d, \"wrong\": %lu, \"closed\": %d, \"bytes\": %lu, "
           "\"elapsed_s\": %.6f, \"p50_ms\": %.1f, \"p99_ms\": %.1f, \"max_ms\": %.1f, \"sampled\": %lu, "
           "\"load_share\": %.4f}\n",
           delivered, complete, wrong, closed, received, (double)(ended - (made_first ? made_first : began)) / 1e9,
           latency_ms(0.5), latency_ms(0.99), latency_ms(0.999999), measured,
           (cpu_s() - cpu_before) * 1e9 / (double)(ended - began));
    return 0;
}
