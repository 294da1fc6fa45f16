/* The guest agent: one port to the host, and what the host asks for through it. docs/design/agent.md. */
#include "agent.h"

struct stream streams[STREAMS];
struct frame out;

static int port, children;
static char in[FRAME_MAX + 1]; /* room for a NUL */
static u32 in_length;

/* -- to the host -- */

static void send_all(const char *data, size n)
{
    struct pollfd wait = {port, POLLOUT, 0};
    while (n) {
        long done = write(port, data, n);
        if (done > 0) {
            data += done, n -= done;
        } else if (done == -EAGAIN || done == -EINTR) {
            call3(poll, &wait, 1, 1000);
            if (wait.revents & POLLHUP)
                return;
        } else {
            return; /* the host has gone: the loop sees it when it reads */
        }
    }
}

/* Send the first `n` bytes of `out.data`. */
void send(u16 stream, u8 type, u8 channel, u32 n)
{
    out.header.length = n;
    out.header.stream = stream;
    out.header.type = type;
    out.header.channel = channel;
    send_all((char *)&out, sizeof out.header + n);
}

void send_done(struct stream *s, u8 how, int value)
{
    struct done *done = (struct done *)out.data;
    memset(done, 0, sizeof *done);
    done->how = how;
    done->value = value;
    done->crc = s->crc;
    done->size = s->size;
    send(s->id, DONE, 0, sizeof *done);
}

static void release(struct stream *s)
{
    for (int i = 0; i < CHANNELS; i++) {
        if (s->fd[i] >= 0)
            close(s->fd[i]);
        s->fd[i] = -1;
    }
    s->kind = IDLE;
}

/* The stream's last frame; its number is free again. */
void finish(struct stream *s, u8 how, int value)
{
    send_done(s, how, value);
    release(s);
}

/* The same from a system call's result. */
void fail(struct stream *s, long result)
{
    finish(s, result < 0 ? FAILED : EXITED, result < 0 ? (int)-result : 0);
}

/* Input left our buffer: let the host send more. */
void take_input(struct stream *s, u32 n)
{
    s->freed += n;
    if (s->freed < INPUT_WINDOW / 4)
        return;
    *(u32 *)out.data = s->freed;
    s->freed = 0;
    send(s->id, WINDOW, IN, 4);
}

/* -- from the host -- */

static void drop_streams(void)
{
    for (int i = 0; i < STREAMS; i++) {
        struct stream *s = &streams[i];
        if (s->kind == RUN_PROCESS)
            exec_signal(s, SIGKILL);
        else if (s->kind == WRITE_FILE)
            file_cancel(s);
        release(s);
    }
}

static void hello(const struct hello *said, u32 n)
{
    struct hello *answer = (struct hello *)out.data;
    if (n < sizeof *said || said->magic != MAGIC)
        return;
    u64 nonce = said->nonce;
    drop_streams();
    answer->magic = MAGIC;
    answer->version = VERSION;
    answer->zero = 0;
    answer->nonce = nonce;
    send(0, HELLO, 0, sizeof *answer);
}

static void open_stream(struct stream *s, u16 id, u8 type, char *data, u32 n)
{
    s->id = id;
    s->is_tty = s->is_input_ended = s->has_exited = 0;
    s->pid = s->status = 0;
    s->fd[IN] = s->fd[OUT] = s->fd[ERR] = -1;
    s->credit[OUT] = s->credit[ERR] = OUTPUT_WINDOW;
    s->freed = s->begin = s->end = s->crc = 0;
    s->size = s->left = 0;
    switch (type) {
    case EXEC: exec_start(s, data, n); break;
    case READ: file_read_start(s, data); break;
    case WRITE: file_write_start(s, data, n); break;
    case STAT: file_stat(s, data); break;
    case LIST: list_start(s, data); break;
    case MAKE_DIRECTORY: make_directory(s, data, n); break;
    case SYMLINK: make_symlink(s, data, n); break;
    case CLOCK: set_clock(s, data, n); break;
    case HOSTNAME: set_hostname(s, data); break;
    case ENTROPY: add_entropy(s, data, n); break;
    case SHUTDOWN: shut_down(s, n ? data[0] : POWER_OFF); break;
    default: fail(s, -ENOSYS);
    }
}

static void cancel(struct stream *s)
{
    if (s->kind == RUN_PROCESS)
        exec_signal(s, SIGKILL); /* DONE follows when it has gone */
    else if (s->kind == WRITE_FILE)
        file_cancel(s), fail(s, -ECANCELED);
    else
        fail(s, -ECANCELED);
}

/* A frame; `data[n]` is a NUL. */
static void receive(struct header *header, char *data, u32 n)
{
    if (header->type == HELLO) {
        hello((struct hello *)data, n);
        return;
    }
    if (header->stream >= STREAMS)
        return;
    struct stream *s = &streams[header->stream];
    if (s->kind == IDLE) {
        /* What comes late for a stream that has ended is dropped. */
        if (header->type >= EXEC && header->type < DATA &&
            !(header->type >= SIGNAL && header->type <= CANCEL))
            open_stream(s, header->stream, header->type, data, n);
        return;
    }
    switch (header->type) {
    case DATA:
        if (s->kind == RUN_PROCESS)
            exec_input(s, data, n);
        else if (s->kind == WRITE_FILE)
            file_write(s, data, n);
        break;
    case END:
        if (s->kind == RUN_PROCESS)
            s->is_input_ended = 1, exec_flush(s);
        else if (s->kind == WRITE_FILE)
            file_write_end(s);
        break;
    case WINDOW:
        if (n >= 4 && header->channel < CHANNELS)
            s->credit[header->channel] += *(u32 *)data;
        break;
    case SIGNAL:
        if (n >= 1)
            exec_signal(s, data[0]);
        break;
    case RESIZE:
        if (n >= sizeof(struct resize))
            exec_resize(s, (struct resize *)data);
        break;
    case CANCEL:
        cancel(s);
        break;
    }
}

/* Handle the whole frames in `in`; 0 when the host makes no sense. */
static int receive_frames(void)
{
    u32 at = 0;
    while (in_length - at >= sizeof(struct header)) {
        struct header *header = (struct header *)(in + at);
        if (header->length > DATA_MAX)
            return 0;
        u32 n = sizeof *header + header->length;
        if (in_length - at < n)
            break;
        /* Strings end with their frame: the byte after it is put aside for a NUL. */
        char *end = in + at + n;
        char next = *end;
        struct header copy = *header;
        *end = 0;
        receive(&copy, in + at + sizeof copy, copy.length);
        *end = next;
        at += n;
    }
    memmove(in, in + at, in_length - at);
    in_length -= at;
    return 1;
}

/* Take what has come; 0 when the host is not there. */
static int read_port(void)
{
    for (int round = 0; round < 64; round++) {
        long n = read(port, in + in_length, sizeof in - 1 - in_length);
        if (n == -EAGAIN || n == -EINTR)
            return 1;
        if (n <= 0)
            return 0;
        in_length += n;
        if (!receive_frames())
            return 0;
    }
    return 1;
}

/* -- the loop -- */

static void serve(struct stream *s, int channel)
{
    if (s->kind == RUN_PROCESS && channel == IN)
        exec_flush(s);
    else if (s->kind == RUN_PROCESS)
        exec_output(s, channel);
    else if (s->kind == READ_FILE)
        file_read(s);
    else if (s->kind == LIST_FOLDER)
        list_continue(s);
}

static int wanted_events(const struct stream *s, int channel)
{
    if (s->kind == IDLE || s->kind == WRITE_FILE || s->fd[channel] < 0)
        return 0;
    if (channel == IN)
        return s->begin < s->end ? POLLOUT : 0;
    return s->credit[channel] ? POLLIN : 0;
}

static void turn(void)
{
    static struct pollfd fds[2 + STREAMS * CHANNELS];
    static struct { struct stream *stream; int channel; } owners[2 + STREAMS * CHANNELS];
    int count = 2;
    fds[0] = (struct pollfd){port, POLLIN, 0};
    fds[1] = (struct pollfd){children, POLLIN, 0};
    for (int i = 0; i < STREAMS; i++)
        for (int channel = 0; channel < CHANNELS; channel++) {
            int events = wanted_events(&streams[i], channel);
            if (!events)
                continue;
            fds[count] = (struct pollfd){streams[i].fd[channel], events, 0};
            owners[count].stream = &streams[i];
            owners[count++].channel = channel;
        }
    call3(poll, fds, count, -1);
    for (int i = 2; i < count; i++)
        if (fds[i].revents && wanted_events(owners[i].stream, owners[i].channel))
            serve(owners[i].stream, owners[i].channel);
    if (fds[1].revents) {
        char taken[128];
        read(children, taken, sizeof taken);
        exec_reap();
    }
    for (int i = 0; i < STREAMS; i++)
        if (streams[i].kind == RUN_PROCESS && streams[i].has_exited)
            exec_settle(&streams[i]);
    if (fds[0].revents && !read_port()) {
        drop_streams();
        in_length = 0;
        call3(poll, 0, 0, 100); /* the host is not there, and nothing says when it comes */
    }
}

int agent_main(long *stack)
{
    const char **arguments = (const char **)(stack + 1);
    u64 all = ~0ULL, child = 1ULL << (SIGCHLD - 1);
    u64 plain[4] = {0, 0, 0, 0};
    int null;
    do /* our descriptors are not to be a child's standard streams */
        null = open("/dev/null", O_RDWR | O_CLOEXEC, 0);
    while (null >= 0 && null < 3);
    call4(rt_sigprocmask, SIG_SETMASK, &all, 0, 8);
    for (int number = 1; number <= SIGNALS; number++)
        call4(rt_sigaction, number, plain, 0, 8); /* a shell's background job ignores some, and so would ours */
    children = (int)call4(signalfd4, -1, &child, 8, O_CLOEXEC | O_NONBLOCK);
    port = stack[0] > 1 ? open(arguments[1], O_RDWR | O_CLOEXEC | O_NONBLOCK, 0) : find_port();
    if (port < 0)
        return 1;
    for (int i = 0; i < STREAMS; i++)
        streams[i].fd[IN] = streams[i].fd[OUT] = streams[i].fd[ERR] = -1;
    call0(setsid);
    for (;;)
        turn();
}

__asm__(START);
